from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import spox.opset.ai.onnx.v18 as op
from google.protobuf import text_format
from spox import Tensor, argument
from spox import build as build_graph
from tritonclient.grpc import model_config_pb2 as mc

from model_builder.errors import ExportBroken
from model_builder.export.chain import StepChain, run_steps
from model_builder.export.ensemble import write_models
from model_builder.task import Candidate, StepModel
from triton_models.signatures import SCORE_RISK

LINE, RELEASE = "score-risk", "golden"


def step(
    name: str, given: dict[str, Tensor], dtype: type = np.float32, **made: Tensor
) -> StepModel:
    """A step whose outputs are made up from its first input's number of rows."""
    arguments = {key: argument(type_) for key, type_ in given.items()}
    first = next(iter(arguments.values()))
    rows = op.slice(op.shape(first), op.const([0]), op.const([1]))
    outputs = {}
    for key, type_ in made.items():
        sizes = [size if isinstance(size, int) else 2 for size in type_.shape[1:]]
        shape = op.concat([rows, op.const(np.array(sizes, np.int64))], axis=0)
        zero = op.cast(op.const(np.float32(0)), to=type_.dtype)
        outputs[key] = op.expand(zero, shape)
    return StepModel(name, "pre", with_shapes(build_graph(arguments, outputs), made))


def with_shapes(model: onnx.ModelProto, made: dict[str, Tensor]) -> onnx.ModelProto:
    for value in model.graph.output:
        shape = made[value.name].shape
        del value.type.tensor_type.shape.dim[:]
        for size in shape:
            dim = value.type.tensor_type.shape.dim.add()
            if isinstance(size, int):
                dim.dim_value = size
            else:
                dim.dim_param = size
    return model


F32 = np.float32
NUMBERS = {"numbers": Tensor(F32, ("B", 2))}
ANSWERS = {
    "default_probability": Tensor(F32, ("B", 1)),
    "score": Tensor(F32, ("B", 1)),
    "contributions": Tensor(F32, ("B", 2)),
    "input_rules": Tensor(np.int32, ("B", 2)),
}


def without(name: str) -> dict[str, Tensor]:
    return {key: value for key, value in ANSWERS.items() if key != name}


def read(folder: Path) -> mc.ModelConfig:
    return text_format.Parse((folder / "config.pbtxt").read_text(), mc.ModelConfig())


@pytest.fixture
def repository(candidate: Candidate, tmp_path: Path) -> Path:
    write_models(tmp_path, LINE, RELEASE, candidate.steps, SCORE_RISK)
    return tmp_path


@pytest.mark.parametrize("model", ["", "__encode", "__score", "__decode", "__fused"])
def test_config_is_as_it_was_agreed(repository: Path, data_folder: Path, model: str) -> None:
    name = f"{LINE}__{RELEASE}{model}"
    golden = data_folder / "config_pbtxt" / f"{name}.pbtxt"
    written = repository / name / "config.pbtxt"
    assert text_format.Parse(golden.read_text(), mc.ModelConfig()) == read(repository / name)
    assert written.read_text() == golden.read_text()


def test_holds_only_what_a_release_may_hold(repository: Path) -> None:
    suffixes = {file.suffix for file in repository.rglob("*") if file.is_file()}
    assert suffixes == {".onnx", ".pbtxt", ".json"}


def test_every_model_has_a_version_with_something_in_it(repository: Path) -> None:
    for model in repository.iterdir():
        assert list((model / "1").iterdir()), model.name
    content = json.loads((repository / f"{LINE}__{RELEASE}" / "1" / "ensemble.json").read_text())
    assert content["steps"] == [f"{LINE}__{RELEASE}__{s}" for s in ("encode", "score", "decode")]


def test_gives_the_ensembles_tensors_in_the_signatures_order(candidate, tmp_path) -> None:
    inputs, outputs = write_models(tmp_path, LINE, RELEASE, candidate.steps, SCORE_RISK)
    assert [(t.name, t.data_type, t.dims) for t in inputs] == [
        ("numbers", "FP32", (2,)),
        ("categories", "BYTES", (1,)),
    ]
    assert [t.name for t in outputs] == [spec.name for spec in SCORE_RISK.outputs]
    assert outputs[2].dims == (3,)


def test_an_optional_input_may_be_missing(tmp_path: Path) -> None:
    inputs, _ = write_models(tmp_path, LINE, RELEASE, [step("all", NUMBERS, **ANSWERS)], SCORE_RISK)
    assert [tensor.name for tensor in inputs] == ["numbers"]


@pytest.mark.parametrize(
    ("steps", "difference"),
    [
        (
            [step("all", NUMBERS, **without("score"))],
            "output 'score' FP32[1] is missing",
        ),
        (
            [step("all", NUMBERS, **ANSWERS | {"score": Tensor(F32, ("B", 2))})],
            "output 'score' must be FP32[1], found FP32[2]",
        ),
        (
            [step("all", NUMBERS, **ANSWERS | {"score": Tensor(F32, ("B", "N"))})],
            "output 'score' must be FP32[1], found FP32[-1]",
        ),
        (
            [step("all", NUMBERS, **ANSWERS | {"input_rules": Tensor(np.int64, ("B", 2))})],
            "output 'input_rules' must be INT32[-1], found INT64[2]",
        ),
        (
            [step("all", {"numbers": Tensor(np.float64, ("B", 2))}, **ANSWERS)],
            "input 'numbers' must be FP32[-1], found FP64[2]",
        ),
        (
            [step("all", NUMBERS | {"age": Tensor(F32, ("B", 1))}, **ANSWERS)],
            "input 'age' is made by no earlier step and is not declared",
        ),
        (
            [
                step("one", NUMBERS, **without("score")),
                step("two", NUMBERS, **ANSWERS),
            ],
            "step 'two' makes 'contributions', which exists already",
        ),
        (
            [
                step("one", NUMBERS, **ANSWERS, mid=Tensor(F32, ("B", 4))),
                step("two", {"mid": Tensor(F32, ("B", 5))}, end=Tensor(F32, ("B", 1))),
            ],
            "step 'two' takes 'mid' as FP32[5], found FP32[4]",
        ),
        (
            [step("all", {"numbers": Tensor(F32, (3, 2))}, **ANSWERS)],
            "step 'all': tensor 'numbers' must have a varying batch axis",
        ),
        (
            [step("all", NUMBERS, **ANSWERS, flat=Tensor(F32, ("B",)))],
            "step 'all': tensor 'flat' must have a varying batch axis and at least one more",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_names_the_exact_difference_and_writes_nothing(steps, difference, tmp_path) -> None:
    with pytest.raises(ExportBroken) as caught:
        write_models(tmp_path, LINE, RELEASE, steps, SCORE_RISK)
    assert difference in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_names_all_differences_at_once(tmp_path: Path) -> None:
    steps = [step("all", {"age": Tensor(F32, ("B", 1))}, **without("score"))]
    with pytest.raises(ExportBroken, match=r"'score'.*missing; .*'age'"):
        write_models(tmp_path, LINE, RELEASE, steps, SCORE_RISK)


def test_runs_the_chain_on_strings_and_gaps(candidate: Candidate) -> None:
    made = run_steps(
        candidate.steps,
        {
            "numbers": np.array([[np.nan, 0.5], [2, 1]], F32),
            "categories": np.array([["car"], ["boat"]], object),
        },
    )
    assert made["features"].tolist() == [[0, 0.5, 0], [2, 1, 0.5]]
    assert made["input_rules"].tolist() == [[1, 0, 0], [0, 0, 1]]
    assert made["score"] == pytest.approx(850 - 550 * made["default_probability"])
    assert "numbers" not in made


def test_a_chain_can_be_asked_again(candidate: Candidate) -> None:
    chain = StepChain(candidate.steps)
    given = {"numbers": np.zeros((1, 2), F32), "categories": np.array([["car"]], object)}
    assert chain.run(given)["score"] == chain.run(given)["score"]


def test_an_output_that_nobody_takes_is_not_sent_around(tmp_path: Path) -> None:
    steps = [step("all", NUMBERS, **ANSWERS, spare=Tensor(F32, ("B", 9)))]
    write_models(tmp_path, LINE, RELEASE, steps, SCORE_RISK)
    config = read(tmp_path / f"{LINE}__{RELEASE}")
    assert "spare" not in config.ensemble_scheduling.step[0].output_map


def test_a_step_keeps_its_place_in_the_candidate(candidate: Candidate, tmp_path: Path) -> None:
    renamed = (replace(candidate.steps[0], name="read"), *candidate.steps[1:])
    write_models(tmp_path, LINE, RELEASE, renamed, SCORE_RISK)
    order = read(tmp_path / f"{LINE}__{RELEASE}").ensemble_scheduling.step
    assert [s.model_name.rpartition("__")[2] for s in order] == ["read", "score", "decode"]
