"""What a client says of its trace, and what Triton is told: W3C ``traceparent``.

Written out here because it is read for every call; a test compares it with OpenTelemetry's own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

TRACEPARENT = "traceparent"
TRACESTATE = "tracestate"
BAGGAGE = "baggage"

_TRACEPARENT = re.compile(
    r"[ \t]*(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})"
    r"(-.*)?[ \t]*"
)
_SAMPLED = 1


@dataclass(frozen=True, slots=True)
class Parent:
    """The client's span."""

    trace_id: int
    span_id: int
    sampled: bool


def read_parent(traceparent: str) -> Parent | None:
    """Return what a header says; ``None`` if it is malformed: then there is no parent."""
    match = _TRACEPARENT.fullmatch(traceparent)
    # Version 00 has exactly four fields; later ones may have more.
    if match is None or (match[1] == "00" and match[5] is not None):
        return None
    return Parent(int(match[2], 16), int(match[3], 16), bool(int(match[4], 16) & _SAMPLED))


def write_traceparent(trace_id: int, span_id: int) -> str:
    """Return the header of a span that is sampled: Triton traces whatever has one."""
    return f"00-{trace_id:032x}-{span_id:016x}-01"
