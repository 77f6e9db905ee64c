"""The access log: a line of JSON for each call."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from google.rpc import code_pb2

from gateway.audit.background import Background
from gateway.audit.record import AccessRecord
from gateway.telemetry.line_file import LineFile
from gateway.telemetry.trace_context import read_parent

MAX_WAITING = 65_536
"""Lines that wait to be written: several seconds of calls."""

STANDARD_OUTPUT = "-"
_CLOSE_S = 5.0


class AccessLog:
    """Writes the lines on a thread; a line that does not fit, or cannot be written, is counted.

    Args:
        where: A file, opened anew each time so that it can be moved away, or ``-`` for standard
            output.
        max_waiting: Lines that wait.
    """

    def __init__(self, where: str, max_waiting: int = MAX_WAITING) -> None:
        self._file = None if where == STANDARD_OUTPUT else LineFile(Path(where), max_bytes=None)
        self._lines = Background("access-log", self._write, room=max_waiting)
        self.put = self._lines.put

    @property
    def dropped(self) -> int:
        """Lines that were not written."""
        return self._lines.dropped

    def close(self) -> None:
        """Write what is left."""
        self._lines.close(_CLOSE_S)

    def _write(self, records: Sequence[AccessRecord]) -> None:
        data = b"".join(line_of(record) for record in records)
        if self._file is not None:
            self._file.append(data)
            return
        while data:
            data = data[os.write(1, data) :]


def line_of(record: AccessRecord) -> bytes:
    """Return the line of a call."""
    return json.dumps(fields_of(record), separators=(",", ":")).encode() + b"\n"


def fields_of(record: AccessRecord) -> dict[str, Any]:
    """Return what a line says; what is not known is not there."""
    fields: dict[str, Any] = {
        "time": iso_time(record.start_ns),
        "method": record.method,
        "code": code_pb2.Code.Name(record.code),
        "client": record.client,
        "peer": record.peer,
        "line": record.line,
        "release": record.release,
        "variant": record.variant,
        "trace_id": trace_id(record),
        "traced": record.trace_id != 0,
        "milliseconds": round(record.duration_ns / 1e6, 3),
        "request_bytes": record.request_bytes,
        "response_bytes": record.response_bytes,
    }
    if record.requests != 1 or record.responses > 1:  # a stream
        fields |= {"requests": record.requests, "responses": record.responses}
    return {name: value for name, value in fields.items() if value != ""}


def trace_id(record: AccessRecord) -> str:
    """Return the ID of the call's trace, also where only the client keeps it."""
    if record.trace_id:
        return f"{record.trace_id:032x}"
    parent = read_parent(record.parent) if record.parent else None
    return f"{parent.trace_id:032x}" if parent is not None else ""


def iso_time(ns: int) -> str:
    """Return a time in ns since 1970 as ISO 8601 writes it, in UTC."""
    return datetime.fromtimestamp(ns / 1e9, UTC).isoformat(timespec="milliseconds")
