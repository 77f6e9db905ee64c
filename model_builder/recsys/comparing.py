"""Do the exported models answer like the reference? Items that score alike may change places."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from model_builder.evaluation.parity import compare, wider
from model_builder.export.running import Runs
from model_builder.recsys.reference import Reference
from model_builder.recsys.request_tensors import Request, Tensors, request_tensors
from triton_models.release import Parity
from triton_models.signatures import MAX_BATCH_ROWS

TOLERANCES = {
    "item_ids": 0.0,
    "scores": 1e-5,
    "because_positions": 0.0,
    "history_known": 0.0,
    "candidate_known": 0.0,
    "excluded_known": 0.0,
    "input_rules": 0.0,
}
"""How far the exported models may be from torch, by output."""

_TIE = 1e-4
"""Share of a score by which two items may differ and still change places."""
_SIMILARITY_TOLERANCE = 1e-5
_SCORES = 20_000_000
"""Of the reference, held at once: some hundred megabytes, whatever the catalogue."""
_PAIRS = 10_000_000
"""Of places of the histories, held at once for each head."""


def compare_models(
    models: Sequence[Runs], reference: Reference, requests: Sequence[Request]
) -> tuple[Tensors, list[dict[str, Parity]]]:
    """Ask all, a batch at a time.

    Returns:
        ``item_ids`` and ``scores`` of the reference, each ``(rows, R)``, with
        ``because_positions`` ``(rows, R, J)`` and, with a context, ``input_rules`` ``(rows, F)``;
        and how far each model is from it, by output.
        Where the reference has a tie, the answer is the first model's.

    Raises:
        ParityBroken: If one differs by more than the tolerance.
    """
    answers: list[Tensors] = []
    found: list[dict[str, Parity]] = [{} for _ in models]
    most = min(_SCORES // reference.item_count, _PAIRS // reference.history_length**2)
    together = min(MAX_BATCH_ROWS, max(1, most))
    for start in range(0, len(requests), together):
        asked = requests[start : start + together]
        expected = reference.answer(asked)
        tensors = request_tensors(asked, reference.context, time_gaps=reference.time_gaps)
        given = [model.run(tensors) for model in models]
        for raw, known in zip(given, found, strict=True):
            actual = settle_ties(reference, asked, expected, raw)
            part = compare(expected, actual, _tolerances(expected), rows=len(requests))
            known |= {name: wider(known.get(name), parity) for name, parity in part.items()}
        # They equal the reference's but for ties, which whoever serves them breaks alike.
        as_given = {name: given[0][name] for name in ("item_ids", "because_positions")}
        answers.append({**expected, **as_given})
    joined = {
        name: np.concatenate([answer[name] for answer in answers])
        for name in ("item_ids", "scores", "because_positions", "input_rules")
        if name in answers[0]
    }
    return joined, found


def _tolerances(expected: Tensors) -> dict[str, float]:
    return {name: tolerance for name, tolerance in TOLERANCES.items() if name in expected}


def settle_ties(
    reference: Reference, requests: Sequence[Request], expected: Tensors, actual: Tensors
) -> Tensors:
    """Return ``actual`` with the reference's item wherever the one given is as good.

    An item is as good if the reference gives it the score of that rank, but for rounding;
    a reason, if it is as similar to the item that is in the answer.
    """
    ids, because = actual["item_ids"].copy(), actual["because_positions"].copy()
    if ids.shape != expected["item_ids"].shape:
        return dict(actual)
    odd = ids != expected["item_ids"]
    # They are few: all are asked for anew rather than kept for all.
    rows = np.flatnonzero(odd.any(axis=1))
    probabilities = dict(
        zip(rows, reference.probabilities([requests[row] for row in rows]), strict=True)
    )
    for row, rank in np.argwhere(odd):
        item = reference.number(ids[row, rank])
        score = expected["scores"][row, rank]
        if item and abs(probabilities[row][item] - score) <= _TIE * score:
            similar = _similar(reference, requests[row], item, because[row, rank])
            wanted = reference.because(requests[row], item)
            if _alike(similar, _similar(reference, requests[row], item, wanted)):
                ids[row, rank] = expected["item_ids"][row, rank]
                because[row, rank] = expected["because_positions"][row, rank]
    differ = (because != expected["because_positions"]).any(axis=2)
    for row, rank in np.argwhere(differ & (ids == expected["item_ids"])):
        item = reference.number(ids[row, rank])
        wanted = expected["because_positions"][row, rank]
        if _alike(
            _similar(reference, requests[row], item, because[row, rank]),
            _similar(reference, requests[row], item, wanted),
        ):
            because[row, rank] = wanted
    return {**actual, "item_ids": ids, "because_positions": because}


def _similar(
    reference: Reference, request: Request, item: int, positions: Sequence[int]
) -> list[float]:
    """Return how similar the named items are; one that may not be named is not at all."""
    similarity = reference.similarity(request, item)
    return [similarity.get(int(position), 0.0) for position in positions]


def _alike(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether both name items of the same similarity; none is like one of similarity 0."""
    size = max(len(one), len(other))
    wide = [[*values, *[0.0] * (size - len(values))] for values in (one, other)]
    return bool(np.allclose(wide[0], wide[1], rtol=0, atol=_SIMILARITY_TOLERANCE))
