"""Exported models, run by ONNX Runtime on the CPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from triton_models.signatures import MAX_BATCH_ROWS

Arrays = dict[str, npt.NDArray[Any]]


class Runs(Protocol):
    """An exported model: one, the chained steps, or all of them fused."""

    def run(self, inputs: Mapping[str, npt.NDArray[Any]]) -> Arrays:
        """Return tensors by name."""
        ...


class OnnxModel:
    """One ONNX model."""

    def __init__(self, model: bytes | Path, outputs: Sequence[str] = ()) -> None:
        """Load a model.

        Args:
            model: A file, or what is in one.
            outputs: That are computed; by default all.
        """
        options = ort.SessionOptions()
        options.log_severity_level = 3  # warnings, of what no caller can change, are left out
        given = str(model) if isinstance(model, Path) else model
        self._session = ort.InferenceSession(given, options, providers=["CPUExecutionProvider"])
        self.inputs = [each.name for each in self._session.get_inputs()]
        self._outputs = list(outputs) or [output.name for output in self._session.get_outputs()]

    def run(self, inputs: Mapping[str, npt.NDArray[Any]]) -> Arrays:
        """Return the outputs by name; strings as object arrays of ``str``.

        Args:
            inputs: The model's, each ``(B, …)``; strings as object arrays of ``str``.
        """
        return dict(zip(self._outputs, self._session.run(self._outputs, dict(inputs)), strict=True))


def run_in_parts(model: Runs, tensors: Mapping[str, npt.NDArray[Any]]) -> Arrays:
    """Run a model over any number of rows, as many at once as a call may carry."""
    rows = len(next(iter(tensors.values())))
    parts = [
        model.run({name: tensor[i : i + MAX_BATCH_ROWS] for name, tensor in tensors.items()})
        for i in range(0, rows, MAX_BATCH_ROWS)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
