"""The proof on a real Triton and a real gateway, and what it refuses."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow.parquet as pq
import pytest
import toy_release
from signing_keys import make_keys
from spoiled import one_percent_more

from model_builder.errors import ProofFailed
from model_builder.progress import SilentProgress
from model_builder.proof.recorded import FILE, from_parquet, to_parquet
from model_builder.proof.verifying import verify
from triton_models.release import Manifest, Routes
from triton_models.server import EmbeddedTriton
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


def test_a_release_as_built_is_proven_alone_and_on_another_triton(
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
    with EmbeddedTriton(Path(store.models_path)) as triton:
        triton.wait_ready()
        assert proven(store, triton=triton.target) == expected
    assert store.routes() == (0, Routes()), "a proof routes nothing"


def test_served_answers_that_are_off_by_one_percent_are_refused(store: ReleaseStore) -> None:
    toy_release.publish(store, "r1", change_onnx={"decode": one_percent_more})
    with pytest.raises(ProofFailed, match=r"score-risk__r1: output 'score' differs from torch by"):
        proven(store)


def test_the_fused_variant_alone_may_be_wrong_and_is_named(store: ReleaseStore) -> None:
    def nudged(model: onnx.ModelProto) -> None:
        for weights in model.graph.initializer:
            array = onnx.numpy_helper.to_array(weights)
            if array.dtype == np.float32 and array.size == 3:
                weights.CopyFrom(onnx.numpy_helper.from_array(array * 1.01, weights.name))
                return
        raise AssertionError("there is no weight of the network")

    toy_release.publish(store, "r1", change_onnx={"fused": nudged})
    with pytest.raises(ProofFailed, match="score-risk__r1__fused: output"):
        proven(store)


def test_an_output_of_another_shape_is_refused(store: ReleaseStore) -> None:
    def two_scores(model: onnx.ModelProto) -> None:
        (node,) = (node for node in model.graph.node if "score" in node.output)
        node.output[list(node.output).index("score")] = "one"
        model.graph.node.append(onnx.helper.make_node("Concat", ["one", "one"], ["score"], axis=1))
        (value,) = (value for value in model.graph.output if value.name == "score")
        value.type.tensor_type.shape.dim[1].dim_value = 2

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
