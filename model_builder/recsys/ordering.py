"""From rows in any order to each user's items in order of time, by their numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import polars as pl

from model_builder.errors import DataFault, Fault
from model_builder.recsys.core import k_core
from model_builder.recsys.counts import LogCounts
from model_builder.recsys.log_config import LogConfig
from model_builder.recsys.reading import Log
from model_builder.recsys.sequences import Items, Places, Sequences


@dataclass(frozen=True)
class Interactions:
    """A log, checked and in order."""

    item_ids: tuple[str, ...]
    """The catalogue, sorted. Item number ``i`` is ``item_ids[i - 1]``; 0 is padding."""
    sequences: Sequences
    """Of each user; users in the order of their IDs."""
    counts: LogCounts = field(default_factory=LogCounts)
    times: npt.NDArray[np.float64] | None = None
    """``(n,)`` seconds, of each of ``sequences.items``; ``None`` if the log has no times."""
    columns: dict[str, pl.Series] = field(default_factory=dict)
    """Extra columns by name, ``(n,)`` each, beside ``sequences.items``: Float64, or texts as
    categories; null where there is nothing."""

    @property
    def duplicates(self) -> int:
        """Rows that repeated another one exactly, and were left out."""
        return self.counts.duplicates

    def __len__(self) -> int:
        """Return how many interactions there are."""
        return self.sequences.total

    def ids(self, items: Items) -> list[str]:
        """Return the IDs of ``items``."""
        return [self.item_ids[item - 1] for item in items]


def order_log(log: Log, config: LogConfig, file: str, extra: Sequence[str] = ()) -> Interactions:
    """Drop duplicates and what is below the core, number the items, sort.

    Raises:
        DataFault: If nothing is left.
    """
    _, users = _numbered(log.frame["user"])
    item_ids, items = _numbered(log.frame["item"])
    times = log.frame["timestamp"].to_numpy()
    order, out_of_order = _by_user_and_time(users, times)
    users, items, times = users[order], items[order], times[order]
    again = _repeated(users, times, items, len(item_ids))
    keep = ~again
    kept_users, kept_items = k_core(
        users[keep], items[keep], config.min_user_items, config.min_item_users
    )
    keep &= kept_users[users] & kept_items[items]
    below = len(users) - int(again.sum()) - int(keep.sum())
    if not keep.any():
        expected = (
            f"users with {config.min_user_items} items of {config.min_item_users} users each "
            "(min_user_items, min_item_users)"
        )
        raise DataFault([Fault(file, expected, "none")])
    users, items, times, order = users[keep], items[keep], times[keep], order[keep]
    numbers = np.cumsum(kept_items, dtype=np.int32)  # of the items that stay, from 1
    sequences = _runs(users, numbers[items])
    columns, not_finite = {}, 0
    for name in extra:
        columns[name], odd = _finite(_typed(log.frame[name])[order])
        not_finite += odd
    counts = replace(
        log.counts,
        context_not_finite=not_finite,
        duplicates=int(again.sum()),
        out_of_order=out_of_order,
        below_core=below,
        below_core_users=int((~kept_users).sum()),
        below_core_items=int((~kept_items).sum()),
        repeats=len(users) - _different(users, items, len(item_ids)),
        single_item_users=int((sequences.lengths == 1).sum()),
    )
    return Interactions(
        item_ids=tuple(item_ids.filter(kept_items)),
        sequences=sequences,
        counts=counts,
        times=None if log.unit_s is None else times * log.unit_s,
        columns=columns,
    )


def _numbered(ids: pl.Series) -> tuple[pl.Series, npt.NDArray[np.int32]]:
    """Return the different IDs, sorted as texts, and ``(n,)`` int32: which each row has."""
    known = ids.unique()
    codes = known.to_physical().to_numpy()
    texts = known.cast(pl.String)
    order = texts.arg_sort().to_numpy()
    numbers = np.zeros(int(codes.max()) + 1, np.int32)
    numbers[codes[order]] = np.arange(len(order), dtype=np.int32)
    return texts[order], numbers[ids.to_physical().to_numpy()]


def _by_user_and_time(
    users: npt.NDArray[np.int32], times: npt.NDArray[np.number]
) -> tuple[Places, int]:
    """Return ``(n,)`` int64, the order, and how many rows stood after a later one of their user."""
    order = np.argsort(users, kind="stable")
    who, when = users[order], times[order]
    newest_first = (who[1:] == who[:-1]) & (when[1:] < when[:-1])
    out_of_order = int(newest_first.sum())
    if out_of_order:
        order = order[np.lexsort((when, who))]
    return order, out_of_order


def _repeated(
    users: npt.NDArray[np.int32],
    times: npt.NDArray[np.number],
    items: npt.NDArray[np.int32],
    item_count: int,
) -> npt.NDArray[np.bool_]:
    """Return ``(n,)`` bool: where the user had the item at that time already; rows are sorted."""
    again = np.zeros(len(users), np.bool_)
    same = (users[1:] == users[:-1]) & (times[1:] == times[:-1])
    if same.any():
        moment = np.concatenate([[0], np.cumsum(~same)])
        several = np.append(same, False) | np.append(False, same)
        keys = pl.Series(moment[several] * item_count + items[several])
        again[several] = ~keys.is_first_distinct().to_numpy()
    return again


def _different(users: npt.NDArray[np.int32], items: npt.NDArray[np.int32], item_count: int) -> int:
    """Return how many different pairs there are."""
    pairs = users.astype(np.int64) * item_count + items
    pairs.sort()
    return 1 + int((pairs[1:] != pairs[:-1]).sum())


def _runs(users: npt.NDArray[np.int32], items: npt.NDArray[np.int32]) -> Sequences:
    """Return each user's run; users that have nothing left have none."""
    begins = np.flatnonzero(np.append(True, users[1:] != users[:-1]))
    return Sequences(items, begins, np.append(begins[1:], len(users)))


def _typed(cells: pl.Series) -> pl.Series:
    """Return numbers if all of a column's texts are numbers."""
    if cells.dtype.is_numeric():
        return cells.cast(pl.Float64)
    known = cells.unique().drop_nulls()
    if known.cast(pl.String).cast(pl.Float64, strict=False).null_count():
        return cells
    return cells.cast(pl.String).cast(pl.Float64)


def _finite(cells: pl.Series) -> tuple[pl.Series, int]:
    """Return the cells, null where a number is not finite as float32, and how many are not.

    One infinite number would be the column's range, by which all others are scaled.
    """
    if not cells.dtype.is_numeric():
        return cells, 0
    known = (cells.abs() <= np.finfo(np.float32).max).fill_null(False)
    found = pl.select(pl.when(known).then(cells).alias(cells.name)).to_series()
    return found, found.null_count() - cells.null_count()


def with_items(interactions: Interactions, item_ids: Sequence[str]) -> Interactions:
    """Return the same interactions numbered in a catalogue that has these items too."""
    whole = sorted({*interactions.item_ids, *item_ids})
    numbers = {item: number for number, item in enumerate(whole, 1)}
    of = np.array([0, *(numbers[item] for item in interactions.item_ids)], np.int32)
    runs = interactions.sequences
    sequences = Sequences(of[runs.items], runs.begins, runs.ends, runs.gaps)
    return replace(interactions, item_ids=tuple(whole), sequences=sequences)
