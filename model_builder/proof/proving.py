"""The proof itself: a release on a real Triton and behind a real gateway, row by row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model_builder.errors import ProofFailed
from model_builder.progress import Progress
from model_builder.proof.comparing import Comparison
from model_builder.proof.gateways import Client, gateway_in_front_of
from model_builder.proof.questions import QUESTIONS, Question, Row
from model_builder.proof.recorded import Recorded
from model_builder.proof.tritons import ReleaseOnTriton
from triton_models.note_limits import most_notes
from triton_models.release import Latency, Manifest, Parity, Routes, RouteTarget
from triton_models.signatures import MAX_BATCH_ROWS
from triton_models.store import ReleaseStore

GATEWAY = "gateway"
_LATENCY_SAMPLES = 50
_MOST_BATCH_BYTES = 8 * 1024 * 1024
"""Of the tensors of a batch: 1,000 rows of most lines, fewer of large images."""


@dataclass(frozen=True)
class Proof:
    """What a proof found; it raises where it finds something wrong."""

    served_parity: Mapping[str, Mapping[str, Parity]]
    """By who was asked, then output."""
    latency: Mapping[str, Latency]
    """By variant, of one row."""


def prove(
    manifest: Manifest,
    recorded: Recorded,
    answers: Sequence[Row],
    *,
    triton: str,
    store: Path,
    progress: Progress,
) -> Proof:
    """Compare what was recorded with what Triton serves, and with what a gateway answers.

    The golden rows are asked one at a time, and every row in batches of exactly the largest
    size, the last one filled up with rows from the beginning. Of images larger than 91 x 91 the
    largest size is what 8 MiB hold; of notes, what the gateway takes of the longest.

    Args:
        manifest: Of the release.
        recorded: The test split as tensors.
        answers: The same as a client would ask it.
        triton: A Triton in explicit mode whose repository has the release.
        store: A store where the release is all that is routed.
        progress: Shows how far it is.

    Raises:
        ProofFailed: At the first thing that is not as it must be.
    """
    parity: dict[str, Mapping[str, Parity]] = {}
    latency: dict[str, Latency] = {}
    with ReleaseOnTriton(triton, manifest) as served:
        for variant, model in served.models.items():
            with progress.stage(f"ask {model}"):
                parity[variant] = _ask_triton(served, variant, manifest, recorded)
                latency[variant] = _time(served, variant, recorded)
        question = QUESTIONS.get(manifest.line)
        if question is not None and answers and question.needs in answers[0]:
            with progress.stage("ask a gateway"), gateway_in_front_of(triton, store) as client:
                golden, size = recorded.golden(), largest_batch(recorded, manifest)
                parity[GATEWAY] = ask_gateway(client, question, manifest, answers, golden, size)
    return Proof(parity, latency)


def ask_gateway(
    client: Client,
    question: Question,
    manifest: Manifest,
    answers: Sequence[Row],
    golden: npt.NDArray[np.int64],
    rows_at_once: int = MAX_BATCH_ROWS,
) -> dict[str, Parity]:
    """Compare what a gateway answers with what was recorded.

    Args:
        client: Of the gateway.
        question: How the release's line is asked.
        manifest: Of the release, which must be the one that answers.
        answers: The test split as a client asks it, with what was recorded.
        golden: ``(G,)``, the places of the rows that are also asked one at a time.
        rows_at_once: The size of a batch.

    Raises:
        ProofFailed: At the first answer that is not as it must be.
    """
    comparison = Comparison("the gateway", manifest, len(answers))
    for rows, responses in _responses(client, question, answers, golden, rows_at_once):
        if len(responses) != len(rows):
            raise ProofFailed(f"the gateway gives {len(responses)} answers to {len(rows)} requests")
        for response in responses:
            if response["model"]["release"] != manifest.release:
                raise ProofFailed(f"the gateway answers with {response['model']}")
        comparison.add(question.expected(rows, manifest), question.answered(responses, manifest))
    return comparison.parity


def _responses(
    client: Client,
    question: Question,
    answers: Sequence[Row],
    golden: npt.NDArray[np.int64],
    rows_at_once: int,
) -> Iterator[tuple[Sequence[Row], Sequence[Row]]]:
    """Yield recorded rows with the responses to them: one at a time, then in full batches."""
    for place in golden:
        row = answers[place]
        yield [row], [client.call(question.service, question.single, question.request(row))]
    for places in full_batches(len(answers), rows_at_once):
        rows = [answers[place] for place in places]
        batch = {"requests": [question.request(row) for row in rows]}
        yield rows, client.call(question.service, question.batch, batch)["responses"]


def full_batches(rows: int, size: int = MAX_BATCH_ROWS) -> list[npt.NDArray[np.int64]]:
    """Return the places of all rows, in batches of exactly one size."""
    count = -(-rows // size)
    return np.split(np.resize(np.arange(rows), count * size), count)


def largest_batch(recorded: Recorded, manifest: Manifest) -> int:
    """Return how many rows are asked at once: the most that may be, but no message too long."""
    if manifest.note is not None:
        (tokens,) = recorded.batch(np.array([0]))[0]["token_ids"].shape[1:]
        return most_notes(tokens)
    row = sum(one.nbytes for one in recorded.batch(np.array([0]))[0].values())
    return max(1, min(MAX_BATCH_ROWS, _MOST_BATCH_BYTES // max(1, row)))


def one_release_store(folder: Path, manifest: Manifest) -> None:
    """Write a store into ``folder`` where this release is all there is.

    Its models must be in ``folder/models`` already, or be linked there later.
    """
    path = folder / "releases" / manifest.line / f"{manifest.release}.json"
    path.parent.mkdir(parents=True)
    path.write_text(manifest.model_dump_json(), encoding="utf-8")
    targets = (RouteTarget(release=manifest.release),)
    ReleaseStore(folder).add_routes(Routes(lines={manifest.line: targets}), after=0)


def _ask_triton(
    served: ReleaseOnTriton, variant: str, manifest: Manifest, recorded: Recorded
) -> dict[str, Parity]:
    comparison = Comparison(served.models[variant], manifest, recorded.rows)
    singles = (np.array([place]) for place in recorded.golden())
    for rows in (*singles, *full_batches(recorded.rows, largest_batch(recorded, manifest))):
        inputs, expected = recorded.batch(rows)
        actual = served.ask(variant, inputs, expected)
        comparison.add(expected, actual)
    return comparison.parity


def _time(served: ReleaseOnTriton, variant: str, recorded: Recorded) -> Latency:
    """Return how long one row takes, all of its outputs, one call after the other."""
    golden = recorded.golden()
    times = []
    for place in np.resize(golden, _LATENCY_SAMPLES):
        inputs, expected = recorded.batch(np.array([place]))
        times.append(served.time_ms(variant, inputs, expected))
    return Latency(
        rows=1,
        samples=len(times),
        median_ms=round(float(np.median(times)), 3),
        p95_ms=round(float(np.quantile(times, 0.95)), 3),
    )
