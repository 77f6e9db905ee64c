from __future__ import annotations

import json
from pathlib import Path

import fake_gpu
import numpy as np
import pytest
import spox
import spox.opset.ai.onnx.v18 as op

from model_builder.export.shapes import Range
from model_builder.tensorrt.errors import CompileFailed, ToolMissing
from model_builder.tensorrt.options import CompileOptions
from model_builder.tensorrt.trtexec import (
    TrtexecCompiler,
    build_command,
    errors_in,
    outputs_in,
    run_command,
    version_in,
)
from triton_models.plans import Shapes

SHAPES = {
    "a": Shapes(least=(1, 3), usual=(8, 3), most=(64, 3)),
    "b": Shapes(least=(1, 1), usual=(8, 50), most=(64, 2000)),
}


def network() -> bytes:
    """``y`` is ``a`` and the sum of ``b``."""
    a = spox.argument(spox.Tensor(np.float32, ("B", 3)))
    b = spox.argument(spox.Tensor(np.int32, ("B", "X")))
    total = op.reduce_sum(op.cast(b, to=np.float32), op.const([1]), keepdims=1)
    return spox.build({"a": a, "b": b}, {"y": op.add(a, total)}).SerializeToString()


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    return fake_gpu.install(monkeypatch, tmp_path / "bin")


@pytest.fixture
def compiler(calls: Path) -> TrtexecCompiler:
    return TrtexecCompiler(str(calls.parent / "trtexec"))


def test_the_command_says_sizes_types_and_memory() -> None:
    options = CompileOptions(workspace_mib=512)
    assert build_command("trtexec", Path("n.onnx"), Path("n.plan"), SHAPES, options) == [
        "trtexec",
        "--onnx=n.onnx",
        "--saveEngine=n.plan",
        "--minShapes=a:1x3,b:1x1",
        "--optShapes=a:8x3,b:8x50",
        "--maxShapes=a:64x3,b:64x2000",
        "--memPoolSize=workspace:512",
        "--stronglyTyped",
        "--noTF32",
        "--skipInference",
    ]


def test_what_is_asked_more_is_said_more() -> None:
    options = CompileOptions(
        hardware_compatible=True, version_compatible=True, timing_cache=Path("t.cache")
    )
    assert build_command("trtexec", Path("n.onnx"), Path("n.plan"), SHAPES, options)[-3:] == [
        "--versionCompatible",
        "--hardwareCompatibilityLevel=ampere+",
        "--timingCacheFile=t.cache",
    ]


def test_no_precision_is_a_flag_since_11_knows_none() -> None:
    options = CompileOptions(precision="fp16")
    command = build_command("trtexec", Path("n.onnx"), Path("n.plan"), SHAPES, options)
    assert not {"--fp16", "--bf16", "--int8", "--fp8", "--best"} & set(command)


def test_running_is_one_pass_over_the_inputs_given() -> None:
    inputs = {"a": np.zeros((2, 3), np.float32)}
    command = run_command("trtexec", Path("n.plan"), {"a": Path("a.bin")}, inputs, Path("y.json"))
    assert command[1:5] == [
        "--loadEngine=n.plan", "--loadInputs=a:a.bin", "--shapes=a:2x3", "--exportOutput=y.json",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("banner", "version"),
    [
        ("&&&& RUNNING TensorRT.trtexec [TensorRT v100600] [b26] # trtexec", "10.6.0.26"),
        ("noise\n&&&& RUNNING TensorRT.trtexec [TensorRT v110401] [b3] #", "11.4.1.3"),
        ("&&&& RUNNING TensorRT.trtexec [TensorRT v101303] #", "10.13.3"),
        ("trtexec", ""),
    ],
)
def test_the_version_is_read_from_the_first_line(banner: str, version: str) -> None:
    assert version_in(banner) == version


def test_errors_are_read_once_each() -> None:
    output = "[I] a\n[11/25] [E] bad node\n[11/25] [E] bad node\n[11/25] [E] no engine\n"
    assert errors_in(output) == ["bad node", "no engine"]


def test_numbers_that_json_does_not_know_are_read() -> None:
    text = '[{"name": "y", "dimensions": "2x2", "values": [nan, -inf, inf, 1.5]}]'
    np.testing.assert_equal(outputs_in(text)["y"], [[np.nan, -np.inf], [np.inf, 1.5]])


def test_a_network_becomes_a_plan_that_answers_as_it_does(
    compiler: TrtexecCompiler, calls: Path
) -> None:
    plan = compiler.compile("rank", network(), SHAPES, CompileOptions())
    assert plan.tensorrt == fake_gpu.VERSION
    inputs = {"a": np.ones((2, 3), np.float32), "b": np.array([[1, 2], [3, 4]], np.int32)}
    answer = compiler.run("rank", plan, inputs, CompileOptions())["y"]
    np.testing.assert_array_equal(answer, [[4, 4, 4], [8, 8, 8]])
    assert len(calls.read_text().splitlines()) == 2


def test_what_trtexec_says_was_wrong_is_the_error(
    compiler: TrtexecCompiler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_TRTEXEC_FAILS", "No importer registered for op: Det")
    with pytest.raises(CompileFailed) as raised:
        compiler.compile("rank", network(), SHAPES, CompileOptions())
    assert raised.value.reasons == ("No importer registered for op: Det",)
    assert "step 'rank'" in str(raised.value)


def test_sizes_that_do_not_rise_are_refused_by_the_tool(compiler: TrtexecCompiler) -> None:
    shapes = SHAPES | {"a": Shapes(least=(9, 3), usual=(8, 3), most=(64, 3))}
    with pytest.raises(CompileFailed, match="does not rise"):
        compiler.compile("rank", network(), shapes, CompileOptions())


def test_a_program_that_does_not_start_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ToolMissing, match="does not start"):
        TrtexecCompiler(str(tmp_path / "none")).compile("rank", network(), SHAPES, CompileOptions())


def test_the_arguments_are_those_of_the_built_command(
    compiler: TrtexecCompiler, calls: Path, tmp_path: Path
) -> None:
    options = CompileOptions(batch=Range(1, 8, 64), timing_cache=tmp_path / "t.cache")
    compiler.compile("rank", network(), SHAPES, options)
    (arguments,) = [json.loads(line) for line in calls.read_text().splitlines()]
    assert f"--timingCacheFile={tmp_path / 't.cache'}" in arguments
