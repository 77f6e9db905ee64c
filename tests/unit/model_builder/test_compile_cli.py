"""``model-builder compile``, from a release to its child; TensorRT is a stand-in."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fake_gpu
import numpy as np
import pytest
from click.testing import CliRunner, Result
from google.protobuf import text_format
from toy_release import publish
from tritonclient.grpc import model_config_pb2 as mc

from model_builder.cli import cli
from model_builder.proof.recorded import CALIBRATION, FILE, Recorded, from_parquet, to_parquet
from triton_models.release import Manifest, Routes, RouteTarget
from triton_models.store import ReleaseStore

Invoke = Callable[..., Result]
PLAN = f"sm_90-trt{fake_gpu.VERSION}.plan"


@pytest.fixture
def store(tmp_path: Path, quick_torch: None) -> ReleaseStore:
    store = ReleaseStore(tmp_path / "store")
    publish(store, "r1")
    return store


@pytest.fixture
def invoke(tmp_path: Path, data_folder: Path) -> Invoke:
    """Runs the command; the gate has no rules."""

    def run(*arguments: str, **environment: str) -> Result:
        given = {
            "TRIDENT_STORE": str(tmp_path / "store"), "TRIDENT_UNPROVEN": "1", "COLUMNS": "200",
            "TRIDENT_SIGN_KEY": "", "TRIDENT_GATE": str(data_folder / "gate_without_rules.yaml"),
        }  # fmt: skip
        return CliRunner().invoke(cli, ["compile", *arguments], env=given | environment)

    return run


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    return fake_gpu.install(monkeypatch, tmp_path / "bin")


def compiled(result: Result) -> list[dict[str, Any]]:
    assert result.exit_code == 0, result.output
    return list(json.loads(result.stdout)["compiled"])


def calls(log: Path) -> list[list[str]]:
    return [json.loads(line) for line in log.read_text().splitlines()]


def child_of(store: ReleaseStore, result: Result) -> Manifest:
    (made,) = compiled(result)
    line, _, release = made["release"].partition("/")
    return store.manifest(line, release)


def route(store: ReleaseStore, *releases: str) -> None:
    number, _ = store.routes()
    weight = 1 / len(releases)
    targets = tuple(RouteTarget(release=one, weight=weight) for one in releases)
    store.add_routes(Routes(lines={"score-risk": targets}), after=number)


def test_a_child_has_the_plan_beside_the_network(
    invoke: Invoke, store: ReleaseStore, gpu: Path
) -> None:
    child = child_of(store, invoke("score-risk/r1", "--json", "--release", "r1.sm90"))
    assert child.release == "r1.sm90"
    assert child.derived is not None
    assert (child.derived.release, child.derived.variant) == ("score-risk/r1", "tensorrt-fp32")
    model = "score-risk__r1.sm90__score"
    assert f"{model}/1/{PLAN}" in child.files
    store.check_files(child)
    text = store.model_file(child, f"{model}/configs/tensorrt.pbtxt").decode()
    config = text_format.Parse(text, mc.ModelConfig())
    assert (config.name, dict(config.cc_model_filenames)) == (model, {"9.0": PLAN})
    parent = store.manifest("score-risk", "r1")
    assert child.metrics == parent.metrics, "its networks are the parent's"


def test_the_manifest_says_what_made_the_plan_and_how_near_it_is(
    invoke: Invoke, store: ReleaseStore, gpu: Path
) -> None:
    (plan,) = child_of(store, invoke("score-risk/r1", "--json")).plans
    assert (plan.step, plan.compute_capability, plan.tensorrt) == ("score", "9.0", "10.13.3.9")
    assert (plan.precision, plan.compiled_by) == ("fp32", "trtexec")
    assert plan.gpu == "NVIDIA H100 80GB HBM3"
    assert plan.shapes["features"].most == (1000, 3)
    assert set(plan.difference) == {"logit", "contributions"}
    assert max(plan.difference.values()) < 1e-5


def test_what_is_asked_reaches_the_tool(
    invoke: Invoke, store: ReleaseStore, gpu: Path, tmp_path: Path
) -> None:
    child = child_of(
        store,
        invoke(
            "score-risk/r1", "--json", "--opt-batch", "64", "--workspace", "512",
            "--hardware-compatible", "--version-compatible",
            "--timing-cache", str(tmp_path / "timings"),
        ),
    )  # fmt: skip
    build, run = calls(gpu)
    assert {
        "--optShapes=features:64x3", "--memPoolSize=workspace:512", "--versionCompatible",
        "--hardwareCompatibilityLevel=ampere+", f"--timingCacheFile={tmp_path / 'timings'}",
    } <= set(build)  # fmt: skip
    assert "--shapes=features:32x3" in run, "the golden rows"
    assert child.plans[0].hardware_compatible
    assert child.plans[0].version_compatible


def test_a_plan_that_answers_otherwise_makes_no_child(
    invoke: Invoke, store: ReleaseStore, gpu: Path
) -> None:
    result = invoke("score-risk/r1", FAKE_TRTEXEC_OFF="0.5")
    assert result.exit_code == 1
    assert "the plan of step 'score' does not answer as its network: 'logit' is off" in (
        result.stderr
    )
    assert store.releases() == [("score-risk", "r1")]


def test_what_tensorrt_refuses_is_shown_and_makes_no_child(
    invoke: Invoke, store: ReleaseStore, gpu: Path
) -> None:
    result = invoke("score-risk/r1", FAKE_TRTEXEC_FAILS="out of memory")
    assert (result.exit_code, store.releases()) == (1, [("score-risk", "r1")])
    assert "step 'score' does not become a plan:\n  out of memory" in result.stderr


def test_without_anything_that_compiles_it_says_what_to_install(
    invoke: Invoke, store: ReleaseStore, tmp_path: Path
) -> None:
    result = invoke("score-risk/r1", PATH=str(tmp_path))
    assert result.exit_code == 1
    assert result.stderr.startswith(
        'Error: TensorRT is not installed, and there is no trtexec: pip install "trident[tensorrt]"'
    )


def test_without_a_gpu_it_is_refused(invoke: Invoke, store: ReleaseStore, gpu: Path) -> None:
    (gpu.parent / "nvidia-smi").write_text("#!/bin/sh\nexit 9\n")
    result = invoke("score-risk/r1")
    assert result.exit_code == 1
    assert "there is no GPU here (nvidia-smi shows none)" in result.stderr


@pytest.mark.parametrize("profile", ["onnx-cuda", "onnx-tensorrt"])
def test_profiles_without_plans_say_so_and_succeed(
    invoke: Invoke, store: ReleaseStore, profile: str
) -> None:
    result = invoke("score-risk/r1", "--profile", profile, "--json")
    assert compiled(result) == []
    assert f"Nothing of score-risk/r1 is compiled for {profile}" in result.stderr
    assert f"--model-config-name={profile}" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "give LINE/RELEASE or --routed"),
        (("score-risk/r1", "--routed"), "give LINE/RELEASE or --routed"),
        (("--routed", "--release", "r2"), "--release names one release"),
        (("score-risk/r1", "--opt-batch", "9", "--max-batch", "8"), "must rise: --min-batch 1"),
        (("score-risk/r1", "--precision", "fp4"), "'fp4' is not one of"),
    ],
)
def test_what_cannot_be_asked_is_a_wrong_use(
    invoke: Invoke, arguments: tuple[str, ...], said: str
) -> None:
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert said in result.stderr


def test_every_reason_against_a_release_is_given_at_once(
    invoke: Invoke, store: ReleaseStore, gpu: Path
) -> None:
    result = invoke("score-risk/r1", "--precision", "int8", "--max-batch", "64")
    assert result.exit_code == 2
    assert "--max-batch must be at least 1000, which one call may carry, got 64" in result.stderr
    assert "--precision int8 needs --calibration" in result.stderr
    assert not gpu.exists(), "nothing was begun"


def test_calibration_must_have_the_inputs_of_the_release(
    invoke: Invoke, store: ReleaseStore, gpu: Path, tmp_path: Path
) -> None:
    np.savez(tmp_path / "train.npz", numbers=np.zeros((4, 2), np.float32))
    file = str(tmp_path / "train.npz")
    result = invoke("score-risk/r1", "--precision", "int8", "--calibration", file)
    assert result.exit_code == 2
    assert "train.npz lacks categories" in result.stderr


def network_of(release: Manifest) -> str:
    """The hash of its core's network."""
    (found,) = (
        digest for name, digest in release.files.items() if name.endswith("score/1/model.onnx")
    )
    return found


def plant_modelopt(
    monkeypatch: pytest.MonkeyPatch, told: list[dict[str, Any]], *, told_apart: bool = False
) -> None:
    """Put a stand-in for ModelOpt among the modules: it gives what it got, and says so.

    ``told_apart``: with another name, so that its hash is another.
    """
    import types

    import onnx

    def quantize(**given: Any) -> None:
        told.append(given)
        Path(given["output_path"]).write_bytes(Path(given["onnx_path"]).read_bytes())

    def cast(**given: Any) -> onnx.ModelProto:
        with np.load(given["calibration_data"]) as seen:
            told.append({**given, "calibration_data": dict(seen)})
        made = onnx.load(given["onnx_path"])
        if told_apart:
            made.graph.name = "cast"
        return made

    for name, content in (
        ("modelopt.onnx.quantization", {"quantize": quantize}),
        ("modelopt.onnx.autocast", {"convert_to_mixed_precision": cast}),
    ):
        module = types.ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(  # another process would not see them
        "model_builder.tensorrt.modelopt.ProcessPoolExecutor",
        lambda count, **_: ThreadPoolExecutor(count),
    )


def test_types_come_from_what_of_the_calibration_reaches_the_core(
    invoke: Invoke,
    store: ReleaseStore,
    gpu: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[dict[str, Any]] = []
    plant_modelopt(monkeypatch, told)
    rows = {
        "numbers": np.full((4, 2), 0.5, np.float32),
        "categories": np.full((4, 1), "holiday"),
    }
    np.savez(tmp_path / "train.npz", **rows)
    file = str(tmp_path / "train.npz")
    child = child_of(
        store, invoke("score-risk/r1", "--json", "--precision", "fp16", "--calibration", file)
    )
    (given,) = told
    np.testing.assert_array_equal(given["calibration_data"]["features"], [[0.5, 0.5, 1.0]] * 4)
    assert child.plans[0].precision == "fp16"
    assert child.derived is not None
    assert child.derived.variant == "tensorrt-fp16"
    # Its network is another, so that its answers were measured anew.
    assert child.derived.steps == ("score",)
    assert child.parity["score"].compared.startswith("onnxruntime")


def test_without_a_file_types_come_from_the_rows_that_the_release_kept(
    invoke: Invoke,
    tmp_path: Path,
    gpu: Path,
    quick_torch: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[dict[str, Any]] = []
    plant_modelopt(monkeypatch, told)
    store = ReleaseStore(tmp_path / "store")
    release, reports = publish(store, "r1"), Path(store.report_path("score-risk", "r1"))
    kept = from_parquet((reports / FILE).read_bytes())
    inputs, outputs = kept.batch(np.arange(5))
    content = to_parquet(Recorded(inputs, outputs))
    (reports / CALIBRATION).write_bytes(content)
    recorded = {**release.recorded, CALIBRATION: hashlib.sha256(content).hexdigest()}
    changed = release.model_copy(update={"recorded": recorded})
    Path(store.manifest_path("score-risk", "r1")).write_text(changed.model_dump_json())
    compiled(invoke("score-risk/r1", "--json", "--precision", "bf16"))
    assert told[0]["calibration_data"]["features"].shape == (5, 3)
    assert told[0]["low_precision_type"] == "bf16"


@pytest.mark.parametrize("alike", [True, False])
def test_a_network_that_a_cpu_would_answer_otherwise_with_stays_its_parents(
    invoke: Invoke,
    store: ReleaseStore,
    gpu: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    alike: bool,
) -> None:
    plant_modelopt(monkeypatch, [], told_apart=True)
    monkeypatch.setattr("model_builder.tensorrt.compiling.served_alike", lambda *given: alike)
    child = child_of(store, invoke("score-risk/r1", "--json", "--precision", "fp16"))
    assert child.plans[0].precision == "fp16"
    assert (network_of(child) == network_of(store.manifest("score-risk", "r1"))) is not alike


def test_a_core_that_cannot_be_had_in_a_precision_stays_in_fp32_and_it_says_why(
    invoke: Invoke, store: ReleaseStore, gpu: Path, tmp_path: Path
) -> None:
    rows = {"numbers": np.zeros((4, 2), np.float32), "categories": np.full((4, 1), "holiday")}
    np.savez(tmp_path / "train.npz", **rows)
    file = str(tmp_path / "train.npz")
    result = invoke("score-risk/r1", "--json", "--precision", "int8", "--calibration", file)
    child = child_of(store, result)
    assert "'score' stays in FP32: none of its layers may be scaled." in result.stderr
    assert child.plans[0].precision == "fp32"
    assert child.derived is not None
    assert network_of(child) == network_of(store.manifest("score-risk", "r1"))
    assert child.derived.details["kept_in_fp32"] == {"score": "none of its layers may be scaled"}


def test_routed_releases_are_compiled_once_and_replaced(
    invoke: Invoke, store: ReleaseStore, gpu: Path
) -> None:
    route(store, "r1")
    (made,) = compiled(invoke("--routed", "--json"))
    assert (made["parent"], made["routed"]) == ("score-risk/r1", True)
    _, routes = store.routes()
    (target,) = routes.lines["score-risk"]
    assert (f"score-risk/{target.release}", target.weight) == (made["release"], 1.0)
    again = invoke("--routed", "--json")
    assert compiled(again) == []
    assert "Every routed release has its plans for this machine" in again.stderr


def test_a_share_of_the_calls_stays_that_share(
    invoke: Invoke, store: ReleaseStore, gpu: Path
) -> None:
    publish(store, "r2", seed=1)
    route(store, "r1", "r2")
    made = compiled(invoke("--routed", "--json"))
    assert {one["parent"] for one in made} == {"score-risk/r1", "score-risk/r2"}
    _, routes = store.routes()
    assert [one.weight for one in routes.lines["score-risk"]] == [0.5, 0.5]


def test_an_empty_store_has_nothing_to_compile(invoke: Invoke, gpu: Path) -> None:
    assert compiled(invoke("--routed", "--json")) == []


def test_a_plan_for_another_gpu_is_kept_beside_the_new_one(
    invoke: Invoke,
    store: ReleaseStore,
    gpu: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = child_of(store, invoke("score-risk/r1", "--json", "--release", "one"))
    fake_gpu.install(monkeypatch, tmp_path / "ada", capability="8.9")
    both = child_of(store, invoke(f"score-risk/{first.release}", "--json", "--release", "two"))
    assert [plan.compute_capability for plan in both.plans] == ["9.0", "8.9"]
    text = store.model_file(both, "score-risk__two__score/configs/tensorrt.pbtxt").decode()
    config = text_format.Parse(text, mc.ModelConfig())
    assert set(config.cc_model_filenames) == {"9.0", "8.9"}
    for plan in both.plans:
        assert store.model_file(both, plan.file)
