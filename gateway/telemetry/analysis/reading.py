"""Finds a trace in files of OTLP/JSON lines."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from gateway.telemetry.analysis.tree import is_batch
from gateway.telemetry.line_file import previous_file
from gateway.telemetry.otlp_json import json_to_spans
from gateway.telemetry.span import Span
from gateway.telemetry.span_rules import METHOD

_SERVER = 2
_MOST_LINKED = 16
"""Traces that are read beside the one that was asked for: a stream has a batch an element."""
_HEX = re.compile(r"[0-9a-f]{1,32}")


class TraceNotFound(Exception):
    """The files do not have what was asked for."""


def newest_trace(path: Path) -> str:
    """Return the ID of the trace whose server span ended last.

    Triton's spans call themselves server spans too, but name no RPC, or Triton's own.

    Raises:
        TraceNotFound: If there is no trace with a server span.
    """
    newest, newest_end_ns = "", -1
    for line in _lines(path):
        for span in _raw_spans(line):
            try:
                trace_id, kind = str(span["traceId"]), int(span.get("kind", 0))
                end_ns = int(span["endTimeUnixNano"])
            except (KeyError, TypeError, ValueError):
                continue
            if kind == _SERVER and end_ns > newest_end_ns and _is_rpc(span):
                newest, newest_end_ns = trace_id, end_ns
    if not newest:
        raise TraceNotFound(f"{path} holds no trace of a served call yet")
    return newest


def complete_id(path: Path, prefix: str) -> str:
    """Return the one trace ID that starts with ``prefix``.

    Raises:
        TraceNotFound: If none does, or several do.
    """
    prefix = prefix.lower()
    if not _HEX.fullmatch(prefix):
        raise TraceNotFound(f"'{prefix}' is no trace ID: 32 hexadecimal digits, or the first few")
    found = {
        str(span.get("traceId"))
        for line in _lines(path)
        if prefix in line
        for span in _raw_spans(line)
        if str(span.get("traceId", "")).startswith(prefix)
    }
    if len(found) == 1:
        return found.pop()
    if found:
        some = ", ".join(sorted(found)[:3])
        raise TraceNotFound(f"{len(found)} traces start with '{prefix}': {some} …")
    raise TraceNotFound(f"{path} holds no trace '{prefix}'")


def read_trace(path: Path, trace_id: str) -> list[Span]:
    """Return the spans of a trace and of the batches that its calls travelled in.

    Args:
        path: The file; the one put away beside it is read too.
        trace_id: All 32 digits.
    """
    own: list[Span] = []
    linked: dict[int, None] = {}
    wanted = int(trace_id, 16)
    for span in _spans(path, [trace_id]):
        batch = is_batch(span.kind.name, span.attributes)
        if span.trace_id == wanted:
            own.append(span)
            if not batch:
                linked |= {link.trace_id: None for link in span.links}
        elif batch and any(link.trace_id == wanted for link in span.links):
            linked[span.trace_id] = None
    linked.pop(wanted, None)
    others = list(linked)[:_MOST_LINKED]
    if not others:
        return own
    found = _spans(path, [f"{one:032x}" for one in others])
    return own + [span for span in found if span.trace_id in others]


def _spans(path: Path, trace_ids: Sequence[str]) -> Iterator[Span]:
    """Give the spans of all lines that speak of some traces."""
    for line in _lines(path):
        if any(one in line for one in trace_ids):
            try:
                yield from json_to_spans(json.loads(line))
            except ValueError:
                continue


def _lines(path: Path) -> Iterator[str]:
    """Give the lines of the file put away, then of the file.

    Raises:
        TraceNotFound: If there is neither.
    """
    files = [file for file in (previous_file(path), path) if file.is_file()]
    if not files:
        raise TraceNotFound(f"there is no file {path}")
    for file in files:
        with file.open(encoding="utf-8", errors="replace") as lines:
            yield from lines


def _raw_spans(line: str) -> Iterator[dict[str, Any]]:
    """Give the spans of a line; of a torn one, none."""
    try:
        content = json.loads(line)
    except ValueError:
        return
    for part in _list(content, "resourceSpans"):
        for scope in _list(part, "scopeSpans"):
            yield from (span for span in _list(scope, "spans") if isinstance(span, dict))


def _is_rpc(span: dict[str, Any]) -> bool:
    return any(
        isinstance(one, dict)
        and one.get("key") == "rpc.method"
        and one.get("value") != {"stringValue": METHOD}
        for one in _list(span, "attributes")
    )


def _list(content: Any, name: str) -> Sequence[Any]:
    found = content.get(name) if isinstance(content, dict) else None
    return found if isinstance(found, list) else ()
