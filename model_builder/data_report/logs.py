"""Looks at a log of interactions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl

from model_builder.data_report.drift import compare_columns
from model_builder.data_report.report import ColumnProfile, DataReport, Drift, Finding
from model_builder.errors import DataFault
from model_builder.recsys.data import (
    LEAST_INTERACTIONS,
    Interactions,
    Splits,
    leave_one_out,
    load_interactions,
)
from model_builder.recsys.evaluation import item_counts
from model_builder.recsys.reading import read_log
from model_builder.task import ResolvedData

_SHARE_OF_COLD = 0.05
_SHARE_OF_REPEATS = 0.05


def check(data: ResolvedData) -> DataReport:
    """Look at a log as ``build recsys`` would read and split it."""
    report = DataReport(name=data.name, kind="log", sha256=data.sha256, rows=0)
    try:
        log = read_log(data.path)
        interactions = load_interactions(data.path)
        report = replace(report, rows=log.height, columns=_profiles(log))
        splits = leave_one_out(interactions.sequences, data.path.name)
    except DataFault as error:
        faults = (Finding("error", "fault", str(fault), fault.column) for fault in error.faults)
        return replace(report, findings=tuple(faults))
    facts = _facts(interactions, splits)
    drift = (_popularity_drift(interactions, splits),)
    return replace(
        report,
        facts=facts,
        split=splits.counts,
        split_sha256=splits.sha256,
        drift=drift,
        findings=_findings(facts, drift, len(splits.test)),
    )


def _profiles(log: pl.DataFrame) -> tuple[ColumnProfile, ...]:
    profiles = []
    for name in log.columns:
        cells = log[name]
        if cells.dtype.is_numeric():
            values = f"{cells.min():.10g} to {cells.max():.10g}, median {cells.median():.10g}"
        else:
            often = cells.value_counts(sort=True, name="count").head(3)
            values = ", ".join(f"{text[:30]} ({count})" for text, count in often.rows())
        profiles.append(ColumnProfile(name, "", cells.null_count(), cells.n_unique(), values))
    return tuple(profiles)


def _facts(interactions: Interactions, splits: Splits) -> dict[str, float]:
    lengths = np.array([len(items) for items in interactions.sequences])
    counts = item_counts(splits, len(interactions.item_ids))
    items = len(interactions.item_ids)
    repeats = sum(len(each) - len(np.unique(each)) for each in interactions.sequences)
    return {
        "users": len(lengths),
        "items": items,
        "density": len(interactions) / (len(lengths) * items),
        "median_items_of_a_user": float(np.median(lengths)),
        "most_items_of_a_user": float(lengths.max()),
        "users_too_short_to_be_asked": splits.unevaluated,
        "exact_duplicates": interactions.duplicates,
        "repeated_items": repeats,
        "items_never_learnt_from": int((counts[1:] == 0).sum()),
        "test_targets_never_learnt_from": int((counts[splits.test.targets] == 0).sum()),
        "test_targets_in_the_history": sum(
            int(target) in set(history.tolist())
            for history, target in zip(splits.test.histories, splits.test.targets, strict=True)
        ),
        "share_of_the_ten_most_popular": float(np.sort(counts)[-10:].sum() / counts.sum()),
    }


def _popularity_drift(interactions: Interactions, splits: Splits) -> Drift:
    """Compare how popular the items are that are learnt from and that are asked for."""
    counts = item_counts(splits, len(interactions.item_ids)).astype(np.float64)
    learnt = counts[np.concatenate(splits.training)]
    return compare_columns(
        "item popularity", "train and test", learnt, counts[splits.test.targets], numbers=True,
        columns=1,
    )  # fmt: skip


def _findings(facts: dict[str, float], drift: tuple[Drift, ...], asked: int) -> tuple[Finding, ...]:
    findings = []
    if facts["exact_duplicates"]:
        text = f"{facts['exact_duplicates']:.0f} rows repeat another one exactly and are dropped"
        findings.append(Finding("warning", "duplicates", text))
    cold = facts["test_targets_never_learnt_from"]
    if cold > _SHARE_OF_COLD * asked:
        text = f"{cold:.0f} of {asked} test targets are items that nobody had before"
        findings.append(Finding("warning", "cold items", text))
    again = facts["test_targets_in_the_history"]
    if again > _SHARE_OF_REPEATS * asked:
        text = f"{again:.0f} of {asked} test targets are items that the user had before: all missed"
        findings.append(Finding("warning", "repeats", text))
    if facts["users_too_short_to_be_asked"] > facts["users"] / 2:
        text = (
            f"most users have fewer than {LEAST_INTERACTIONS} interactions and are never asked for"
        )
        findings.append(Finding("warning", "short histories", text))
    findings += [
        Finding("warning", "drift", f"{each.between} differ: PSI {each.psi:.2f}", each.column)
        for each in drift
        if each.drifted
    ]
    return tuple(findings)
