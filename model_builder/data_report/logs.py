"""Looks at a log of interactions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl

from model_builder.data_report.drift import compare_columns
from model_builder.data_report.report import ColumnProfile, DataReport, Drift, Finding
from model_builder.errors import DataFault
from model_builder.recsys.data import split_interactions
from model_builder.recsys.evaluation import item_counts
from model_builder.recsys.log_config import LogConfig
from model_builder.recsys.ordering import Interactions, order_log
from model_builder.recsys.reading import read_log
from model_builder.recsys.splits import LEAST_INTERACTIONS, Splits
from model_builder.task import ResolvedData

_WARNED = {
    "faulty": "fault",
    "ratings_negative": "ratings",
    "ratings_not_finite": "ratings",
    "duplicates": "duplicates",
    "times_in_another_unit": "times",
    "below_core": "core",
}
"""What is counted and warned of, and what the warning is about."""
_SHARE_OF_COLD = 0.05
_SHARE_OF_REPEATS = 0.05


def check(data: ResolvedData, config: LogConfig | None = None) -> DataReport:
    """Look at a log as ``build recsys`` would read and split it with this config."""
    config = config or LogConfig()
    report = DataReport(name=data.name, kind="log", sha256=data.sha256, rows=0)
    try:
        log = read_log(data.path, max_faulty_share=config.max_faulty_share)
        report = replace(report, rows=log.counts.rows, columns=_profiles(log.frame))
        interactions = order_log(log, config, data.path.name)
        splits = split_interactions(interactions, config, data.path.name)
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
        findings=(
            *_odd_rows(interactions),
            *_findings(facts, drift, len(splits.test)),
        ),
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
    lengths = interactions.sequences.lengths
    counts = item_counts(splits, len(interactions.item_ids))
    items = len(interactions.item_ids)
    happened = interactions.counts
    return {
        "users": len(lengths),
        "items": items,
        "density": len(interactions) / (len(lengths) * items),
        "median_items_of_a_user": float(np.median(lengths)),
        "most_items_of_a_user": float(lengths.max()),
        "users_too_short_to_be_asked": splits.unevaluated,
        "users_with_a_single_interaction": happened.single_item_users,
        "exact_duplicates": happened.duplicates,
        "repeated_items": happened.repeats,
        "rows_out_of_order": happened.out_of_order,
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
    learnt = counts[splits.training.joined()]
    return compare_columns(
        "item popularity", "train and test", learnt, counts[splits.test.targets], numbers=True,
        columns=1,
    )  # fmt: skip


def _odd_rows(interactions: Interactions) -> tuple[Finding, ...]:
    """Say what is lost or may be read wrongly; what is put in order is only a fact."""
    said = interactions.counts.said()
    return tuple(Finding("warning", _WARNED[name], said[name]) for name in said if name in _WARNED)


def _findings(facts: dict[str, float], drift: tuple[Drift, ...], asked: int) -> tuple[Finding, ...]:
    findings = []
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
