"""A sample of what was asked and answered, as Parquet files: for evaluation later, and drift.

One file a line and worker until it is full or old; it is written whole or not at all, and the
oldest files go.
"""

from __future__ import annotations

import logging
import os
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from gateway.audit.background import Background
from gateway.audit.payload_rows import PayloadRows, Row
from gateway.audit.record import Payload

_log = logging.getLogger(__name__)

MAX_WAITING_BYTES = 64 * 1024 * 1024
"""Of messages that wait to be read."""
MAX_FILE_BYTES = 32 * 1024 * 1024
"""Of messages in one file, which lie in memory until it is written."""
MAX_FILE_AGE_S = 300.0
_CLOSE_S = 10.0


class PayloadLog:
    """Keeps what it is given on a thread; what does not fit, or cannot be written, is counted.

    Args:
        folder: Where the files go, in a folder for each line.
        worker: Part of the files' names: no two workers write the same.
        rows: Makes the rows.
        file_rows: Rows of a file, at most.
        files: Files that are kept for each line and worker.
    """

    def __init__(
        self, folder: Path, worker: str, rows: PayloadRows, *, file_rows: int, files: int
    ) -> None:
        self._folder = folder
        self._worker = worker
        self._rows = rows
        self._file_rows = file_rows
        self._files = files
        self._lost_rows = 0
        self._open: dict[str, _Pending] = defaultdict(_Pending)
        self._queue = Background(
            "payload-log", self._take, idle=self._write_old, room=MAX_WAITING_BYTES
        )

    @property
    def dropped(self) -> int:
        """Calls that were not looked at, and rows that could not be written."""
        return self._queue.dropped + self._lost_rows

    def put(self, payload: Payload) -> None:
        """Take a call; returns at once."""
        self._queue.put(payload, len(payload.request) + len(payload.response))

    def close(self) -> None:
        """Write what is left."""
        self._queue.close(_CLOSE_S)

    def _take(self, payloads: Sequence[Payload]) -> None:
        for payload in payloads:
            try:
                rows = list(self._rows.rows(payload))
            except Exception as error:  # a bug of ours: it costs none of the others
                if not self._lost_rows:
                    _log.error("A payload makes no rows, and is counted: %s", type(error).__name__)
                self._lost_rows += 1
                continue
            size = len(payload.request) + len(payload.response)
            for row in rows:
                pending = self._open[row["_line"]]
                pending.rows.append(row)
                pending.bytes += size
                size = 0  # of a batch, once
                if len(pending.rows) >= self._file_rows or pending.bytes >= MAX_FILE_BYTES:
                    self._write(row["_line"])

    def _write_old(self, last: bool) -> None:
        now = time.monotonic()
        for line, pending in list(self._open.items()):
            if last or now - pending.since_s >= MAX_FILE_AGE_S:
                self._write(line)

    def _write(self, line: str) -> None:
        """Write a file. What cannot be written is lost: memory is not a place to keep it."""
        rows = self._open.pop(line).rows
        folder = self._folder / (line or "unknown")
        when = datetime.now(UTC).strftime("%Y%m%dt%H%M%S%f")
        path = folder / f"{when}-{self._worker}.parquet"
        draft = path.with_suffix(".writing")
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o750)
            pq.write_table(table_of(rows), draft, compression="zstd")
            os.replace(draft, path)
        except (OSError, pa.ArrowException) as error:
            if not self._lost_rows:
                _log.error("Payloads cannot be written to %s, and are counted: %s", folder, error)
            self._lost_rows += len(rows)
            with suppress(OSError):
                draft.unlink(missing_ok=True)
            return
        mine = sorted(folder.glob(f"*-{self._worker}.parquet"))
        for old in mine[: -self._files]:
            old.unlink(missing_ok=True)


class _Pending:
    """Rows of a file that is not written yet."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.bytes = 0
        self.since_s = time.monotonic()


def table_of(rows: Sequence[Row]) -> pa.Table:
    """Return rows as a table: a column is of numbers where all its values are, else of texts."""
    names = dict.fromkeys(name for row in rows for name in row)
    return pa.table({name: _column(name, [row.get(name) for row in rows]) for name in names})


def _column(name: str, values: list[Any]) -> pa.Array:
    if name.startswith("_") or any(isinstance(one, str) for one in values):
        return pa.array([None if one is None else _text(one) for one in values], pa.string())
    return pa.array(values, pa.float64())


def _text(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:g}"
