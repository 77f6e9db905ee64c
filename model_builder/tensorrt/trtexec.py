"""Compiles with ``trtexec``, which NVIDIA's images have where the Python library is missing."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar, Literal

import numpy as np

from model_builder.export.running import Arrays
from model_builder.export.shapes import ranges_text, shapes_text
from model_builder.tensorrt.compiled import Compiled, Inputs
from model_builder.tensorrt.errors import CompileFailed, ToolMissing
from model_builder.tensorrt.options import CompileOptions
from triton_models.plans import Shapes

_BANNER = re.compile(r"&&&& RUNNING TensorRT\.trtexec \[TensorRT v(\d+)\](?: \[b(\d+)\])?")
_ERROR = re.compile(r"\[E\]\s*(.*)")
_PASSED = "&&&& PASSED TensorRT.trtexec"
_TIMEOUT_S = 3600


def build_command(
    trtexec: str,
    model: Path,
    plan: Path,
    shapes: Mapping[str, Shapes],
    options: CompileOptions,
) -> list[str]:
    """Return the command that compiles a network; TensorRT 10 and 11 take it alike.

    Args:
        trtexec: The program.
        model: ONNX.
        plan: What it writes.
        shapes: By input.
        options: What is asked of the plan.
    """
    command = [
        trtexec,
        f"--onnx={model}",
        f"--saveEngine={plan}",
        *(f"--{kind}Shapes={text}" for kind, text in ranges_text(shapes).items()),
        f"--memPoolSize=workspace:{options.workspace_mib}",
        # The default of 11, which takes it without a word.
        "--stronglyTyped",
        "--noTF32",
        "--skipInference",
    ]
    if options.version_compatible:
        command.append("--versionCompatible")
    if options.hardware_compatible:
        command.append("--hardwareCompatibilityLevel=ampere+")
    if options.timing_cache is not None:
        command.append(f"--timingCacheFile={options.timing_cache}")
    return command


def run_command(
    trtexec: str, plan: Path, files: Mapping[str, Path], inputs: Inputs, answer: Path
) -> list[str]:
    """Return the command that runs a plan once, and writes what it answers.

    Args:
        trtexec: The program.
        plan: What is run.
        files: By input: its values, raw.
        inputs: The same, for their sizes.
        answer: JSON that it writes.
    """
    return [
        trtexec,
        f"--loadEngine={plan}",
        "--loadInputs=" + ",".join(f"{name}:{file}" for name, file in files.items()),
        f"--shapes={shapes_text({name: array.shape for name, array in inputs.items()})}",
        f"--exportOutput={answer}",
        "--iterations=1",
        "--warmUp=0",
        "--duration=0",
    ]


def version_in(output: str) -> str:
    """Return the version that ``trtexec`` says it is, such as ``10.13.3.9``; ``""`` if none."""
    match = _BANNER.search(output)
    if match is None:
        return ""
    number = int(match[1])
    major, minor, patch = number // 10_000, number // 100 % 100, number % 100
    build = f".{match[2]}" if match[2] else ""
    return f"{major}.{minor}.{patch}{build}"


def errors_in(output: str) -> list[str]:
    """Return what ``trtexec`` says was wrong, each once."""
    return list(dict.fromkeys(match[1].strip() for match in _ERROR.finditer(output)))


def outputs_in(answer: str) -> Arrays:
    """Return what ``--exportOutput`` wrote, by output; everything as float64."""
    # It writes numbers as C++ does, which JSON does not know.
    text = re.sub(r"(?<=[\[, ])(-?)(nan|inf)(?=[\], ])", _json_number, answer)
    return {
        each["name"]: np.array(each["values"], np.float64).reshape(
            [int(size) for size in each["dimensions"].split("x")]
        )
        for each in json.loads(text)
    }


def _json_number(match: re.Match[str]) -> str:
    return match[1] + {"nan": "NaN", "inf": "Infinity"}[match[2]]


class TrtexecCompiler:
    """``trtexec``, as a program beside this one.

    Args:
        trtexec: Where it is.
    """

    kind: ClassVar[Literal["python", "trtexec"]] = "trtexec"

    def __init__(self, trtexec: str) -> None:
        self._trtexec = trtexec

    def compile(
        self, step: str, model: bytes, shapes: Mapping[str, Shapes], options: CompileOptions
    ) -> Compiled:
        """Return the plan of a network.

        Raises:
            CompileFailed: If TensorRT does not take it.
        """
        with TemporaryDirectory(prefix="trident-trtexec-") as scratch:
            source, target = Path(scratch, "network.onnx"), Path(scratch, "network.plan")
            source.write_bytes(model)
            command = build_command(self._trtexec, source, target, shapes, options)
            output = self._ran(step, command)
            if not target.is_file():
                raise CompileFailed(step, ["trtexec says that it passed, and wrote no plan"])
            version = version_in(output)
            if not version:
                raise CompileFailed(step, ["trtexec does not say which version it is"])
            return Compiled(target.read_bytes(), version)

    def run(self, step: str, plan: Compiled, inputs: Inputs, options: CompileOptions) -> Arrays:
        """Return what a plan answers, by output.

        Raises:
            CompileFailed: If it does not run.
        """
        with TemporaryDirectory(prefix="trident-trtexec-") as scratch:
            folder = Path(scratch)
            source, answer = folder / "network.plan", folder / "answer.json"
            source.write_bytes(plan.content)
            files = {name: folder / f"{name}.bin" for name in inputs}
            for name, file in files.items():
                file.write_bytes(np.ascontiguousarray(inputs[name]).tobytes())
            self._ran(step, run_command(self._trtexec, source, files, inputs, answer))
            return outputs_in(answer.read_text(encoding="utf-8"))

    def _ran(self, step: str, command: list[str]) -> str:
        try:
            done = subprocess.run(
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                check=False,
                text=True,
                timeout=_TIMEOUT_S,
            )
        except OSError as error:
            raise ToolMissing(f"{self._trtexec} does not start ({error.strerror})") from error
        except subprocess.TimeoutExpired as error:
            raise CompileFailed(step, [f"trtexec took more than {_TIMEOUT_S} s"]) from error
        if done.returncode != 0 or _PASSED not in done.stdout:
            reasons = errors_in(done.stdout) or [f"trtexec ended with {done.returncode}"]
            raise CompileFailed(step, reasons)
        return done.stdout
