"""From a data set on this machine to a checked table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from model_builder import npz
from model_builder.errors import DataFault, Fault
from model_builder.tabular.checking import check_table
from model_builder.tabular.columns import Column, Layout, Target
from model_builder.tabular.kinds import Says, guess_columns
from model_builder.tabular.layouts.known import known_layout
from model_builder.tabular.leaks import leaking_columns
from model_builder.tabular.reading import RawTable, read_frame, read_parquet, read_text
from model_builder.tabular.schema_file import applied, find_schema, outcomes_target
from model_builder.tabular.split_keys import SplitBy
from model_builder.tabular.table import Table
from model_builder.tabular.targets import target_name
from model_builder.task import ResolvedData

_TEXT_SUFFIXES = (".csv", ".tsv", ".txt", ".data")

_BY_CLASS = SplitBy()

TargetRule = Callable[[RawTable, str], Target]
"""What the values of a column to predict mean, for a table that is not known."""


class _Heard:
    """Passes on what is said to people, and keeps it."""

    def __init__(self, progress: Says) -> None:
        self._progress = progress
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)
        self._progress.say(text)


def load_table(
    data: ResolvedData,
    unknown_target: TargetRule,
    progress: Says,
    split_by: SplitBy = _BY_CLASS,
    schema_file: str | None = None,
) -> Table:
    """Read and check ``data``.

    Args:
        data: A known data set, by its name or by its file's, or any table.
        unknown_target: Makes the target of a table that is not known.
        progress: Is told which columns are left out, and what else a person should know.
        split_by: Whether it is split by a column, which then is no feature.
        schema_file: Says what the columns hold; by default the one beside the data, if any.

    Raises:
        DataFault: If anything in it cannot be used.
    """
    heard = _Heard(progress)
    raw, columns, target = read_table(data, unknown_target, heard, split_by, schema_file)
    table = check_table(raw, columns, target, split_by)
    if len(table.labels) == 2:
        for name, found, what in leaking_columns(table):
            tells = "" if what == "value" else "whether there is a value in "
            heard.say(
                f"{raw.file}: {tells}column '{name}' alone tells the outcome (AUC {found:.3f}): "
                "was it written down after it? If so, leave it out (type: left out in the schema)."
            )
    return replace(table, findings=tuple(heard.lines))


def read_table(
    data: ResolvedData,
    unknown_target: TargetRule,
    progress: Says,
    split_by: SplitBy = _BY_CLASS,
    schema_file: str | None = None,
) -> tuple[RawTable, tuple[Column, ...], Target]:
    """Return the cells of ``data``, its feature columns and its target; none is checked yet.

    Raises:
        DataFault: If the file or its schema cannot be read, or the column to predict cannot be
            one.
    """
    path = _file(data.path)
    schema, schema_name = find_schema(data.path, schema_file)
    layout = _layout(data, path)
    if layout is not None:
        raw = _read_known(path, layout, data.label)
        columns, target = layout.columns, layout.target
    else:
        raw = _read(path, split_by.column)
        name = target_name(raw, data.label or (schema.label if schema else None))
        stated = outcomes_target(schema, name) if schema else None
        target = stated or unknown_target(raw, name)
        columns = guess_columns(raw, name, progress)
    if schema is not None:
        known = {target.name, *(column.file_name for column in columns)}
        others = [name for name in raw.frame.columns if name not in known]
        columns = applied(schema, schema_name, columns, others)
        progress.say(f"{raw.file}: read with the schema {schema_name}.")
    if split_by.column == target.name:
        expected = "a column to split by that is not the one to predict"
        raise DataFault([Fault(raw.file, expected, f"'{target.name}'")])
    return raw, tuple(c for c in columns if c.file_name != split_by.column), target


def read_raw(data: ResolvedData) -> tuple[RawTable, Layout | None]:
    """Return the cells of ``data`` alone, and its layout if it is known; nothing is looked at.

    Raises:
        DataFault: If the file cannot be read.
    """
    path = _file(data.path)
    layout = _layout(data, path)
    return (_read(path, None) if layout is None else _read_known(path, layout, None)), layout


def _layout(data: ResolvedData, path: Path) -> Layout | None:
    # A generated stand-in has the columns of a table, not the layout that it stands in for.
    return None if data.generated else known_layout(data.name, path.name)


def _read_known(path: Path, layout: Layout, label: str | None) -> RawTable:
    if label not in (None, layout.target.name):
        expected = f"label '{layout.target.name}' for data set '{layout.names[0]}'"
        raise DataFault([Fault(path.name, expected, f"'{label}'")])
    return read_text(
        path,
        separator=layout.separator,
        names=layout.file_columns,
        skipped_lines=layout.skipped_lines,
    )


def _read(path: Path, dated: str | None) -> RawTable:
    suffix = path.suffix.lower()
    if suffix in (".parquet", ".pq"):
        return read_parquet(path, dated)
    if suffix == npz.SUFFIX:
        return read_frame(path.name, npz.read_npz(path))
    if suffix in _TEXT_SUFFIXES:
        return read_text(path)
    raise DataFault([Fault(path.name, "a .csv, .parquet or .npz file", f"'{path.suffix}'")])


def _file(path: Path) -> Path:
    """Return the one file of a folder, or the file itself."""
    if not path.is_dir():
        return path
    files = sorted(f for f in path.iterdir() if f.is_file() and not f.name.startswith("."))
    if len(files) != 1:
        raise DataFault([Fault(path.name, "a folder with one file", f"{len(files)} files")])
    return files[0]
