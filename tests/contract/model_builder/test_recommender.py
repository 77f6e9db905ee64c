"""A recommender of two stages on a real Triton: every step, both variants, and the gateway."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tritonclient import grpc as triton
from tritonclient.utils import np_to_triton_dtype

from model_builder.build import reports_of, stage_release
from model_builder.export.ensemble import write_models
from model_builder.progress import SilentProgress
from model_builder.proof.verifying import hashes_of, verify
from model_builder.recsys.comparing import compare_models
from model_builder.recsys.config import RecsysConfig
from model_builder.recsys.exporting import export_steps
from model_builder.recsys.ranking import Ranker
from model_builder.recsys.reference import Reference
from model_builder.recsys.request_tensors import Request
from model_builder.recsys.shortlists import FirstStage
from model_builder.recsys.task import TASK
from model_builder.recsys.transformer import NextItemNetwork
from model_builder.task import ResolvedData, StepModel
from model_builder.variants.graphs import optimised
from model_builder.variants.own_operators import with_own_operators
from triton_models.release import ensemble_name, fused_name
from triton_models.server import EmbeddedTriton
from triton_models.signatures import MAX_BATCH_ROWS, RECOMMEND
from triton_models.store import ReleaseStore

pytestmark = pytest.mark.contract

LINE, RELEASE = "recommend", "r1"
ITEMS, LENGTH, SHORTLIST = 300, 20, 120
LAYERS = 2
IDS = tuple(f"film {number}" for number in range(1, ITEMS + 1))


@dataclass
class Served:
    """A model on Triton that reads like the chained steps."""

    client: triton.InferenceServerClient
    model: str

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        asked = []
        for name, values in inputs.items():
            tensor = triton.InferInput(name, list(values.shape), np_to_triton_dtype(values.dtype))
            tensor.set_data_from_numpy(values)
            asked.append(tensor)
        answer = self.client.infer(self.model, asked)
        found = {o.name: answer.as_numpy(o.name) for o in answer.get_response().outputs}
        found["item_ids"] = np.vectorize(bytes.decode, otypes=[object])(found["item_ids"])
        return found


def without_padding(steps: Sequence[StepModel], *, own: bool) -> list[StepModel]:
    """Have the step ``history`` read no more places than a batch has.

    Args:
        steps: Of a release.
        own: Whether it is then written in operators of ONNX Runtime.
    """
    draws = np.random.default_rng(2)
    rows = draws.integers(1, ITEMS + 1, (4, LENGTH)).astype(np.int32)
    made = []
    for step in steps:
        if step.name == "history":
            asked = {"history": rows}
            if "history_gaps" in {one.name for one in step.model.graph.input}:
                asked["history_gaps"] = draws.integers(0, 3, rows.shape).astype(np.int32)
            model, done = optimised(step.model, asked)
            assert done["padding"] == 1
            if own:
                found = with_own_operators(model, asked)
                assert found is not None
                assert found[1]["attention"] == LAYERS
                model = found[0]
            step = StepModel(step.name, step.role, model)
        made.append(step)
    return made


def written(
    models: Path,
    release: str,
    *,
    time_gaps: bool = False,
    padded: bool = True,
    own: bool = False,
) -> Reference:
    """Write a release whose weights are random; return what it must answer."""
    torch.manual_seed(1)
    counts = torch.from_numpy(np.random.default_rng(1).integers(0, 90, ITEMS + 1))
    network = NextItemNetwork(
        counts, width=16, layers=LAYERS, heads=1, history_length=LENGTH, dropout=0.0,
        time_gaps=time_gaps,
    ).eval()  # fmt: skip
    torch.nn.init.normal_(network.items.weight)
    if network.gaps is not None:
        with torch.no_grad():
            network.gaps.weight[1:].normal_()
    first = FirstStage(network, SHORTLIST)
    ranker = Ranker(first.table, LENGTH, first.count).eval()
    torch.nn.init.normal_(ranker.out.weight)
    steps: Sequence[StepModel] = export_steps(first, ranker, IDS)
    made = steps if padded else without_padding(steps, own=own)
    write_models(models, LINE, release, made, RECOMMEND)
    return Reference(network, ranker, IDS, SHORTLIST)


Asked = tuple[list[Served], Reference]


KINDS: dict[str, dict[str, bool]] = {
    "as built": {},
    "without padding": {"padded": False},
    "with times": {"time_gaps": True},
    "with times, without padding": {"time_gaps": True, "padded": False},
    "of own operators": {"padded": False, "own": True},
    "with times, of own operators": {"time_gaps": True, "padded": False, "own": True},
}


@pytest.fixture(scope="module")
def all_kinds(
    tmp_path_factory: pytest.TempPathFactory, embedded_triton_available: None
) -> Iterator[dict[str, Asked]]:
    """A release of each kind, in both variants."""
    models = tmp_path_factory.mktemp("models")
    names, references = {}, {}
    for number, (kind, how) in enumerate(KINDS.items()):
        release = f"r{number}"
        references[kind] = written(models, release, **how)
        names[kind] = ensemble_name(LINE, release), fused_name(LINE, release)
    with EmbeddedTriton(models) as server:
        server.wait_ready()
        with triton.InferenceServerClient(server.target) as client:
            for name in itertools.chain(*names.values()):
                client.load_model(name)
            yield {
                kind: ([Served(client, name) for name in names[kind]], reference)
                for kind, reference in references.items()
            }


@pytest.fixture(params=["as built", "without padding", "of own operators"])
def served(request: pytest.FixtureRequest, all_kinds: dict[str, Asked]) -> Asked:
    return all_kinds[request.param]


PAST = [*IDS[:7], "nowhere", *IDS[100:110]]
CASES = {
    "a history": Request(PAST, item_count=100),
    "nothing had": Request(item_count=20),
    "nothing known": Request(["nowhere"], item_count=20),
    "few candidates": Request(PAST, candidates=[*IDS[:20], "nowhere", IDS[19]]),
    "more candidates than the shortlist holds": Request(
        PAST, candidates=[*IDS[10:250], *IDS[10:250]], item_count=100
    ),
    "candidates that are excluded": Request(PAST, IDS[50:60], IDS[50:59]),
    "only unknown candidates": Request(PAST, ["nowhere"]),
    "nearly all excluded": Request(PAST, excluded=IDS[: ITEMS - 3], history_allowed=True),
    "all excluded": Request(PAST, excluded=IDS),
    "a history that may come again": Request(PAST, history_allowed=True, item_count=100),
    "more history than is read": Request(IDS[20:280], item_count=50),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_both_variants_answer_one_request_like_torch(case: Request, served) -> None:
    compare_models(*served, [case])


def test_a_batch_of_all_kinds_is_answered_like_torch(served) -> None:
    models, reference = served
    requests = (list(CASES.values()) * MAX_BATCH_ROWS)[:MAX_BATCH_ROWS]
    _, found = compare_models(models, reference, requests)
    assert {parity.rows for one in found for parity in one.values()} == {MAX_BATCH_ROWS}


NOON = 1_800_000_000
TIMES = {
    "a session a day ago": (range(NOON, NOON + 18), NOON + 86_400),
    "no moment of the request": (range(NOON, NOON + 18), 0),
    "some times unknown": ([0 if n % 3 == 1 else NOON + n * n for n in range(18)], NOON + 400),
    "times that go back": (range(NOON, NOON - 18, -1), NOON - 99),
    "no times": ((), NOON),
}


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.startswith("with times")])
@pytest.mark.parametrize("case", TIMES.values(), ids=TIMES)
def test_both_variants_read_times_like_torch(
    case: tuple[Sequence[int], int], kind: str, all_kinds: dict[str, Asked]
) -> None:
    times, asked_at = case
    compare_models(
        *all_kinds[kind], [Request(PAST, item_count=100, times=times, asked_at=asked_at)]
    )


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.startswith("with times")])
def test_a_batch_of_histories_with_and_without_times_is_answered_like_torch(
    kind: str,
    all_kinds: dict[str, Asked],
) -> None:
    timed = [Request(PAST, times=times, asked_at=at) for times, at in TIMES.values()]
    answers, _ = compare_models(*all_kinds[kind], [*timed, *CASES.values()])
    assert len({tuple(row) for row in answers["scores"][: len(timed)].tolist()}) == len(timed)


def built(folder: Path, **changes: Any) -> Any:
    """A recommender of a small log whose device says which of two orders a user follows."""
    draws = np.random.default_rng(0)
    lines = ["user,item,timestamp,device,hour"]
    for user in range(60):
        item, device = draws.integers(30), draws.choice(["tv", "phone"])
        for time in range(draws.integers(6, 15)):
            lines.append(f"u{user},{item},{time},{device},{draws.integers(24)}")
            item = (item + (1 if device == "tv" else 3)) % 30
    path = folder / "log.csv"
    path.write_text("\n".join(lines) + "\n")
    config = RecsysConfig(
        epochs=2, width=16, layers=1, heads=1, history_length=8, dropout=0.0, rank_epochs=3,
        context=("device", "hour"), **changes,
    )  # fmt: skip
    return TASK.build(ResolvedData("log.csv", path, "f00d"), config, SilentProgress()), config


@pytest.mark.parametrize("time_gaps", [False, True], ids=["without times", "with times"])
def test_a_release_with_a_context_is_proven_by_triton_and_a_gateway(
    time_gaps: bool, tmp_path: Path, embedded_triton_available: None
) -> None:
    candidate, config = built(tmp_path, time_gaps=time_gaps)
    store = ReleaseStore(tmp_path / "store")
    with tempfile.TemporaryDirectory() as staged:
        manifest = stage_release(candidate, config, RELEASE, Path(staged))
        reports = reports_of(candidate)
        manifest = manifest.model_copy(update={"recorded": hashes_of(reports)})
        store.publish(manifest, Path(staged), reports, None)
    assert [feature.name for feature in manifest.features] == ["device", "hour"]
    assert {"history_times", "request_time"} & manifest.input_names == (
        {"history_times", "request_time"} if time_gaps else set()
    )
    assert [step.name for step in manifest.steps] == [
        "encode", "context", "history", "retrieve", "filter", "rank", "decode",
    ]  # fmt: skip
    proof = verify(store, LINE, RELEASE, SilentProgress()).proof
    assert proof.served_parity.keys() == {"ensemble", "fused", "gateway"}
    outputs = {spec.name for spec in RECOMMEND.outputs}
    assert outputs - proof.served_parity["fused"].keys() <= {"candidate_known", "excluded_known"}
    assert {parity.rows for parity in proof.served_parity["gateway"].values()} == {60}
