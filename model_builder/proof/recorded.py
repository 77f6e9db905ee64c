"""The test split as tensors, with what the trained network answered: what a proof compares with.

It lies beside the release as ``reports/<line>/<release>/recorded.parquet``, and its hash stands
in the manifest, so that a signature covers it too.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

FILE = "recorded.parquet"
CALIBRATION = "calibration.parquet"
"""Some rows of the training split as tensors: what a release is quantised by. No answers."""
CALIBRATION_ROWS = 256
GOLDEN_ROWS = 32
"""Rows that are also asked one at a time, and that two releases are compared on."""

Tensor = npt.NDArray[Any]
Column = npt.NDArray[Any] | Sequence[Sequence[Any]]
"""``(rows, …)``; or, where rows are of many lengths, lists of texts, truths or whole numbers:
padded on the right with ``''``, True or 0, which changes no answer."""

_DIMS = b"dims"


@dataclass(frozen=True)
class Recorded:
    """What goes into a release and what must come out, one row for each of the test split."""

    inputs: Mapping[str, Column]
    outputs: Mapping[str, Column]

    @property
    def rows(self) -> int:
        """How many there are."""
        return len(next(iter(self.inputs.values())))

    def golden(self) -> npt.NDArray[np.int64]:
        """Return the places of the golden rows, evenly spread."""
        return np.unique(np.linspace(0, self.rows - 1, GOLDEN_ROWS).astype(np.int64))

    def batch(self, rows: npt.NDArray[np.int64]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return inputs and outputs of some rows, each ``(len(rows), …)``; texts as ``str``."""
        return (
            {name: _taken(column, rows) for name, column in self.inputs.items()},
            {name: _taken(column, rows) for name, column in self.outputs.items()},
        )


def calibration_rows(rows: int, seed: int) -> npt.NDArray[np.int64]:
    """Return the places of the training rows that are kept to calibrate by, drawn by chance."""
    count = min(rows, CALIBRATION_ROWS)
    return np.sort(np.random.default_rng(seed).permutation(rows)[:count])


def to_parquet(recorded: Recorded) -> bytes:
    """Return what :func:`from_parquet` reads."""
    columns, dims = {}, {}
    for kind, tensors in (("input", recorded.inputs), ("output", recorded.outputs)):
        for name, column in tensors.items():
            if isinstance(column, np.ndarray):
                dims[f"{kind}.{name}"] = [column.dtype.str, *column.shape[1:]]
            columns[f"{kind}.{name}"] = _lists(column)
    table = pa.table(columns).replace_schema_metadata({_DIMS: json.dumps(dims)})
    content = io.BytesIO()
    pq.write_table(table, content, compression="zstd")
    return content.getvalue()


def from_parquet(content: bytes) -> Recorded:
    """Return what :func:`to_parquet` wrote."""
    table = pq.read_table(io.BytesIO(content))
    dims = json.loads(table.schema.metadata[_DIMS])
    found: dict[str, dict[str, Column]] = {"input": {}, "output": {}}
    for column_name in table.column_names:
        kind, _, name = column_name.partition(".")
        lists = table.column(column_name).combine_chunks()
        if column_name in dims:
            dtype, *shape = dims[column_name]
            values = lists.values if not len(lists) else lists.flatten()
            flat = values.to_numpy(zero_copy_only=False)
            found[kind][name] = flat.astype(np.dtype(dtype)).reshape(len(lists), *shape)
        else:
            found[kind][name] = lists.to_pylist()
    return Recorded(found["input"], found["output"])


def _lists(column: Column) -> pa.Array:
    if not isinstance(column, np.ndarray):
        return pa.array([list(row) for row in column])
    flat = column.reshape(len(column), -1)
    values = pa.array(flat.ravel().tolist() if flat.dtype == object else flat.ravel())
    ends = np.arange(len(flat) + 1, dtype=np.int64) * flat.shape[1]
    return pa.LargeListArray.from_arrays(ends, values)


def _taken(column: Column, rows: npt.NDArray[np.int64]) -> Tensor:
    if isinstance(column, np.ndarray):
        return column[rows]
    lists = [column[row] for row in rows]
    width = max(1, *map(len, lists))
    padded = np.full((len(lists), width), *_padding(next((r[0] for r in column if len(r)), "")))
    for place, row in enumerate(lists):
        padded[place, : len(row)] = row
    return padded


def _padding(value: object) -> tuple[object, type[np.generic]]:
    """Return what stands behind the end of lists of such values, and the type of their array."""
    if isinstance(value, str):
        return "", np.object_
    return (True, np.bool_) if isinstance(value, bool | np.bool_) else (0, np.int64)
