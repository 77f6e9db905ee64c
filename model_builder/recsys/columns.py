"""Which column of a log is which, and what its cells must be."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from model_builder.errors import Fault

MAX_ID_LENGTH = 256
"""The API takes no longer ID, so a longer one could never be asked for."""

_NAMES = {
    "user": ("user", "userId", "user_id"),
    "item": ("item", "itemId", "item_id", "movieId", "movie_id"),
    "timestamp": ("timestamp",),
    "rating": ("rating",),
}
_OPTIONAL = {"rating"}


def find_columns(file: str, header: Sequence[str]) -> tuple[dict[str, int], list[Fault]]:
    """Return the place of ``user``, ``item``, ``timestamp``, ``rating``, and what is wrong.

    Case and underscores do not matter.
    """
    places: dict[str, int] = {}
    faults: list[Fault] = []
    plain = [_plain(name) for name in header]
    for role, names in _NAMES.items():
        wanted = {_plain(name) for name in names}
        found = [place for place, name in enumerate(plain) if name in wanted]
        if len(found) == 1:
            places[role] = found[0]
        elif found:
            listed = " and ".join(f"'{header[place]}'" for place in found)
            faults.append(Fault(file, f"one column of {role}s", listed, row=1))
        elif role not in _OPTIONAL:
            expected = f"a column {' or '.join(names)}"
            listed = ", ".join(name.strip() for name in header)
            faults.append(Fault(file, expected, f"columns {listed}", row=1))
    return places, faults


def find_faults(frame: pl.DataFrame, file: str, names: dict[str, str]) -> list[Fault]:
    """Return every cell that is not what its column must hold, in the order of the rows.

    Args:
        frame: Columns ``user``, ``item``, ``timestamp`` and perhaps ``rating``, all strings,
            stripped, null where there is nothing; ``row``, the place in the file.
        file: Its name.
        names: By role, the column's name in the file.
    """
    found: list[tuple[int, int, Fault]] = []
    for place, role in enumerate(names):
        cell = pl.col(role)
        for expected, wrong in _number_rules(cell) if role in _NUMBERS else _id_rules(cell):
            rows = frame.filter(wrong).select("row", role).rows()
            found += [
                (row, place, Fault(file, expected, _shown(text), row, names[role]))
                for row, text in rows
            ]
    return [fault for _, _, fault in sorted(found, key=lambda entry: entry[:2])]


_NUMBERS = {"timestamp", "rating"}


def _id_rules(cell: pl.Expr) -> list[tuple[str, pl.Expr]]:
    return [
        ("an ID", cell.is_null() | (cell == "")),
        (f"an ID of at most {MAX_ID_LENGTH} characters", cell.str.len_chars() > MAX_ID_LENGTH),
        ("an ID without NUL", cell.str.contains("\0", literal=True)),
    ]


def _number_rules(cell: pl.Expr) -> list[tuple[str, pl.Expr]]:
    number = cell.cast(pl.Float64, strict=False)
    return [("a finite number", number.is_null() | ~number.is_finite())]


def _plain(name: str) -> str:
    return name.strip().casefold().replace("_", "")


def _shown(text: str | None) -> str:
    if not text:
        return "nothing"
    return f"'{text}'" if len(text) <= 40 else f"'{text[:40]}…'"
