"""Spans as columns: what a report needs of each, gathered a chunk of a file at a time."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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


@dataclass
class SpanColumns:
    """Columns that grow by a span at a time.

    IDs are kept as the hexadecimal text that they come as: turning a million of them into
    numbers at once costs a hundredth of doing it one by one.
    """

    traces: list[str] = field(default_factory=list)
    spans: list[str] = field(default_factory=list)
    parents: list[str] = field(default_factory=list)
    ints: list[tuple[int, ...]] = field(default_factory=list)
    rest: list[tuple[Any, ...]] = field(default_factory=list)
    texts: dict[str, tuple[list[int], list[str]]] = field(default_factory=dict)
    numbers: dict[str, tuple[list[int], list[float]]] = field(default_factory=dict)
    links: list[tuple[str, str, str, str]] = field(default_factory=list)

    def add(self, span: Any, service: str) -> None:
        """Add a span.

        Args:
            span: With the names of OTLP/JSON as attributes, see :mod:`.otlp_structs`.
            service: ``service.name`` of its resource.

        Raises:
            BadSpan: If its IDs or times cannot be understood; nothing was added.
        """
        trace, own = hex_id(span.traceId, 32), hex_id(span.spanId, 16)
        parent = hex_id(span.parentSpanId, 16) if span.parentSpanId else _NO_ID
        try:
            start, end = int(span.startTimeUnixNano), int(span.endTimeUnixNano)
            kind = span.kind if isinstance(span.kind, int) else _KINDS.get(span.kind, INTERNAL)
            times = _times(span.events)
        except ValueError as error:
            raise BadSpan(f"times are not numbers: {error}") from error
        if not 0 < start < 2**63 or not 0 < end < 2**63:
            raise BadSpan("its times are missing or beyond all clocks")
        links = [
            (trace, own, hex_id(link.traceId, 32), hex_id(link.spanId, 16)) for link in span.links
        ]
        row = len(self.traces)  # whatever can fail has not
        self.traces.append(trace)
        self.spans.append(own)
        self.parents.append(parent)
        self.ints.append((kind, start, max(start, end), *times))
        self.rest.append((span.status.code in _ERRORS, span.name, service))
        for attribute in span.attributes:
            if attribute.key in _WANTED:
                self._add_attribute(row, attribute.key, attribute.value)
        self.links.extend(links)

    def _add_attribute(self, row: int, key: str, value: Any) -> None:
        found = value.plain()
        if key in TEXTS:
            rows, texts = self.texts.setdefault(TEXTS[key], ([], []))
            rows.append(row)
            texts.append(str(found))
            return
        try:
            number = float(found)
        except (TypeError, ValueError):
            return
        rows, numbers = self.numbers.setdefault(NUMBERS[key], ([], []))
        rows.append(row)
        numbers.append(number)

    def frames(self) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Return the spans (:data:`SCHEMA`) and their links (:data:`LINK_SCHEMA`)."""
        count = len(self.traces)
        if not count:
            return pl.DataFrame(schema=SCHEMA), pl.DataFrame(schema=LINK_SCHEMA)
        high, low = _numbers("".join(self.traces)).reshape(count, 2).T
        columns: dict[str, Any] = {
            "trace_high": high.copy(),
            "trace": low.copy(),
            "span": _numbers("".join(self.spans)),
            "parent": _numbers("".join(self.parents)),
        }
        ints = np.array(self.ints, dtype=np.int64)
        columns |= {name: ints[:, place].copy() for place, name in enumerate(_INTS)}
        failed, names, services = zip(*self.rest, strict=True)
        columns |= {"failed": failed, "name": names, "service": services}
        for name in TEXTS.values():
            columns[name] = _sparse(count, *self.texts.get(name, ([], [])), fill="")
        for name in NUMBERS.values():
            columns[name] = _sparse(count, *self.numbers.get(name, ([], [])), fill=np.nan)
        frame = pl.DataFrame(columns, schema_overrides=SCHEMA)
        return frame.select(*SCHEMA), self._links()

    def _links(self) -> pl.DataFrame:
        columns: dict[str, Any] = {}
        for name, ids in zip(LINK_SCHEMA, zip(*self.links, strict=True), strict=False):
            columns[name] = _numbers("".join(one[-16:] for one in ids))
        return pl.DataFrame(columns, schema=LINK_SCHEMA)


_NO_ID = "0" * 16
_HEX = frozenset("0123456789abcdefABCDEF")


def hex_id(text: str, digits: int) -> str:
    """Return an ID as so many hexadecimal digits; some systems write it in base64.

    Raises:
        BadSpan: If it is neither.
    """
    if len(text) != digits:
        text = _from_base64(text, digits)
    if not _HEX.issuperset(text) or text.strip("0") == "":
        raise BadSpan(f"an ID of {digits} hexadecimal digits was expected, got {text[:40]!r}")
    return text


def _from_base64(text: str, digits: int) -> str:
    try:
        return b64decode(text, validate=True).hex() if text.endswith("=") else text.zfill(digits)
    except ValueError:
        return text


def _times(events: Sequence[Any]) -> list[int]:
    if not events:
        return _NO_TIMES
    found = {event.name: int(event.timeUnixNano) for event in events if event.name in EVENTS}
    return [found.get(name, 0) for name in EVENTS]


_NO_TIMES = [0] * len(EVENTS)


def _numbers(digits: str) -> Any:
    """Return every 16 hexadecimal digits as a number: uint64."""
    return np.frombuffer(bytes.fromhex(digits), dtype=">u8").astype(np.uint64)


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
