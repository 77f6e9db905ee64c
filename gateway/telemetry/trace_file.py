"""A file of OTLP/JSON lines that several processes append to.

One line is one ``ExportTraceServiceRequest``, as the OpenTelemetry protocol's file format
says. A line is written with one append, so the gateway, its clients and the spans of Triton
can share a file. At ``max_bytes`` the file becomes ``<name>.1``.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

from gateway.telemetry.exporter import SendFailed
from gateway.telemetry.line_file import LineFile
from gateway.telemetry.otlp_json import JsonSpans, spans_to_json
from gateway.telemetry.span import Span

_log = logging.getLogger(__name__)

MAX_BYTES = 64 * 1024 * 1024


class TraceFile:
    """Appends spans to a file.

    Args:
        path: The file; its folder is made.
        max_bytes: When the file is put away, in bytes.
    """

    encoder = JsonSpans()
    at_once = 4
    """Lines: to open, lock and close the file costs more than a line."""

    def __init__(self, path: Path, max_bytes: int = MAX_BYTES) -> None:
        self._file = LineFile(path, max_bytes)

    def send(self, *requests: bytes) -> None:
        """Write a line for each.

        Raises:
            SendFailed: If the disk does not take it.
        """
        lost = self._file.lost
        try:
            self._file.append(*(part for request in requests for part in (request, b"\n")))
        except OSError as error:
            raise SendFailed(f"cannot write to {self._file.path}: {error}") from error
        if self._file.lost and not lost:
            _log.warning(
                "Of %s only the newest are kept, this file and the one before it; from now on "
                "older traces go without a word. A collector keeps more (otlp_endpoint)",
                self._file.path,
            )

    def write(self, spans: Iterable[Span]) -> None:
        """Write spans.

        Raises:
            SendFailed: If the disk does not take them.
        """
        self.send(spans_to_json(spans))

    def close(self) -> None:
        """Do nothing: every line is in the file already."""
