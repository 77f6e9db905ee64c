"""Rows of a table that are alike."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from model_builder.diagnosis.duplicates import keys_of, leaks
from model_builder.tabular.splits import Splits
from model_builder.tabular.table import Table


def without_duplicates(table: Table) -> Table:
    """Keep the first of the rows that have the same value in every column, and the same label.

    Rows that are alike and have another label stay: that the same values can mean either is what
    a network has to learn, and what a test has to measure.
    """
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
    contradictions = _contradictions(table)
    development = splits.development
    judging = splits.judging & splits.held_out.all(axis=1)
    found = leaks(
        {
            "train": [keys[row] for row in development[~judging]],
            "validation": [keys[row] for row in development[judging]],
            "test": [keys[row] for row in splits.test],
        }
    )
    said = [f"{leak}; --set drop_duplicates=true leaves them out" for leak in found]
    if contradictions:
        said.append(f"{contradictions} rows are alike another one with another label")
    return tuple(said)


def _contradictions(table: Table) -> int:
    """Return how many rows have the same values as one with another label."""
    labels: dict[bytes, set[int]] = {}
    keys = _keys(table, with_label=False)
    for key, label in zip(keys, table.target.tolist(), strict=True):
        labels.setdefault(key, set()).add(label)
    return sum(len(labels[key]) > 1 for key in keys)


def _keys(table: Table, *, with_label: bool = True) -> list[bytes]:
    """Return a name for each row: the same for those with the same values, and label."""
    columns = [table.values[column.name] for column in table.columns]
    if with_label:
        columns.append(table.target)
    return keys_of(
        repr(row).encode() for row in zip(*(one.tolist() for one in columns), strict=True)
    )
