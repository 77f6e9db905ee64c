"""Reads a table from a NumPy archive."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from model_builder.errors import DataFault, Fault

SUFFIX = ".npz"
_NAMES = "feature_names"

Arrays = Mapping[str, npt.NDArray[Any]]


def read_npz(path: Path) -> pl.DataFrame:
    """Return the arrays of a ``.npz`` as columns, in the order in which they were saved.

    An array ``(rows,)`` is a column of its name. The columns of a matrix ``(rows, n)`` take
    their names from the ``n`` texts of an array ``feature_names``, if there is one, else
    ``<array>_0``, ``<array>_1`` and so on. Numbers, booleans and texts can be read; objects would
    have to be unpickled, which could run any code, and are refused.

    Raises:
        DataFault: If it is no such archive, or its arrays are no table; names every fault.
    """
    if not zipfile.is_zipfile(path):
        raise DataFault([Fault(path.name, "a NumPy archive (.npz)", "something else")])
    with np.load(path, allow_pickle=False) as archive:
        arrays, faults = _readable(path.name, archive)
    names = arrays.pop(_NAMES, None)
    columns: dict[str, npt.NDArray[Any]] = {}
    for array_name, array in arrays.items():
        for name, column in _columns(array_name, array, names):
            if name in columns:
                faults.append(
                    Fault(path.name, "columns that differ", "two of this name", None, name)
                )
            columns[name] = column
    lengths = {len(column) for column in columns.values()}
    if len(lengths) > 1:
        found = ", ".join(f"'{name}' {len(array)}" for name, array in arrays.items())
        faults.append(Fault(path.name, "arrays with as many rows as each other", found))
    if faults:
        raise DataFault(faults)
    return pl.DataFrame(columns)


def _readable(file: str, archive: Any) -> tuple[dict[str, npt.NDArray[Any]], list[Fault]]:
    arrays: dict[str, npt.NDArray[Any]] = {}
    faults = []
    for name in archive.files:
        try:
            array = archive[name]
        except ValueError:  # only unpickling could read it
            faults.append(Fault(file, "numbers or texts", "objects", column=name))
            continue
        if not isinstance(array, np.ndarray):
            faults.append(Fault(file, "an array", f"{len(array)} bytes", column=name))
        elif array.dtype.kind not in "biufU":
            faults.append(Fault(file, "numbers or texts", str(array.dtype), column=name))
        elif array.ndim not in (1, 2):
            expected = "an array (rows,) or (rows, n)"
            faults.append(Fault(file, expected, f"shape {array.shape}", column=name))
        else:
            arrays[name] = array
    return arrays, faults


def _columns(
    name: str, array: npt.NDArray[Any], names: npt.NDArray[Any] | None
) -> list[tuple[str, npt.NDArray[Any]]]:
    if array.ndim == 1:
        return [(name, array)]
    named = names is not None and names.shape == array.shape[1:]
    return [
        (str(names[n]) if named and names is not None else f"{name}_{n}", array[:, n])
        for n in range(array.shape[1])
    ]
