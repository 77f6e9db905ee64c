"""Children of a release: what is made, what is measured, what is refused."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import onnx
import pyarrow.parquet as pq
import pytest
import toy_release
from signing_keys import make_keys

from model_builder.child_answers import answer_with
from model_builder.child_release import Change, free_name, make_child, stage_child
from model_builder.errors import CannotDerive, GateRefused, NotPromotable
from model_builder.evaluation.gate import Gate, read_gate
from model_builder.export.running import OnnxModel
from model_builder.opened_release import Opened, opened_release
from model_builder.proof.recorded import CALIBRATION, FILE, from_parquet
from model_builder.releasing import Releasing
from model_builder.routing import promote
from triton_models.release import Manifest
from triton_models.signing import Signer, Verifier
from triton_models.store import ReleaseStore
from triton_models.store_errors import ReleaseExists
from triton_models.trust import Trust

LINE = toy_release.LINE


@pytest.fixture
def store(tmp_path: Path) -> ReleaseStore:
    store = ReleaseStore(tmp_path / "store")
    toy_release.publish(store, "r1")
    return store


@pytest.fixture
def parent(store: ReleaseStore) -> Iterator[Opened]:
    with opened_release(store, LINE, "r1") as opened:
        yield opened


def test_children_of_one_second_have_names_of_their_own(store: ReleaseStore) -> None:
    now = datetime(2026, 11, 23, 10, 15, 59, tzinfo=UTC)
    assert free_name(store, LINE, now) == "20261123t101559"
    toy_release.publish(store, "20261123t101559")
    assert free_name(store, LINE, now) == "20261123t101600"
    assert free_name(store, "another", now) == "20261123t101559"


def scaled(parent: Opened, by: float, step: str = "score") -> Change:
    """A child whose weights are all larger by a factor."""
    model = onnx.ModelProto()
    model.CopyFrom(next(one.model for one in parent.steps if one.name == step))
    for weight in model.graph.initializer:
        values = onnx.numpy_helper.to_array(weight)
        if values.dtype == np.float32:
            weight.CopyFrom(onnx.numpy_helper.from_array(values * np.float32(by), weight.name))
    return Change("scaled", "fp32", f"All weights times {by}.", steps={step: model})


def child(
    store: ReleaseStore, parent: Opened, change: Change, progress, name: str = "c1", **how: object
) -> Manifest:
    return make_child(store, parent, change, Releasing(**how), progress, name)[0]


def test_a_child_is_a_release_of_its_own(store, parent, progress):
    made = child(store, parent, scaled(parent, 1.01), progress)
    assert (made.line, made.release) == (LINE, "c1")
    assert {step.model for step in made.steps} == {
        f"{LINE}__c1__{name}" for name in ("encode", "score", "decode")
    }
    assert made.files.keys() == {
        path.replace("__r1", "__c1") for path in store.manifest(LINE, "r1").files
    }
    store.check_files(store.manifest(LINE, "c1"))
    assert store.routes()[1].lines == {}, "nothing routes a child"
    assert store.releases() == [(LINE, "c1"), (LINE, "r1")]


def test_it_says_what_it_was_made_of(store, parent, progress):
    derived = child(store, parent, scaled(parent, 1.01), progress).derived
    assert derived is not None
    assert derived.release == f"{LINE}/r1"
    assert derived.manifest_sha256 == parent.manifest_sha256
    assert (derived.variant, derived.precision, derived.steps) == ("scaled", "fp32", ("score",))
    assert derived.inherited == ("bands",), "those were chosen by the parent's scores"
    assert store.manifest(LINE, "r1").derived is None


def test_only_the_changed_step_and_the_fused_model_are_other_networks(store, parent, progress):
    made = child(store, parent, scaled(parent, 1.01), progress)
    old = store.manifest(LINE, "r1").files
    changed = {
        path
        for path, digest in made.files.items()
        if path.endswith(".onnx") and old[path.replace("__c1", "__r1")] != digest
    }
    assert changed == {f"{LINE}__c1__score/1/model.onnx", f"{LINE}__c1__fused/1/model.onnx"}


def test_its_answers_are_recorded_anew_in_both_files(store, parent, progress):
    made = child(store, parent, scaled(parent, 1.5), progress)
    recorded = from_parquet(store.report(LINE, "c1", FILE) or b"")
    answers = pq.read_table(io.BytesIO(store.report(LINE, "c1", "answers.parquet") or b""))
    probability = recorded.outputs["default_probability"]
    assert np.abs(probability - parent.recorded.outputs["default_probability"]).max() > 0.01
    np.testing.assert_array_equal(answers["default_probability"], probability[:, 0])
    np.testing.assert_array_equal(answers["features"], parent.answers["features"])
    assert made.recorded.keys() == {FILE, "answers.parquet"}
    fused = OnnxModel(
        (Path(store.models_path) / f"{LINE}__c1__fused/1/model.onnx").read_bytes()
    ).run(dict(recorded.inputs))
    np.testing.assert_allclose(fused["default_probability"], probability, atol=1e-5)


def test_its_metrics_are_measured_anew_and_only_of_the_test(store, parent, progress):
    made = child(store, parent, scaled(parent, 1.5), progress)
    same = child(store, parent, scaled(parent, 1.0), progress, "c2")
    assert made.metrics.keys() == same.metrics.keys() == {"test"}
    was = parent.manifest.metrics["test"]["auc"].value
    assert same.metrics["test"]["auc"].value == pytest.approx(was), "by the code of the build"
    assert made.metrics["test"]["log_loss"].value != same.metrics["test"]["log_loss"].value


def test_it_says_how_far_it_is_from_its_parent(store, parent, progress):
    apart = child(store, parent, scaled(parent, 1.5), progress).derived.apart
    assert apart["score"].largest > apart["score"].mean > 1
    assert child(store, parent, scaled(parent, 1.0), progress, "c2").derived.apart[
        "score"
    ].largest == pytest.approx(0, abs=1e-3)


def test_parity_is_with_its_own_steps_by_onnx_runtime(store, parent, progress):
    made = child(store, parent, scaled(parent, 1.5), progress)
    for parity in (*made.parity.values(), *made.fused_parity.values()):
        assert parity.compared == "onnxruntime-onnx"
        assert parity.max_difference <= parity.tolerance


def test_a_child_with_files_alone_keeps_all_that_was_measured(store, parent, progress):
    files = {"score": {"1/model.plan": b"plan", "configs/tensorrt.pbtxt": b"x"}}
    made = child(store, parent, Change("plan", "fp16", "Compiled.", files=files), progress)
    old = store.manifest(LINE, "r1")
    assert (made.metrics, made.parity, made.recorded) == (old.metrics, old.parity, old.recorded)
    assert store.model_file(made, f"{LINE}__c1__score/1/model.plan") == b"plan"
    assert f"{LINE}__c1__score/configs/tensorrt.pbtxt" in made.files
    assert made.derived.steps == ("score",)
    assert made.derived.apart == {}
    networks = {p: d for p, d in made.files.items() if p.endswith(".onnx")}
    assert set(networks.values()) <= set(old.files.values())


def test_what_is_not_there_cannot_be_changed_and_all_is_said(store, parent, progress):
    change = Change("x", "fp32", "x", steps={"rank": parent.steps[1].model},
                    files={"fused": {"../up": b""}, "nowhere": {"a": b""}})  # fmt: skip
    with pytest.raises(CannotDerive) as refused:
        child(store, parent, change, progress)
    for part in ("no step 'rank'", "no model 'nowhere'", "'../up' of 'fused' leads out"):
        assert part in str(refused.value)
    assert store.releases() == [(LINE, "r1")]


def test_the_gate_compares_it_with_its_parent(store, parent, progress):
    with pytest.raises(GateRefused, match="not worse than r1: test auc"):
        child(store, parent, scaled(parent, -1.0), progress, gate=read_gate())
    assert store.releases() == [(LINE, "r1")]
    kept = child(
        store, parent, scaled(parent, -1.0), progress, gate=read_gate(), publish_refused=True
    )
    assert kept.verdict == "refused"
    with pytest.raises(NotPromotable):
        promote(store, LINE, "c1")


def test_a_good_child_is_accepted_and_the_check_is_kept(store, parent, progress):
    made = child(store, parent, scaled(parent, 1.001), progress, gate=read_gate())
    assert made.verdict == "accepted"
    assert "not worse than r1: test auc" in {check.name for check in made.checks}


def test_a_parent_that_is_promoted_is_compared_with_once(store, parent, progress):
    promote(store, LINE, "r1", unproven=True)
    made = child(store, parent, scaled(parent, 1.0), progress, gate=read_gate())
    assert made.parent == "r1"
    assert [c.name for c in made.checks].count("not worse than r1: test auc") == 1


def test_it_is_signed_like_any_release(store, parent, progress, tmp_path):
    private, public = make_keys(tmp_path)
    child(store, parent, scaled(parent, 1.0), progress, sign=Signer(private))
    trust = Trust(Verifier(public), required=True)
    assert trust.manifest(store, LINE, "c1").signature == "c1.sig"


def test_a_taken_name_is_refused(store, parent, progress):
    with pytest.raises(ReleaseExists):
        child(store, parent, scaled(parent, 1.0), progress, "r1")


def test_a_changed_report_is_no_parent(store, tmp_path):
    path = tmp_path / "store" / "reports" / LINE / "r1" / FILE
    path.write_bytes(path.read_bytes() + b"x")
    with (
        pytest.raises(CannotDerive, match=r"recorded\.parquet was changed"),
        opened_release(store, LINE, "r1"),
    ):
        pass


def test_answers_that_change_with_their_company_are_refused(store, parent, progress):
    """The mean of the batch is in every answer, as with a range that is taken from the batch."""
    model = onnx.ModelProto()
    model.CopyFrom(parent.steps[1].model)
    (logit,) = [node for node in model.graph.node if "logit" in node.output]
    logit.output[list(logit.output).index("logit")] = "own"
    graph = model.graph
    graph.initializer.append(onnx.numpy_helper.from_array(np.array([0], np.int64), "axis0"))
    graph.node.append(onnx.helper.make_node("ReduceMean", ["own", "axis0"], ["mean"], keepdims=1))
    graph.node.append(onnx.helper.make_node("Add", ["own", "mean"], ["logit"]))
    with pytest.raises(CannotDerive, match=r"travel together.*'default_probability' by"):
        child(store, parent, Change("x", "fp32", "x", steps={"score": model}), progress)


def test_a_child_of_a_child_names_it(store, parent, progress):
    child(store, parent, scaled(parent, 1.01), progress)
    with opened_release(store, LINE, "c1") as middle:
        made = child(store, middle, scaled(middle, 1.01), progress, "c2")
    assert made.derived.release == f"{LINE}/c1"


def test_fields_that_were_learnt_again_are_the_childs(store, parent, progress, tmp_path):
    change = Change("x", "fp32", "x", files={"score": {"a": b""}}, fields={"review_threshold": 0.9})
    (tmp_path / "models").mkdir()
    staged = stage_child(parent, change, tmp_path / "models", "c1", progress)
    assert staged.manifest.review_threshold == 0.9


def test_calibration_rows_go_along(store, parent, progress):
    with_rows = Opened(parent.manifest, parent.manifest_sha256, parent.models,
                       {**parent.reports, CALIBRATION: b"rows"})  # fmt: skip
    made = child(store, with_rows, scaled(parent, 1.0), progress)
    assert store.report(LINE, "c1", CALIBRATION) == b"rows"
    assert CALIBRATION in made.recorded


def test_rows_are_asked_by_themselves(parent, progress):
    own = answer_with(parent.steps, parent.manifest, parent.recorded, progress)
    assert own.recorded.rows == parent.recorded.rows
    assert own.company.keys() == parent.manifest.parity.keys()
    assert Gate().checks(parent.manifest, None, 1, parent=parent.manifest) == ()
