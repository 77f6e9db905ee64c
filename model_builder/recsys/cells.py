"""What the cells of a log must be, and how a time is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import polars as pl

MAX_ID_LENGTH = 256
"""The API takes no longer ID, so a longer one could never be asked for."""

Rule = tuple[str, str, pl.Series]
"""Role, what was expected, and ``(rows,)`` bool: where it is not so."""


@dataclass(frozen=True)
class Clock:
    """Reads the times of one log."""

    read: Callable[[pl.Series], tuple[pl.Series, pl.Series]]
    """Gives numbers, null where there is none, and ``(rows,)`` bool: where there is no time."""
    expected: str
    unit_s: float | None
    """How many seconds the unit has; ``None`` if only the numbers can tell."""


_FORMATS = ("%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f%z", "%Y-%m-%dT%H:%M", "%Y-%m-%d")
_UNITS_S = ((1e17, 1e-9), (1e14, 1e-6), (1e11, 1e-3))
"""From which size on a time counts nano-, micro- or milliseconds: 1e11 s lie in the year 5138."""


def id_rules(role: str, cells: pl.Series) -> Iterator[Rule]:
    """Yield where IDs are none that a request could carry."""
    yield role, "an ID", cells.is_null() | (cells == "").fill_null(True)
    # Bytes are counted at once, characters one by one: so only where there are many bytes.
    if (cells.str.len_bytes() > MAX_ID_LENGTH).any():
        expected = f"an ID of at most {MAX_ID_LENGTH} characters"
        yield role, expected, (cells.str.len_chars() > MAX_ID_LENGTH).fill_null(False)
    yield role, "an ID without NUL", cells.str.contains("\0", literal=True).fill_null(False)


def read_ratings(cells: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Return the ratings, null where there is none; and where there is a text that is no number."""
    if cells.dtype.is_numeric():
        return cells.cast(pl.Float32), cells.is_null() & False
    given = cells.is_not_null() & (cells != "")
    ratings = cells.cast(pl.Float32, strict=False)
    return ratings, given & ratings.is_null()


def clock_for(cells: pl.Series) -> Clock:
    """Return what reads these times, by the first that is there."""
    if cells.dtype.is_temporal():
        return Clock(_moments, "a time", 1e-6)
    first = cells.drop_nulls().head(1)
    if first.dtype == pl.String and _numbers(first)[1].any() and not _iso(first)[1].any():
        return Clock(_iso, "an ISO 8601 time", 1e-6)
    return Clock(_numbers, "a finite number", None)


def _moments(cells: pl.Series) -> tuple[pl.Series, pl.Series]:
    return cells.dt.timestamp("us"), cells.is_null()


def _numbers(cells: pl.Series) -> tuple[pl.Series, pl.Series]:
    whole = cells.cast(pl.Int64, strict=False) if not cells.dtype.is_float() else None
    if whole is not None and whole.null_count() == cells.null_count():
        return whole, whole.is_null()
    times = cells.cast(pl.Float64, strict=False)
    bad = times.is_null() | ~times.is_finite().fill_null(False)
    if whole is not None and whole.null_count() == int(bad.sum()):
        return whole, bad
    return times, bad


def _iso(cells: pl.Series) -> tuple[pl.Series, pl.Series]:
    texts = cells.str.replace(" ", "T", literal=True).str.replace(r"( ?UTC|[zZ])$", "+00:00")
    times = pl.Series(cells.name, [None], pl.Int64).new_from_index(0, len(cells))
    for layout in _FORMATS:
        left = times.is_null() & cells.is_not_null()
        if not left.any():
            break
        if layout == "%Y-%m-%d":
            parsed = texts.str.to_date(layout, strict=False).cast(pl.Datetime("us"))
        else:
            parsed = texts.str.to_datetime(layout, time_unit="us", strict=False)
        times = times.zip_with(~left, parsed.dt.timestamp("us"))
    return times, times.is_null()


def seconds_in_a_unit(times: pl.Series) -> tuple[float, int]:
    """Return how long a time's unit is, and how many times seem to count another unit.

    All times of a log are taken to count the same unit, that of the median: so their order is
    that of the file, whatever they are.

    Args:
        times: ``(n,)`` numbers.
    """
    sizes = times.abs()
    unit = _unit(float(sizes.median() or 0))
    low = max((size for size, seconds in _UNITS_S if seconds == unit), default=0.0)
    high = min((size for size, _ in _UNITS_S if size > low), default=float("inf"))
    other = (sizes >= high) | ((sizes < low) & (sizes > 0))
    return unit, int(other.sum())


def _unit(size: float) -> float:
    return next((seconds for least, seconds in _UNITS_S if size >= least), 1.0)


def shown(text: object) -> str:
    """Return how a cell is named in a fault."""
    if text is None or text == "":
        return "nothing"
    text = str(text)
    return f"'{text}'" if len(text) <= 40 else f"'{text[:40]}…'"
