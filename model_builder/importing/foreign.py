"""A network from elsewhere: its ONNX graph, and its own answers to compare with."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
import onnx

from model_builder.export.onnx import serialised
from model_builder.export.running import Arrays, OnnxModel, run_in_parts
from model_builder.fetching import file_sha256
from model_builder.importing.errors import ConversionFailed, FrameworkMissing
from triton_models.release import Compared

Framework = Literal["onnx", "keras", "savedmodel"]

MAX_OPSET = 18
"""The newest that every Triton since 23.01 reads."""


class Foreign(Protocol):
    """A network that was trained elsewhere."""

    model: onnx.ModelProto
    version: str
    """Of what read it, such as ``keras 3.15.1``."""
    sha256: str
    """Of its file or folder."""
    compared: Compared

    def answer(self, inputs: Mapping[str, npt.NDArray[Any]]) -> Arrays:
        """Return what the framework itself answers, by the names of the graph."""
        ...


@dataclass(frozen=True)
class _Kind:
    worker: str
    compared: Compared
    module: str
    advice: str


_KINDS: dict[Framework, _Kind] = {
    "keras": _Kind("keras_worker.py", "keras-onnx", "keras", "pip install 'trident[import-keras]'"),
    "savedmodel": _Kind(
        "tensorflow_worker.py",
        "tensorflow-onnx",
        "tf2onnx",
        "pip install tensorflow-cpu tf2onnx, here or for another interpreter that "
        "--framework-python names",
    ),
}


@contextmanager
def opened(framework: Framework, path: Path, python: str | None = None) -> Iterator[Foreign]:
    """Read a network; a Keras or TensorFlow one by a process of its own, which then ends.

    Args:
        framework: What wrote it.
        path: The file, or the folder of a SavedModel.
        python: The interpreter that has the framework; by default this one.

    Raises:
        ConversionFailed: If it cannot be read, or ONNX cannot say it.
        FrameworkMissing: If the interpreter lacks the framework.
    """
    if framework == "onnx":
        yield _OnnxFile(path)
        return
    kind = _KINDS[framework]
    python = python or sys.executable
    _check_installed(kind, python)
    with tempfile.TemporaryDirectory(prefix="model-builder-import-") as scratch:
        folder = Path(scratch)
        errors = folder / "stderr"
        with errors.open("w") as log:
            worker = subprocess.Popen(
                [python, str(Path(__file__).with_name(kind.worker))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        try:
            yield _Worker(worker, kind.compared, path, folder)
        finally:
            assert worker.stdin is not None
            assert worker.stdout is not None
            worker.stdin.close()
            worker.stdout.close()
            worker.wait()


class _OnnxFile:
    compared: Compared = "original-onnx"

    def __init__(self, path: Path) -> None:
        try:
            self.model = onnx.load(path)
            onnx.checker.check_model(self.model)
            self._runs = OnnxModel(serialised(self.model))
        except Exception as error:  # protobuf, onnx and the runtime share no root
            raise ConversionFailed(str(path), str(error).strip().splitlines()[0]) from error
        self.version = f"onnx opset {_opset(self.model)}"
        self.sha256 = file_sha256(path)
        _check_opset(path, self.model)

    def answer(self, inputs: Mapping[str, npt.NDArray[Any]]) -> Arrays:
        return run_in_parts(self._runs, inputs)


class _Worker:
    def __init__(
        self, process: subprocess.Popen[str], compared: Compared, path: Path, folder: Path
    ) -> None:
        self._process = process
        self._path = path
        self._folder = folder
        self._calls = 0
        self.compared = compared
        graph = folder / "model.onnx"
        said = self._ask({"do": "convert", "model": str(path), "onnx": str(graph)})
        self.version = str(said["version"])
        self.model = onnx.load(graph)
        self.sha256 = file_sha256(path)
        _check_opset(path, self.model)

    def answer(self, inputs: Mapping[str, npt.NDArray[Any]]) -> Arrays:
        self._calls += 1
        given, found = (self._folder / f"{kind}{self._calls}.npz" for kind in ("in", "out"))
        np.savez(given, **dict(inputs))
        self._ask({"do": "answer", "inputs": str(given), "outputs": str(found)})
        with np.load(found, allow_pickle=False) as outputs:
            return dict(outputs)

    def _ask(self, request: Mapping[str, str]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            lines = (self._folder / "stderr").read_text().strip().splitlines()
            raise ConversionFailed(str(self._path), lines[-1] if lines else "the reader ended")
        said: dict[str, Any] = json.loads(line)
        if "error" in said:
            raise ConversionFailed(str(self._path), said["error"].strip().splitlines()[0])
        return said


def _check_installed(kind: _Kind, python: str) -> None:
    code = (
        f"import importlib.util, sys; sys.exit(importlib.util.find_spec('{kind.module}') is None)"
    )
    try:
        missing = subprocess.run(
            [python, "-c", code, kind.module], check=False, capture_output=True
        ).returncode
    except OSError as error:
        raise FrameworkMissing(kind.module, python, str(error)) from error
    if missing:
        raise FrameworkMissing(kind.module, python, kind.advice)


def _opset(model: onnx.ModelProto) -> int:
    return next((each.version for each in model.opset_import if each.domain in ("", "ai.onnx")), 0)


def _check_opset(path: Path, model: onnx.ModelProto) -> None:
    if _opset(model) > MAX_OPSET:
        raise ConversionFailed(
            str(path),
            f"it is of ONNX opset {_opset(model)}, and at most {MAX_OPSET} is served everywhere: "
            "export it anew with that opset",
        )
    foreign = {node.domain for node in model.graph.node} - {"", "ai.onnx", "ai.onnx.ml"}
    if foreign:
        raise ConversionFailed(
            str(path), f"it needs operators of {', '.join(sorted(foreign))}, which Triton lacks"
        )
