from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as mc

from model_builder.build import stage_release
from model_builder.export.chain import run_steps
from model_builder.export.ensemble import write_models
from model_builder.export.profiles import ENGINES, Profiles
from model_builder.task import Candidate, Task
from triton_models.plans import PROFILES, Plan, Shapes
from triton_models.release import Manifest
from triton_models.signatures import SCORE_RISK

LINE = "score-risk"
PLAN = Plan(
    step="score",
    file="1/sm_90-trt10.13.3.9.plan",
    compute_capability="9.0",
    tensorrt="10.13.3.9",
    precision="fp32",
    shapes={"features": Shapes(least=(1, 3), usual=(8, 3), most=(64, 3))},
)


def read(path: Path) -> mc.ModelConfig:
    return text_format.Parse(path.read_text(encoding="utf-8"), mc.ModelConfig())


@pytest.fixture(scope="module")
def staged(
    toy: Task, candidate: Candidate, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Manifest, Path]:
    models = tmp_path_factory.mktemp("models")
    return stage_release(candidate, toy.config_type(), "r1", models), models


@pytest.fixture(scope="module")
def core(staged: tuple[Manifest, Path]) -> Path:
    return staged[1] / f"{LINE}__r1__score"


def test_each_core_has_every_profile_and_no_other_step_has_any(
    staged: tuple[Manifest, Path], core: Path
) -> None:
    manifest, models = staged
    assert {path.stem for path in (core / "configs").iterdir()} == set(PROFILES)
    others = [path for path in models.glob("*/configs") if path.parent != core]
    assert others == [], "Triton takes config.pbtxt where a profile is missing"
    assert all(f"{core.name}/configs/{one}.pbtxt" in manifest.files for one in PROFILES)


def test_the_manifest_says_that_tensorrt_takes_the_core(staged: tuple[Manifest, Path]) -> None:
    assert {name: found.ready for name, found in staged[0].tensorrt.items()} == {"score": True}


@pytest.mark.parametrize("profile", PROFILES)
def test_a_profile_runs_the_same_tensors_on_a_gpu_in_batches(core: Path, profile: str) -> None:
    plain, config = read(core / "config.pbtxt"), read(core / "configs" / f"{profile}.pbtxt")
    assert (config.name, config.max_batch_size) == (plain.name, plain.max_batch_size)
    assert (list(config.input), list(config.output)) == (list(plain.input), list(plain.output))
    assert [group.kind for group in config.instance_group] == [mc.ModelInstanceGroup.KIND_GPU]
    assert list(config.dynamic_batching.preferred_batch_size) == [8, 32, 128]
    assert [group.kind for group in plain.instance_group] == [mc.ModelInstanceGroup.KIND_CPU]


def test_warming_up_asks_what_a_recorded_question_became_when_it_reached_the_core(
    candidate: Candidate, core: Path
) -> None:
    inputs, _ = candidate.recorded.batch(candidate.recorded.golden()[:1])
    reached = run_steps(candidate.steps[:1], inputs)["features"]
    assert (core / "warmup" / "features.bin").read_bytes() == reached.tobytes()
    for path, rows in (("config.pbtxt", [1]), ("configs/onnx-cuda.pbtxt", [1, 32])):
        warmups = read(core / path).model_warmup
        assert [one.batch_size for one in warmups] == rows
        for one in warmups:
            given = one.inputs["features"]
            assert (given.input_data_file, list(given.dims)) == ("features.bin", [3])


def test_onnx_runtime_computes_in_fp32_proper(core: Path) -> None:
    config = read(core / "configs" / "onnx-cuda.pbtxt")
    (cuda,) = config.optimization.execution_accelerators.gpu_execution_accelerator
    assert (config.backend, cuda.name, dict(cuda.parameters)) == (
        "onnxruntime", "cuda", {"use_tf32": "0"},
    )  # fmt: skip


def test_onnx_runtimes_engines_are_for_all_sizes_and_of_these_weights(core: Path) -> None:
    config = read(core / "configs" / "onnx-tensorrt.pbtxt")
    (tensorrt,) = config.optimization.execution_accelerators.gpu_execution_accelerator
    parameters = dict(tensorrt.parameters)
    assert tensorrt.name == "tensorrt"
    assert parameters["precision_mode"] == "FP32"
    assert parameters["trt_engine_cache_enable"] == "1"
    assert parameters["trt_engine_cache_path"] == ENGINES
    assert parameters["trt_engine_cache_prefix"].startswith(f"{core.name}-")
    assert [parameters[f"trt_profile_{one}_shapes"] for one in ("min", "opt", "max")] == [
        "features:1x3", "features:32x3", "features:1000x3",
    ]  # fmt: skip


def test_engines_of_other_weights_are_called_otherwise(
    toy: Task, candidate: Candidate, core: Path, tmp_path: Path
) -> None:
    steps = list(candidate.steps)
    model = onnx.ModelProto()
    model.CopyFrom(steps[1].model)
    weights = model.graph.initializer[0]
    weights.CopyFrom(
        onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weights) + 1, weights.name)
    )
    other = replace(candidate, steps=(steps[0], replace(steps[1], model=model), steps[2]))
    stage_release(other, toy.config_type(), "r1", tmp_path)

    def prefix(folder: Path) -> str:
        config = read(folder / "configs" / "onnx-tensorrt.pbtxt")
        accelerators = config.optimization.execution_accelerators.gpu_execution_accelerator
        return accelerators[0].parameters["trt_engine_cache_prefix"]

    assert prefix(core) != prefix(tmp_path / core.name)


def test_before_anything_is_compiled_the_plan_is_called_as_triton_expects(core: Path) -> None:
    config = read(core / "configs" / "tensorrt.pbtxt")
    assert (config.platform, config.backend) == ("tensorrt_plan", "tensorrt")
    assert config.default_model_filename == "model.plan"
    assert not config.cc_model_filenames
    assert not config.HasField("optimization")


def written(candidate: Candidate, folder: Path, *plans: Plan) -> Path:
    profiles = Profiles.of(LINE, candidate.steps, candidate.recorded, plans=plans)
    write_models(folder, LINE, "r1", candidate.steps, SCORE_RISK, profiles=profiles)
    return folder


def test_a_plan_is_chosen_by_the_gpu_and_bounds_the_rows_of_the_whole(
    candidate: Candidate, tmp_path: Path
) -> None:
    models = written(candidate, tmp_path, PLAN)
    config = read(models / f"{LINE}__r1__score" / "configs" / "tensorrt.pbtxt")
    assert dict(config.cc_model_filenames) == {"9.0": "sm_90-trt10.13.3.9.plan"}
    assert config.default_model_filename == "model.plan", "another GPU finds none"
    assert config.max_batch_size == 64
    assert list(config.dynamic_batching.preferred_batch_size) == [8, 32]
    whole = read(models / f"{LINE}__r1" / "configs" / "tensorrt.pbtxt")
    assert (whole.platform, whole.max_batch_size) == ("ensemble", 64)
    assert read(models / f"{LINE}__r1" / "config.pbtxt").max_batch_size == 1000


def test_a_plan_for_any_gpu_is_what_other_gpus_find(candidate: Candidate, tmp_path: Path) -> None:
    plan = PLAN.model_copy(update={"hardware_compatible": True})
    models = written(candidate, tmp_path, plan)
    config = read(models / f"{LINE}__r1__score" / "configs" / "tensorrt.pbtxt")
    assert config.default_model_filename == "sm_90-trt10.13.3.9.plan"


def test_a_core_that_tensorrt_does_not_take_stays_with_onnx_runtime(
    candidate: Candidate, tmp_path: Path
) -> None:
    profiles = Profiles.of(LINE, candidate.steps, candidate.recorded)
    bad = profiles.ready["score"].model_copy(update={"ready": False, "because": ("n (Det)",)})
    profiles = replace(profiles, ready={"score": bad})
    write_models(tmp_path, LINE, "r1", candidate.steps, SCORE_RISK, profiles=profiles)
    configs = tmp_path / f"{LINE}__r1__score" / "configs"
    assert {path.stem for path in configs.iterdir()} == {"onnx-cuda", "onnx-tensorrt"}
    text = (configs / "onnx-tensorrt.pbtxt").read_text()
    assert "trt_profile" not in text, "only parts of it become engines, of sizes not known here"


def test_without_recorded_questions_zeros_warm_up(candidate: Candidate, tmp_path: Path) -> None:
    profiles = Profiles.of(LINE, candidate.steps, None)
    write_models(tmp_path, LINE, "r1", candidate.steps, SCORE_RISK, profiles=profiles)
    core = tmp_path / f"{LINE}__r1__score"
    assert not (core / "warmup").exists()
    for path in (core / "config.pbtxt", core / "configs" / "tensorrt.pbtxt"):
        assert [one.inputs["features"].zero_data for one in read(path).model_warmup] == [True]


def test_a_fused_model_of_numbers_alone_runs_on_a_gpu_too(tmp_path: Path) -> None:
    from tiny_releases import diagnoser

    from triton_models.signatures import DIAGNOSE_MEASUREMENTS

    built = diagnoser()
    profiles = Profiles.of(built.line, built.steps, None)
    write_models(tmp_path, built.line, "r1", built.steps, DIAGNOSE_MEASUREMENTS, profiles=profiles)
    fused = tmp_path / f"{built.line}__r1__fused" / "configs"
    assert [path.name for path in fused.iterdir()] == ["onnx-cuda.pbtxt"]


def test_what_reaches_a_core_is_of_all_golden_rows(candidate: Candidate) -> None:
    profiles = Profiles.of(LINE, candidate.steps, candidate.recorded)
    assert profiles.asked["score"]["features"].shape == (32, 3)
    assert np.isfinite(profiles.asked["score"]["features"]).all()
