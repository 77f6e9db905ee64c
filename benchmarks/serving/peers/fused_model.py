"""The fused ONNX file of a release, as every peer runs it: in its own process, on one thread.

With more threads for one run, two workers on two cores would only wait for each other. Strings
are ``str`` inside ONNX Runtime and ``bytes`` on the wire.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime as ort

Arrays = Mapping[str, Any]

MAX_BATCH_ROWS = 64


class FusedModel:
    """The model; arrays in, arrays out, each ``(B, …)``.

    Attributes:
        inputs: The numpy type of each input, by its name; object for strings.
    """

    def __init__(self, path: str, outputs: Sequence[str]) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self._session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self._outputs = list(outputs)
        self.inputs = {value.name: _DTYPES[value.type] for value in self._session.get_inputs()}

    def run(self, inputs: Arrays) -> dict[str, Any]:
        """Return the outputs by name; strings as object arrays of ``str``."""
        return dict(zip(self._outputs, self._session.run(self._outputs, dict(inputs)), strict=True))

    def run_rows(self, rows: Sequence[Arrays]) -> list[dict[str, Any]]:
        """Run requests of one row each as one batch; return the outputs of each."""
        if len(rows) == 1:
            return [self.run(rows[0])]
        stacked = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
        outputs = self.run(stacked)
        return [
            {name: array[place : place + 1] for name, array in outputs.items()}
            for place in range(len(rows))
        ]

    def parse(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arrays of a JSON body."""
        return {name: np.array(body[name], dtype) for name, dtype in self.inputs.items()}


def plain(outputs: Arrays) -> dict[str, Any]:
    """Return outputs as JSON has them."""
    return {name: array.tolist() for name, array in outputs.items()}


def text(array: Any) -> Any:
    """Return an array of ``bytes`` as one of ``str``; every other as it is."""
    return _each(array, bytes, lambda item: item.decode())


def raw(array: Any) -> Any:
    """Return an array of ``str`` as one of ``bytes``; every other as it is."""
    return _each(array, str, lambda item: item.encode())


def _each(array: Any, kind: type, change: Any) -> Any:
    if array.dtype != np.object_:
        return array
    changed = np.empty(array.shape, np.object_)
    changed.ravel()[:] = [
        change(item) if isinstance(item, kind) else item for item in array.ravel()
    ]
    return changed


_DTYPES = {
    "tensor(float)": np.float32,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(bool)": np.bool_,
    "tensor(string)": np.object_,
}
