"""Rows of a table that are alike."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from model_builder.diagnosis.duplicates import keys_of, leaks
from model_builder.tabular.splits import Splits
from model_builder.tabular.table import Table


def without_duplicates(table: Table) -> Table:
    """Keep the first of the rows that have the same value in every column."""
    _, first = np.unique(_keys(table), return_index=True)
    rows = np.sort(first)
    if not (left_out := len(table) - len(rows)):
        return table
    return replace(
        table,
        values={name: values[rows] for name, values in table.values.items()},
        target=table.target[rows],
        split_keys=None if table.split_keys is None else table.split_keys[rows],
        findings=(*table.findings, f"{left_out} rows are alike another and were left out"),
    )


def leak_findings(table: Table, splits: Splits) -> tuple[str, ...]:
    """Say which rows stand in two splits, the development rows as one where they all judge."""
    keys = _keys(table)
    development = splits.development
    judging = splits.judging & splits.held_out.all(axis=1)
    found = leaks(
        {
            "train": [keys[row] for row in development[~judging]],
            "validation": [keys[row] for row in development[judging]],
            "test": [keys[row] for row in splits.test],
        }
    )
    return tuple(f"{leak}; --set drop_duplicates=true leaves them out" for leak in found)


def _keys(table: Table) -> list[bytes]:
    """Return a name for each row: the same for those with the same values."""
    columns = [table.values[column.name] for column in table.columns]
    return keys_of(
        repr(row).encode() for row in zip(*(one.tolist() for one in columns), strict=True)
    )
