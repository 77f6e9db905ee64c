"""Which kind of evidence a data set holds."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Literal, get_args

import polars as pl

from model_builder import npz
from model_builder.tabular.loading import read_raw
from model_builder.task import ResolvedData

Evidence = Literal["image", "note", "measurements"]
KINDS: tuple[Evidence, ...] = get_args(Evidence)

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".dcm")
_LEAST_WORDS = 3
"""Mean words of a column that is a note; categories mostly have one or two."""
_LEAST_DISTINCT = 0.5
"""Share of a note's values that differ."""


def evidence_of(data: ResolvedData) -> Evidence:
    """Return what a data set holds: images, notes, or measurements as any other table.

    Raises:
        DataFault: If it is a table that cannot be read.
    """
    if holds_images(data.path):
        return "image"
    raw, _ = read_raw(data)
    return "note" if note_columns(raw.frame, data.label) else "measurements"


def holds_images(path: Path) -> bool:
    """Say whether a folder holds images, or an archive has arrays of them."""
    if path.is_dir():
        return any(file.suffix.lower() in IMAGE_SUFFIXES for file in path.rglob("*"))
    if path.suffix.lower() != npz.SUFFIX or not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("_images.npy") for name in archive.namelist())


def note_columns(frame: pl.DataFrame, label: str | None) -> list[str]:
    """Return the columns that hold free text, most words first.

    Args:
        frame: A table whose cells are texts.
        label: The column to predict; by default the last.
    """
    label = label or frame.columns[-1]
    words = {name: _words(frame[name].drop_nulls()) for name in frame.columns if name != label}
    notes = [name for name, count in words.items() if count >= _LEAST_WORDS]
    return sorted(notes, key=lambda name: -words[name])


def _words(column: pl.Series) -> float:
    """Return the mean number of words of a column; 0 if its values repeat."""
    if not len(column) or column.n_unique() < _LEAST_DISTINCT * len(column):
        return 0.0
    spaces = column.cast(pl.String).str.strip_chars().str.count_matches(r"\s+")
    return float(spaces.mean() or 0) + 1
