"""Looks at a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import polars as pl

from model_builder.data_report.drift import compare_columns
from model_builder.data_report.report import (
    ColumnProfile,
    DataReport,
    Drift,
    Duplicates,
    Finding,
)
from model_builder.errors import ConfigInvalid, DataFault
from model_builder.progress import SilentProgress
from model_builder.tabular.checking import check_table
from model_builder.tabular.columns import Column, Target
from model_builder.tabular.fitting import split_table
from model_builder.tabular.loading import TargetRule, read_table
from model_builder.tabular.reading import RawTable
from model_builder.tabular.splits import Splits
from model_builder.tabular.table import Table
from model_builder.tabular.training import TabularConfig
from model_builder.task import ResolvedData

_MANY_MISSING = 0.5
_RARE_CLASS = 0.05
_SHOWN_TEXTS = 3


@dataclass(frozen=True)
class _Read:
    raw: RawTable
    columns: tuple[Column, ...]
    target: Target
    split_column: str | None


def check(data: ResolvedData, rule: TargetRule, config: TabularConfig) -> DataReport:
    """Look at a table as ``build`` would read and split it.

    Args:
        data: The file.
        rule: Makes the target of a table that is not known.
        config: Says how it is split.
    """
    report = DataReport(name=data.name, kind="table", sha256=data.sha256, rows=0)
    try:
        raw, columns, target = read_table(data, rule, SilentProgress(), config.split_by)
    except DataFault as error:
        return replace(report, findings=_faults(error))
    read = _Read(raw, columns, target, config.split_column)
    profiles = _profiles(read)
    report = replace(
        report, rows=raw.frame.height, columns=profiles, findings=_column_findings(read, profiles)
    )
    try:
        table = check_table(raw, columns, target, config.split_by)
        splits = split_table(table, config)
    except DataFault as error:
        return replace(report, findings=(*_faults(error), *report.findings))
    except ConfigInvalid as error:
        refused = tuple(Finding("error", "split", fault) for fault in error.faults)
        return replace(report, findings=(*refused, *report.findings))
    return _with_splits(report, read, table, splits)


def _with_splits(report: DataReport, read: _Read, table: Table, splits: Splits) -> DataReport:
    parts = {"train": splits.training, "test": splits.test}
    if not splits.cross_validated:
        parts["validation"] = splits.development[splits.judging]
    classes = {
        label: {name: int((table.target[rows] == k).sum()) for name, rows in parts.items()}
        for k, label in enumerate(table.labels)
    }
    duplicates = _duplicates(read, splits)
    drift = _drift(table, parts)
    return replace(
        report,
        split=splits.counts,
        split_sha256=splits.sha256,
        classes=classes,
        duplicates=duplicates,
        drift=drift,
        findings=(
            *report.findings,
            *_class_findings(classes, len(table)),
            *_duplicate_findings(duplicates),
            *_drift_findings(drift),
        ),
    )


def _faults(error: DataFault) -> tuple[Finding, ...]:
    return tuple(Finding("error", "fault", str(fault), fault.column) for fault in error.faults)


def _profiles(read: _Read) -> tuple[ColumnProfile, ...]:
    kinds = {column.file_name: str(column.kind) for column in read.columns}
    kinds[read.target.name] = "label"
    if read.split_column is not None:
        kinds[read.split_column] = "split"
    return tuple(
        _profile(read.raw.frame[name], kinds.get(name, "left out"))
        for name in read.raw.frame.columns
    )


def _profile(cells: pl.Series, kind: str) -> ColumnProfile:
    known = cells.drop_nulls()
    numbers = known.cast(pl.Float64, strict=False).drop_nulls()
    if kind == "quantity" and len(numbers):
        low, middle, high = (numbers.min(), numbers.median(), numbers.max())
        values = f"{low:.6g} to {high:.6g}, median {middle:.6g}"
    else:
        often = known.value_counts(sort=True, name="count").head(_SHOWN_TEXTS)
        values = ", ".join(
            f"{text[:30]} ({count / max(1, len(cells)):.0%})" for text, count in often.rows()
        )
    return ColumnProfile(cells.name, kind, cells.null_count(), known.n_unique(), values)


def _column_findings(read: _Read, profiles: Sequence[ColumnProfile]) -> tuple[Finding, ...]:
    findings = []
    rows = read.raw.frame.height
    for profile in profiles:
        share = profile.missing / rows
        if profile.kind == "label":
            continue
        if profile.different < 2:
            text = "holds no value" if not profile.different else "holds the same value throughout"
            findings.append(Finding("warning", "constant", text, profile.name))
        elif share > _MANY_MISSING:
            text = f"{share:.0%} of the cells hold no value"
            findings.append(Finding("warning", "missing", text, profile.name))
        elif profile.kind == "left out":
            text = "is left out"
            findings.append(Finding("warning", "schema", text, profile.name))
    return tuple(findings)


def _class_findings(classes: Mapping[str, Mapping[str, int]], rows: int) -> tuple[Finding, ...]:
    return tuple(
        Finding(
            "warning",
            "class balance",
            f"class '{label}' has {sum(counts.values())} of {rows} rows: accuracy says little",
        )
        for label, counts in classes.items()
        if sum(counts.values()) < _RARE_CLASS * rows
    )


def _duplicates(read: _Read, splits: Splits) -> Duplicates:
    features = [column.file_name for column in read.columns]
    place = pl.int_range(pl.len())
    frame = read.raw.frame.select(*features, read.target.name).with_row_index("#row")
    ways = frame.select(place.alias("row"), _number(features).alias("features"),
                        _number([*features, read.target.name]).alias("whole"))  # fmt: skip
    conflicting = ways.filter(pl.col("whole").n_unique().over("features") > 1).height
    numbers = ways["features"].to_numpy()
    across = int(np.isin(numbers[splits.test], numbers[splits.development]).sum())
    return Duplicates(ways.height - ways["whole"].n_unique(), conflicting, across)


def _number(columns: Sequence[str]) -> pl.Expr:
    """Number the different rows of some columns."""
    return pl.struct(columns).rank("dense")


def _duplicate_findings(found: Duplicates) -> tuple[Finding, ...]:
    texts = {
        "rows repeat an earlier one": found.rows,
        "rows have the features of another with another label": found.conflicting,
        "test rows have the features of a row that is learnt from: they test memory": (
            found.across_splits
        ),
    }
    return tuple(
        Finding("warning", "duplicates", f"{count} {text}")
        for text, count in texts.items()
        if count
    )


def _drift(table: Table, parts: Mapping[str, npt.NDArray[np.int64]]) -> tuple[Drift, ...]:
    others = [name for name in parts if name != "train"]
    comparisons = len(table.columns) * len(others)
    found = []
    for name in others:
        for column in table.columns:
            values = table.values[column.name]
            if column.kind == "code":  # compared whole, so a missing one needs a name
                values = np.where(np.isnan(values), "", values.astype(str))
            found.append(
                compare_columns(
                    column.name,
                    f"train and {name}",
                    values[parts["train"]],
                    values[parts[name]],
                    numbers=column.kind == "quantity",
                    columns=comparisons,
                )
            )
    return tuple(found)


def _drift_findings(drift: Sequence[Drift]) -> tuple[Finding, ...]:
    return tuple(
        Finding("warning", "drift", f"{each.between} differ: {_measured(each)}", each.column)
        for each in drift
        if each.drifted
    )


def _measured(drift: Drift) -> str:
    psi = f"PSI {drift.psi:.2f}"
    return psi if drift.ks is None else f"{psi}, KS {drift.ks:.2f}"
