"""What is written down of a call."""

from __future__ import annotations

from typing import NamedTuple


class AccessRecord(NamedTuple):
    """A call that has ended. Times in ns; sizes in bytes of messages, without their frames."""

    start_ns: int
    """Since 1970."""
    duration_ns: int
    method: str
    code: int
    """A ``google.rpc.Code``."""
    client: str
    """The client's ID; empty where nobody has to say who it is, or did not convince."""
    peer: str
    line: str
    release: str
    variant: str
    trace_id: int
    """0: no trace of it is kept."""
    parent: str
    """The client's ``traceparent``."""
    request_bytes: int
    response_bytes: int
    requests: int
    """Messages of the client."""
    responses: int


class Payload(NamedTuple):
    """A call whose messages are kept."""

    access: AccessRecord
    request: bytes
    response: bytes
