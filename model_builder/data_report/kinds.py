"""Tells a log of interactions from a table."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from model_builder.recsys.columns import BARE, find_columns, is_bare


def is_log(path: Path) -> bool:
    """Whether ``path`` has the columns of a log; a file of one user a line does not say so."""
    if path.is_dir():
        return any((path / name).is_file() for name in ("ratings.csv", "ratings.dat"))
    _, faults = find_columns(path.name, _header(path), strict=True)
    return not faults


def _header(path: Path) -> Sequence[str]:
    suffix = path.suffix.lower()
    try:
        if suffix in (".parquet", ".pq"):
            return list(pl.read_parquet_schema(path))
        if suffix == ".npz":
            with np.load(path, allow_pickle=False) as archive:
                return list(archive.files)
        with path.open(encoding="utf-8-sig", newline="") as file:
            line = file.readline()
    except (OSError, ValueError, pl.exceptions.PolarsError):
        return []  # whoever reads it says what is wrong with it
    separator = max((",", ";", "\t"), key=line.count)
    if "::" in line:
        cells = line.strip().split("::")
    else:
        cells = next(csv.reader([line], delimiter=separator), [])
    return BARE if is_bare(cells) else cells
