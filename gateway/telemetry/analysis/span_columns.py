"""Spans as columns: what a report needs of each, gathered a chunk of a file at a time."""

from __future__ import annotations

from array import array
from base64 import b64decode
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

Attributes = Mapping[str, Any]

INTERNAL, SERVER, CLIENT = 1, 2, 3
_ERROR = 2
_KINDS = {
    f"SPAN_KIND_{name}": number
    for number, name in enumerate(
        ("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")
    )
}
_ERRORS = (_ERROR, "STATUS_CODE_ERROR")

TEXTS = {
    "rpc.method": "method",
    "rpc.response.status_code": "code",
    "error.type": "error_type",
    "trident.line": "line",
    "trident.release": "release",
    "trident.variant": "variant",
    "trident.step": "step",
    "triton.model_name": "model",
}
"""Attributes that are kept as text, and their columns."""

NUMBERS = {
    "trident.batch.size": "batch_size",
    "trident.batch.calls": "batch_calls",
    "trident.queue_us": "queue_us",
}
"""Attributes that are kept as numbers, and their columns."""

EVENTS = {
    "QUEUE_START": "queue_start",
    "COMPUTE_START": "compute_start",
    "COMPUTE_INPUT_END": "compute_input_end",
    "COMPUTE_OUTPUT_START": "compute_output_start",
    "COMPUTE_END": "compute_end",
}
"""Events of Triton, and the columns of their times in ns; 0 where there is none."""

_WANTED = frozenset(TEXTS) | frozenset(NUMBERS)
_IDS = ("trace_high", "trace", "span", "parent")
_INTS = ("kind", "start", "end", *EVENTS.values())

SCHEMA: dict[str, pl.DataType] = {
    **dict.fromkeys(_IDS, pl.UInt64()),
    **dict.fromkeys(_INTS, pl.Int64()),
    "failed": pl.Boolean(),
    "name": pl.String(),
    "service": pl.String(),
    **dict.fromkeys(TEXTS.values(), pl.String()),
    **dict.fromkeys(NUMBERS.values(), pl.Float64()),
}
LINK_SCHEMA: dict[str, pl.DataType] = dict.fromkeys(
    ("trace", "span", "to_trace", "to_span"), pl.UInt64()
)


class BadSpan(ValueError):
    """A span that cannot be used."""


class SpanColumns:
    """Columns that grow by a span at a time.

    What runs for each span is written to be fast: a million of them are read in seconds.
    """

    def __init__(self) -> None:
        self._ids: list[bytes] = []
        """Trace, span and parent of each, 32 bytes."""
        self._ints = array("q")
        """Of each as many as ``_INTS`` names."""
        self._failed: list[bool] = []
        self._names: list[str] = []
        self._services: list[str] = []
        self._texts: dict[str, tuple[list[int], list[str]]] = {
            column: ([], []) for column in TEXTS.values()
        }
        self._numbers: dict[str, tuple[list[int], list[float]]] = {
            column: ([], []) for column in NUMBERS.values()
        }
        self._links: list[bytes] = []
        """Trace and span, the other's trace and span, 48 bytes."""

    def add(self, span: Any, service: str) -> None:
        """Add a span.

        Args:
            span: With the names of OTLP/JSON as attributes, see :mod:`.otlp_structs`.
            service: ``service.name`` of its resource.

        Raises:
            BadSpan: If its IDs or times cannot be understood; nothing was added.
        """
        ids = _ids(span.traceId, span.spanId, span.parentSpanId)
        try:
            start, end = int(span.startTimeUnixNano), int(span.endTimeUnixNano)
            times = _times(span.events) if span.events else _NO_TIMES
        except ValueError as error:
            raise BadSpan(f"times are not numbers: {error}") from error
        if not 0 < start < _LAST_NS or not 0 < end < _LAST_NS:
            raise BadSpan("its times are missing or beyond all clocks")
        links = [ids[:24] + _ids(link.traceId, link.spanId, "")[:24] for link in span.links]
        row = len(self._ids)  # whatever can fail has not
        kind = span.kind
        if not isinstance(kind, int):
            kind = _KINDS.get(kind, INTERNAL)
        self._ids.append(ids)
        self._ints.extend((kind, start, end if end > start else start, *times))
        self._failed.append(span.status.code in _ERRORS)
        self._names.append(span.name)
        self._services.append(service)
        for attribute in span.attributes:
            if attribute.key in _WANTED:
                self._add_attribute(row, attribute.key, attribute.value.plain())
        if links:
            self._links.extend(links)

    def _add_attribute(self, row: int, key: str, value: Any) -> None:
        column = TEXTS.get(key)
        if column is not None:
            rows, texts = self._texts[column]
            rows.append(row)
            texts.append(str(value))
            return
        try:
            number = float(value)
        except (TypeError, ValueError):
            return
        places, numbers = self._numbers[NUMBERS[key]]
        places.append(row)
        numbers.append(number)

    def frames(self) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Return the spans (:data:`SCHEMA`) and their links (:data:`LINK_SCHEMA`)."""
        count = len(self._ids)
        columns: dict[str, Any] = dict(zip(_IDS, _columns(self._ids, 4), strict=True))
        ints = np.frombuffer(self._ints, dtype=np.int64).reshape(count, len(_INTS))
        columns |= {name: ints[:, place].copy() for place, name in enumerate(_INTS)}
        columns |= {"failed": self._failed, "name": self._names, "service": self._services}
        for name, (rows, texts) in self._texts.items():
            columns[name] = _sparse(count, rows, texts, fill="")
        for name, (rows, numbers) in self._numbers.items():
            columns[name] = _sparse(count, rows, numbers, fill=np.nan)
        trace, span, _, to_trace, to_span = (
            column for place, column in enumerate(_columns(self._links, 6)) if place
        )
        links = {"trace": trace, "span": span, "to_trace": to_trace, "to_span": to_span}
        frame = pl.DataFrame(columns, schema_overrides=SCHEMA).select(*SCHEMA)
        return frame, pl.DataFrame(links, schema=LINK_SCHEMA)


_LAST_NS = 2**63
_NO_ID = "0" * 16
_ZEROS = bytes(16)


def _ids(trace: str, span: str, parent: str) -> bytes:
    """Return the IDs of a span as 16, 8 and 8 bytes.

    Raises:
        BadSpan: If one is none, or the trace's or the span's is all zeros.
    """
    try:
        ids = bytes.fromhex(trace + span + (parent or _NO_ID))
        whole = len(trace) == 32 and len(span) == 16 and len(ids) == 32
    except ValueError:
        whole = False
    if not whole:
        ids = _odd_id(trace, 32) + _odd_id(span, 16) + _odd_id(parent or _NO_ID, 16)
    if ids.startswith(_ZEROS) or ids[16:24] == _ZEROS[:8]:
        raise BadSpan(f"an ID is all zeros: trace {trace!r}, span {span!r}")
    return ids


def _odd_id(text: str, digits: int) -> bytes:
    """Return an ID that is not written as usual: some systems drop zeros, some use base64."""
    try:
        if text.endswith("="):
            content = b64decode(text, validate=True)
        else:
            content = bytes.fromhex(text.zfill(digits))
    except ValueError:
        content = b""
    if len(content) != digits // 2:
        raise BadSpan(f"an ID of {digits} hexadecimal digits was expected, got {text[:40]!r}")
    return content


def _times(events: Sequence[Any]) -> list[int]:
    times = [0] * len(_PLACES)
    for event in events:
        place = _PLACES.get(event.name)
        if place is not None:
            times[place] = int(event.timeUnixNano)
    return times


_PLACES = {name: place for place, name in enumerate(EVENTS)}
_NO_TIMES = [0] * len(EVENTS)


def _columns(rows: Sequence[bytes], width: int) -> Any:
    """Return the ``width`` numbers of 8 bytes of each row, as columns: uint64."""
    table = np.frombuffer(b"".join(rows), dtype=">u8").reshape(len(rows), width)
    return table.T.astype(np.uint64)


def _sparse(count: int, rows: Sequence[int], values: Sequence[Any], *, fill: Any) -> pl.Series:
    """Return a column with few values; a missing text is null, a missing number NaN."""
    if fill == "":
        whole: list[str | None] = [None] * count
        for row, value in zip(rows, values, strict=True):
            whole[row] = value
        return pl.Series(whole, dtype=pl.String)
    column = np.full(count, fill)
    column[list(rows)] = values
    return pl.Series(column)
