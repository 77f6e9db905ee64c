"""Which requests Triton failed: a worker knows, its supervisor takes Triton's spans."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, suppress
from pathlib import Path

from pydantic import TypeAdapter

from gateway.supervising.datagrams import hearing_at, tell
from gateway.telemetry.failed_requests import FailedRequest, FailedRequests, TellFailed

_SOCKET = "failed-requests"
_REQUESTS = TypeAdapter(FailedRequest)


def teller(folder: Path) -> TellFailed:
    """Return the end of a worker: it never waits, never raises.

    Where no Triton is embedded nobody listens: its spans go elsewhere.

    Args:
        folder: Of the supervisor.
    """
    path = folder / _SOCKET

    def say(request: FailedRequest) -> None:
        with suppress(OSError):
            tell(path, request.shortened(), _REQUESTS)

    return say


def hearing_failures(folder: Path, failed: FailedRequests) -> AbstractAsyncContextManager[None]:
    """Take note of what workers tell, while the context lasts.

    Args:
        folder: Where workers find the socket; only its owner may enter it.
        failed: Takes the notes.
    """
    return hearing_at(folder / _SOCKET, _REQUESTS, failed.add)
