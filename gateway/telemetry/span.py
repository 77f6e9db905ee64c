"""A finished span, and where it is from: what OTLP says of them, no more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from random import getrandbits

Attribute = str | int | float | bool | Sequence[str]
Attributes = dict[str, Attribute]

ALL_BITS = (1 << 64) - 1
"""Of a span's ID."""


class Kind(IntEnum):
    """OTLP's numbers."""

    UNSPECIFIED = 0
    INTERNAL = 1
    SERVER = 2
    CLIENT = 3
    PRODUCER = 4
    CONSUMER = 5


class Status(IntEnum):
    """OTLP's numbers."""

    UNSET = 0
    OK = 1
    ERROR = 2


@dataclass(frozen=True)
class Source:
    """Which program made a span, and which part of it. Compared by identity: keep one of each."""

    resource: Attributes
    scope: str = ""
    version: str = ""

    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        """Return whether it is the same one."""
        return self is other


@dataclass(slots=True)
class Event:
    """Something that happened during a span."""

    name: str
    time_ns: int
    attributes: Attributes = field(default_factory=dict)


@dataclass(slots=True)
class Link:
    """Another span that belongs to it."""

    trace_id: int
    span_id: int
    attributes: Attributes = field(default_factory=dict)


@dataclass(slots=True)
class Span:
    """One span. Times in ns since 1970."""

    source: Source
    trace_id: int
    span_id: int
    parent_id: int
    """0: it has none."""
    name: str
    kind: Kind
    start_ns: int
    end_ns: int
    attributes: Attributes = field(default_factory=dict)
    events: Sequence[Event] = ()
    links: Sequence[Link] = ()
    status: Status = Status.UNSET
    message: str = ""
    """Of the status."""
    trace_state: str = ""


def new_trace_id() -> int:
    """Return 16 random bytes, not all zero, as a number."""
    return getrandbits(128) or 1


def new_span_id() -> int:
    """Return 8 random bytes, not all zero, as a number."""
    return getrandbits(64) or 1


def new_base_id() -> int:
    """Return a span's ID whose lowest byte is 0, so that the next ones differ in that alone."""
    return (getrandbits(56) or 1) << 8


def server_attributes(target: str) -> Attributes:
    """Return a server's address and port from ``host:port``; nothing if it is not known."""
    host, _, port = target.rpartition(":")
    if not port.isdigit():
        return {"server.address": target} if target else {}
    return {"server.address": host.strip("[]"), "server.port": int(port)}
