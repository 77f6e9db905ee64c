"""Reads a log of one user a line, ``user item item …``, oldest first.

Or of one interaction a line, ``user item``, in their order: then a user has many lines.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from model_builder.errors import DataFault, Fault
from model_builder.recsys.columns import ROW

_ITEMS_IN_A_LINE = 500


def read_user_lines(path: Path, rows: int) -> Iterator[pl.DataFrame]:
    """Yield the interactions in the file's order, some at a time.

    Args:
        path: The file.
        rows: About how many at a time, where a line has 500 items.

    Yields:
        ``user`` and ``item``, texts; ``timestamp``, the place in the file; ``ROW``, the line.

    Raises:
        DataFault: If a user has no items, or, with more than one item in a line, two lines;
            names every fault.
    """
    lines = pl.scan_lines(path, row_index_name=ROW, row_index_offset=1).with_columns(
        cells=pl.col("line").str.strip_chars("\ufeff").str.extract_all(r"\S+")
    )
    users = lines.select(ROW, user=pl.col("cells").list.first(), n=pl.col("cells").list.len())
    users = users.filter(pl.col("n") > 0)
    known = users.collect(engine="streaming")
    again = known.filter(~pl.col("user").is_first_distinct())
    if (known["n"] == 2).all():
        again = again.clear()  # one interaction a line
    faults = [(row, f"items after user '{user}'", "none")
              for row, user, _ in known.filter(pl.col("n") == 1).rows()]  # fmt: skip
    faults += [(row, "one line a user", f"'{user}' again") for row, user, _ in again.rows()]
    if faults:
        raise DataFault([Fault(path.name, want, found, row) for row, want, found in sorted(faults)])
    place = 0
    interactions = lines.filter(pl.col("cells").list.len() > 0).select(
        ROW, user=pl.col("cells").list.first(), item=pl.col("cells").list.slice(1)
    )
    size = max(rows // _ITEMS_IN_A_LINE, 1)
    for some in interactions.collect_batches(chunk_size=size, engine="streaming"):
        piece = some.explode("item").cast({ROW: pl.Int64})
        yield piece.with_columns(timestamp=pl.int_range(place, place + piece.height))
        place += piece.height
