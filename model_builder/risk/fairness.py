"""How each group of a protected attribute fares at the cut-off."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise
from math import hypot
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest

from model_builder.tabular.table import Table
from triton_models.release import GroupFairness, Metric

Floats = npt.NDArray[np.floating[Any]]

_MOST_GROUPS = 6
"""A number with more values is parted into quarters."""
_LEAST_ROWS = 10
"""Groups of fewer rows say nothing; they are left out."""
_LEAST_PAID = 30
"""Of fewer who paid back, one row moves the rate by more than 0.03: no gate should hang on it."""

EQUAL_OPPORTUNITY = "equal_opportunity_difference"
"""The metric that a rule of the gate bounds."""


def fairness(
    table: Table,
    rows: npt.NDArray[np.int64],
    probabilities: Floats,
    scores: Floats,
    cutoff: float,
) -> tuple[GroupFairness, ...]:
    """Return every group of every protected attribute.

    Args:
        table: Has the attributes.
        rows: Places of the rows that nothing has learnt from.
        probabilities: ``(len(rows),)`` of default.
        scores: ``(len(rows),)``.
        cutoff: The score from which a credit is approved.
    """
    target = table.target[rows]
    found: list[GroupFairness] = []
    for column in table.columns:
        if not column.protected:
            continue
        groups = [
            _group(column.name, name, members, target, probabilities, scores >= cutoff)
            for name, members in _groups(column.kind, table.values[column.name][rows])
            if members.sum() >= _LEAST_ROWS
        ]
        best = max((group.approval_rate.value for group in groups), default=0.0)
        found += [
            group.model_copy(
                update={"approval_ratio": group.approval_rate.value / best if best else None}
            )
            for group in groups
        ]
    return tuple(found)


def equal_opportunity_difference(groups: Sequence[GroupFairness]) -> Metric | None:
    """Return how far the groups of an attribute are apart that are furthest apart.

    That is the largest approval rate of those who paid back less the smallest, of the attribute
    where this is most. Groups with fewer than 30 who paid back are left out, and so are
    attributes with fewer than two such groups; ``None`` if no attribute is left.

    Returns:
        With the 95 % interval of the difference of these two groups (Newcombe 1998, method 10).
        It takes no account of that they were chosen as the furthest apart.
    """
    found: list[Metric] = []
    for _, of_attribute in groupby(groups, key=lambda group: group.attribute):
        rates = [
            group.paid_approval_rate
            for group in of_attribute
            if group.paid_approval_rate is not None and _paid(group) >= _LEAST_PAID
        ]
        if len(rates) >= 2:
            rates.sort(key=lambda rate: rate.value)
            found.append(_difference(rates[-1], rates[0]))
    return max(found, key=lambda metric: metric.value, default=None)


def _paid(group: GroupFairness) -> int:
    return round(group.rows * (1 - group.happened.value))


def _difference(more: Metric, less: Metric) -> Metric:
    value = more.value - less.value
    below = hypot(more.value - more.low, less.high - less.value)
    above = hypot(more.high - more.value, less.value - less.low)
    return Metric(value=value, low=max(0.0, value - below), high=min(1.0, value + above))


def _group(
    attribute: str,
    name: str,
    members: npt.NDArray[np.bool_],
    target: npt.NDArray[np.int64],
    probabilities: Floats,
    approved: npt.NDArray[np.bool_],
) -> GroupFairness:
    paid = members & (target == 0)
    return GroupFairness(
        attribute=attribute,
        group=name,
        rows=int(members.sum()),
        approval_rate=share(approved[members]),
        approval_ratio=None,
        paid_approval_rate=share(approved[paid]) if paid.any() else None,
        promised=float(probabilities[members].mean()),
        happened=share(target[members] == 1),
    )


def share(hits: npt.NDArray[np.bool_]) -> Metric:
    """Return a share of at least one row with its 95 % interval (Wilson 1927)."""
    found = binomtest(int(hits.sum()), len(hits)).proportion_ci(0.95, method="wilson")
    value = float(hits.mean())
    return Metric(value=value, low=min(float(found.low), value), high=max(float(found.high), value))


def _groups(
    kind: str, values: npt.NDArray[np.generic]
) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
    """Give the name and the rows of each group; missing ones are a group of their own."""
    missing = values == "" if kind == "category" else np.isnan(values)
    known = np.unique(values[~missing])
    if kind == "category" or len(known) <= _MOST_GROUPS:
        for value in known:
            yield (str(value) if kind == "category" else f"{value:g}"), values == value
    else:
        ends = np.unique(np.quantile(values[~missing], [0, 0.25, 0.5, 0.75, 1], method="nearest"))
        for place, (low, high) in enumerate(pairwise(ends)):
            last = place == len(ends) - 2
            inside = (values >= low) & ((values <= high) if last else (values < high))
            yield f"{low:g} to {'' if last else 'below '}{high:g}", inside
    if missing.any():
        yield "not known", missing
