"""Which column of a log is which."""

from __future__ import annotations

from collections.abc import Sequence

from model_builder.errors import Fault

_NAMES = {
    "user": ("user", "userId", "user_id"),
    "item": ("item", "itemId", "item_id", "movieId", "movie_id"),
    "timestamp": ("timestamp",),
    "rating": ("rating",),
}
_ALSO = {
    "user": ("uid", "visitor_id", "session_id", "customer_id", "reviewer_id"),
    "item": ("iid", "product_id", "article_id", "track_id", "asin", "parent_asin"),
    "timestamp": ("time", "ts", "datetime", "date", "event_time", "unix_review_time", "t_dat"),
    "rating": ("score", "stars", "overall"),
}
"""Other public logs' names (RetailRocket, H&M, Amazon, sessions): taken where ours are missing."""
_OPTIONAL = {"rating"}

ROLES = tuple(_NAMES)
"""What a row says; no other column can be read under these names."""

ROW = ":row"
"""The place in the file, among the columns that are read; a log's own ``row`` is another."""

BARE = ("user", "item", "rating", "timestamp")
"""The order of MovieLens' files without a header."""

_EARLIEST_S = 1e8
"""No log without a header is older (1973), so that a time is told from another number."""


def find_columns(
    file: str, header: Sequence[str], *, strict: bool = False
) -> tuple[dict[str, int], list[Fault]]:
    """Return the place of ``user``, ``item``, ``timestamp``, ``rating``, and what is wrong.

    Case, underscores and a type after a colon, as RecBole writes it, do not matter.

    Args:
        file: Its name.
        header: The names in it.
        strict: Whether only our names and MovieLens' count: with other logs' names, many a
            table that is no log would look like one.
    """
    places: dict[str, int] = {}
    faults: list[Fault] = []
    plain = [_plain(name) for name in header]
    for role, names in _NAMES.items():
        found = _places(plain, names) or (() if strict else _places(plain, _ALSO[role]))
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


def is_bare(cells: Sequence[str]) -> bool:
    """Whether a first line is MovieLens' user, item, rating and timestamp, and no header."""
    if len(cells) != len(BARE):
        return False
    try:
        rating, time = float(cells[2]), float(cells[3])
    except ValueError:
        return False
    return abs(rating) < _EARLIEST_S <= time


def find_extra(
    file: str, header: Sequence[str], wanted: Sequence[str]
) -> tuple[dict[str, int], list[Fault]]:
    """Return the places of other columns, by their names as they are wanted."""
    stripped = [name.strip() for name in header]
    missing = [name for name in wanted if name not in stripped]
    listed = ", ".join(stripped)
    faults = [Fault(file, f"a column '{name}'", f"columns {listed}", row=1) for name in missing]
    return {name: stripped.index(name) for name in wanted if name in stripped}, faults


def _places(plain: Sequence[str], names: Sequence[str]) -> Sequence[int]:
    wanted = {_plain(name) for name in names}
    return [place for place, name in enumerate(plain) if name in wanted]


def _plain(name: str) -> str:
    return name.partition(":")[0].strip().casefold().replace("_", "")
