"""The proof on a real Triton and a real gateway, and what it refuses."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import toy_release
from signing_keys import make_keys
from spoiled import (
    declares_another_type,
    one_percent_more,
    one_percent_more_of_batches,
    reads_what_nobody_gives,
    two_scores,
    weights_one_percent_more,
)

from model_builder.errors import ProofFailed
from model_builder.progress import SilentProgress
from model_builder.proof.recorded import FILE, from_parquet, to_parquet
from model_builder.proof.verifying import verify
from triton_models.release import Manifest, Routes, Tensor
from triton_models.server import EmbeddedTriton
from triton_models.signatures import MAX_BATCH_ROWS
from triton_models.signing import Signer, Verifier
from triton_models.store import ReleaseStore
from triton_models.store_errors import FilesAltered, Untrusted
from triton_models.trust import Trust

pytestmark = pytest.mark.contract

LINE = toy_release.LINE


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def store(tmp_path: Path, embedded_triton_available: None) -> ReleaseStore:
    return ReleaseStore(tmp_path / "store")


def proven(store: ReleaseStore, release: str = "r1", **options: Any) -> dict[str, set[str]]:
    found = verify(store, LINE, release, SilentProgress(), **options)
    return {who: set(outputs) for who, outputs in found.proof.served_parity.items()}


OUTPUTS = {"default_probability", "score", "contributions"}


def test_a_release_as_built_is_proven_and_nothing_is_routed(
    store: ReleaseStore, keys: tuple[Path, Path]
) -> None:
    toy_release.publish(store, "r1", sign=Signer(keys[0]))
    trust = Trust(Verifier(keys[1]), required=True)
    expected = {
        "ensemble": OUTPUTS,
        "fused": OUTPUTS,
        "gateway": {"default_probability", "score"},
    }
    assert proven(store, trust=trust) == expected
    assert store.routes() == (0, Routes()), "a proof routes nothing"


def test_served_answers_that_are_off_by_one_percent_are_refused(store: ReleaseStore) -> None:
    toy_release.publish(store, "r1", change_onnx={"decode": one_percent_more})
    with pytest.raises(ProofFailed, match=r"score-risk__r1: output 'score' differs from torch by"):
        proven(store)


@pytest.mark.parametrize("rows", [1, MAX_BATCH_ROWS])
def test_answers_that_are_off_in_batches_of_one_size_alone_are_refused(
    store: ReleaseStore, rows: int
) -> None:
    toy_release.publish(store, "r1", change_onnx={"decode": one_percent_more_of_batches(rows)})
    with pytest.raises(ProofFailed, match=r"score-risk__r1: output 'score' differs from torch by"):
        proven(store)


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        (reads_what_nobody_gives, "topologically sorted.*'nowhere' of node"),
        (declares_another_type, "ype.*score|score.*ype"),
    ],
    ids=["graph", "types"],
)
def test_a_network_that_is_no_valid_onnx_is_refused_though_it_is_the_one_released(
    store: ReleaseStore, spoil: toy_release.ChangeOnnx, fault: str
) -> None:
    toy_release.publish(store, "r1", change_onnx={"decode": spoil})
    with pytest.raises(ProofFailed, match=rf"score-risk__r1__decode/1/model\.onnx: .*{fault}"):
        proven(store)


def higher_scores(answers: pa.Table) -> pa.Table:
    place = answers.column_names.index("score")
    return answers.set_column(place, "score", pc.multiply(answers["score"], 1.01))


def an_unknown_feature(answers: pa.Table) -> pa.Table:
    features = pa.array(['{"shoe_size": 43}'] * len(answers))
    return answers.set_column(answers.column_names.index("features"), "features", features)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        (
            {"change_answers": higher_scores},
            "the gateway: output 'score' differs from torch by",
        ),
        (
            {"change_answers": an_unknown_feature},
            "the gateway answers ScoreRisk with INVALID_ARGUMENT: .*shoe_size",
        ),
        (
            {"outputs": (Tensor(name="score", data_type="FP32", dims=(2,)),)},
            r"the gateway does not serve it: .*output 'score'",
        ),
    ],
    ids=["value", "refusal", "not-served"],
)
def test_what_the_gateway_answers_is_compared_though_triton_is_as_recorded(
    store: ReleaseStore, changes: dict[str, Any], fault: str
) -> None:
    toy_release.publish(store, "r1", **changes)
    with pytest.raises(ProofFailed, match=fault):
        proven(store)


def test_the_fused_variant_alone_may_be_wrong_and_is_named(store: ReleaseStore) -> None:
    toy_release.publish(store, "r1", change_onnx={"fused": weights_one_percent_more})
    with pytest.raises(ProofFailed, match="score-risk__r1__fused: output"):
        proven(store)


def test_an_output_of_another_shape_is_refused(store: ReleaseStore) -> None:
    toy_release.publish(store, "r1", change_onnx={"decode": two_scores})
    with pytest.raises(ProofFailed, match=r"score-risk__r1"):
        proven(store)


def test_a_torn_network_is_named(store: ReleaseStore) -> None:
    manifest = toy_release.publish(store, "r1")
    path = Path(store.models_path, f"{manifest.ensemble}__score", "1", "model.onnx")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(FilesAltered, match=f"changed: {manifest.ensemble}__score/1/model.onnx"):
        proven(store)


def test_an_unsigned_release_is_refused_where_a_signature_is_asked_for(
    store: ReleaseStore, keys: tuple[Path, Path]
) -> None:
    toy_release.publish(store, "r1")
    with pytest.raises(Untrusted, match="it is not signed"):
        proven(store, trust=Trust(Verifier(keys[1]), required=True))


def test_answers_that_were_swapped_for_others_are_refused(store: ReleaseStore) -> None:
    manifest = toy_release.publish(store, "r1")
    path = Path(store.report_path(LINE, "r1"), FILE)
    recorded = from_parquet(path.read_bytes())
    path.write_bytes(
        to_parquet(type(recorded)(recorded.inputs, {"score": recorded.outputs["score"]}))
    )
    with pytest.raises(ProofFailed, match=r"recorded\.parquet of score-risk/r1 was changed"):
        proven(store)
    assert manifest.recorded[FILE]


def test_a_triton_that_has_not_the_release_is_a_clear_fault(
    store: ReleaseStore, tmp_path: Path
) -> None:
    toy_release.publish(store, "r1")
    with EmbeddedTriton(tmp_path / "elsewhere") as triton:
        triton.wait_ready()
        with pytest.raises(ProofFailed, match=r"Triton at .* cannot load score-risk__r1"):
            proven(store, triton=triton.target)


def test_the_recorded_answers_are_torchs(store: ReleaseStore) -> None:
    manifest: Manifest = toy_release.publish(store, "r1")
    content = store.report(LINE, "r1", FILE)
    assert content is not None
    recorded = from_parquet(content)
    rows = pq.read_table(io.BytesIO(store.report(LINE, "r1", "answers.parquet") or b""))
    _, outputs = recorded.batch(np.arange(recorded.rows))
    assert outputs["score"][:, 0].tolist() == rows["score"].to_pylist()
    assert manifest.data.split["test"] == recorded.rows
