"""Exported models, run by ONNX Runtime; on the CPU, unless told otherwise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from triton_models.row_blocks import RowBlocks
from triton_models.signatures import MAX_BATCH_ROWS

Arrays = dict[str, npt.NDArray[Any]]

Provider = str | tuple[str, Mapping[str, str]]
"""What of ONNX Runtime computes: its name, or that and its options."""

CPU: Provider = "CPUExecutionProvider"


class Runs(Protocol):
    """An exported model: one, the chained steps, or all of them fused."""

    def run(self, inputs: Mapping[str, npt.NDArray[Any]]) -> Arrays:
        """Return tensors by name."""
        ...


class OnnxModel:
    """One ONNX model."""

    def __init__(
        self,
        model: bytes | Path,
        outputs: Sequence[str] = (),
        providers: Sequence[Provider] = (CPU,),
        *,
        optimised: bool = True,
    ) -> None:
        """Load a model.

        Args:
            model: A file, or what is in one.
            outputs: That are computed; by default all.
            providers: What computes; the first that can compute a node does.
            optimised: As Triton runs it. Else node by node as the file says, which is slower.
        """
        options = ort.SessionOptions()
        options.log_severity_level = 3  # warnings, of what no caller can change, are left out
        if not optimised:
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        given = str(model) if isinstance(model, Path) else model
        self._session = ort.InferenceSession(given, options, providers=list(providers))
        self._blocks = RowBlocks(given, self._session.get_modelmeta().custom_metadata_map)
        self.inputs = [each.name for each in self._session.get_inputs()]
        self._outputs = list(outputs) or [output.name for output in self._session.get_outputs()]

    def run(self, inputs: Mapping[str, npt.NDArray[Any]]) -> Arrays:
        """Return the outputs by name; strings as object arrays of ``str``.

        Args:
            inputs: The model's, each ``(B, …)``; strings as object arrays of ``str``.
        """
        values = self._blocks.run(partial(self._session.run, self._outputs), dict(inputs))
        return dict(zip(self._outputs, values, strict=True))


def run_in_parts(
    model: Runs,
    tensors: Mapping[str, npt.NDArray[Any]],
    rows_at_once: int = MAX_BATCH_ROWS,
    outputs: Sequence[str] = (),
) -> Arrays:
    """Run a model over any number of rows.

    Args:
        model: What is run.
        tensors: Its inputs, each ``(rows, …)``.
        rows_at_once: Rows of a call, by default as many as one may carry.
        outputs: That are kept, if the model has them; by default all.
    """
    rows = len(next(iter(tensors.values())))
    parts: list[Arrays] = []
    for i in range(0, rows, rows_at_once):
        made = model.run({name: tensor[i : i + rows_at_once] for name, tensor in tensors.items()})
        parts.append({name: made[name] for name in outputs or made if name in made})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
