"""Reads a log of interactions, a piece at a time: what stays in memory is numbers.

What a row must be is in :mod:`model_builder.recsys.cells`, the forms of a file in
:mod:`model_builder.recsys.sources`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from model_builder.errors import DataFault, Fault
from model_builder.recsys.cells import (
    Clock,
    Rule,
    clock_for,
    id_rules,
    read_ratings,
    seconds_in_a_unit,
    shown,
)
from model_builder.recsys.columns import ROW
from model_builder.recsys.counts import LogCounts
from model_builder.recsys.sources import Source, open_log

_NAMED_FAULTS = 1000
"""Of more, only the number is said."""


@dataclass(frozen=True)
class Log:
    """The interactions that can be used, in the order of the file."""

    frame: pl.DataFrame
    """``user`` and ``item``: categories. ``timestamp``: integers or floats. ``rating``: Float32,
    null where there is none, if the file has them. Extra columns: numbers, or categories."""
    counts: LogCounts
    unit_s: float | None
    """How many seconds a timestamp counts; ``None`` if it only says what came before what."""


def read_log(path: Path, extra: Sequence[str] = (), max_faulty_share: float = 0.0) -> Log:
    """Return the interactions.

    Args:
        path: The file, or a folder with it.
        extra: Other columns that are wanted, by name.
        max_faulty_share: Share of rows that may be left out for a cell that is missing or cannot
            be read; with more, the log is refused.

    Raises:
        DataFault: If the file is none of the known forms, or too many cells are not what they
            must be; names every fault (the first 1,000).
    """
    try:
        source = open_log(path, extra)
        reading = _Reading(source, extra)
        for piece in source.pieces():
            reading.take(piece)
    except UnicodeDecodeError as error:
        found = f"byte 0x{error.object[error.start]:02x}"
        raise DataFault([Fault(path.name, "text in UTF-8", found)]) from error
    except OSError as error:
        raise DataFault([Fault(path.name, "a readable file", error.strerror or "none")]) from error
    except pl.exceptions.PolarsError as error:
        found = str(error).splitlines()[0]
        raise DataFault([Fault(path.name, "a readable log", found)]) from error
    return reading.log(max_faulty_share)


@dataclass
class _Reading:
    """Checks pieces and keeps what can be used of them."""

    source: Source
    extra: Sequence[str]
    parts: list[pl.DataFrame] = field(default_factory=list)
    found: list[tuple[int, int, str, object, str]] = field(default_factory=list)
    """Row, place and name of the column, its cell, and what was expected."""
    rows: int = 0
    faulty: int = 0
    faults: int = 0
    negative: int = 0
    not_finite: int = 0
    no_rating: int = 0
    clock: Clock | None = None

    def __post_init__(self) -> None:
        # One numbering for all pieces, and none that another log in this process would share.
        names = ("user", "item", *self.extra)
        self._kinds = {name: pl.Categorical(pl.Categories.random()) for name in names}

    def take(self, piece: pl.DataFrame) -> None:
        self.rows += piece.height
        if self.clock is None and piece["timestamp"].null_count() < piece.height:
            self.clock = clock_for(piece["timestamp"])
        clock = self.clock or clock_for(piece["timestamp"])
        times, no_time = clock.read(piece["timestamp"])
        rules: list[Rule] = [
            *id_rules("user", piece["user"]),
            *id_rules("item", piece["item"]),
            ("timestamp", clock.expected, no_time),
        ]
        columns = [piece["user"], piece["item"], times.alias("timestamp")]
        if "rating" in piece.columns:
            ratings, no_number = read_ratings(piece["rating"])
            rules.append(("rating", "a number", no_number))
            columns.append(ratings.alias("rating"))
        usable = ~self._note(piece, rules)
        if "rating" in piece.columns:
            odd, negative = ~ratings.is_finite().fill_null(True), (ratings < 0).fill_null(False)
            self.not_finite += int((usable & odd).sum())
            self.negative += int((usable & negative & ~odd).sum())
            self.no_rating += int((usable & ratings.is_null()).sum())
            usable &= ~(odd | negative)
        columns += [piece[name] for name in self.extra]
        kept = pl.DataFrame(columns).filter(usable)
        texts = {n: kind for n, kind in self._kinds.items() if kept.schema[n] == pl.String}
        self.parts.append(kept.cast(texts))

    def _note(self, piece: pl.DataFrame, rules: list[Rule]) -> pl.Series:
        """Keep the faults for the message; return ``(rows,)`` bool, which rows have one."""
        faulty = pl.repeat(False, piece.height, eager=True)
        places = {role: place for place, role in enumerate(self.source.names)}
        for role, expected, wrong in rules:
            count = int(wrong.sum())
            if not count:
                continue
            faulty |= wrong
            self.faults += count
            room = _NAMED_FAULTS - len(self.found)
            rows = piece.filter(wrong).select(ROW, role).head(max(room, 0)).rows()
            self.found += [(row, places[role], role, cell, expected) for row, cell in rows]
        self.faulty += int(faulty.sum())
        return faulty

    def log(self, max_faulty_share: float) -> Log:
        file = self.source.file
        if not self.rows:
            raise DataFault([Fault(file, "at least one interaction", "none")])
        if self.faulty > max_faulty_share * self.rows:
            raise DataFault(self._named(), more=self.faults - len(self.found))
        frame = pl.concat(self.parts, how="vertical_relaxed")
        if not frame.height:
            raise DataFault([Fault(file, "at least one interaction that can be used", "none")])
        unit_s, others = None, 0
        if self.source.timed:
            unit_s = self.clock.unit_s if self.clock else None
            if unit_s is None:
                unit_s, others = seconds_in_a_unit(frame["timestamp"])
        counts = LogCounts(
            rows=self.rows,
            faulty=self.faulty,
            ratings_negative=self.negative,
            ratings_not_finite=self.not_finite,
            ratings_missing=self.no_rating,
            times_in_another_unit=others,
        )
        return Log(frame, counts, unit_s)

    def _named(self) -> list[Fault]:
        found = sorted(self.found, key=lambda each: each[:2])
        lines = self.source.lines([row for row, *_ in found])
        return [
            Fault(self.source.file, expected, shown(cell), line, self.source.names[role])
            for line, (_, _, role, cell, expected) in zip(lines, found, strict=True)
        ]
