"""Spans of one call: server, decode, queue, Triton, encode."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Protocol


class CallTrace(Protocol):
    """The trace of one call. Cheap when the call is not sampled."""

    def stage(self, name: str) -> AbstractContextManager[None]:
        """Time a stage inside the gateway: ``decode``, ``queue`` or ``encode``."""
        ...

    def triton_call(self, model_name: str) -> AbstractContextManager[Mapping[str, str]]:
        """Time a call to Triton; gives the headers to send with it.

        ``traceparent`` is among them only if the call is sampled, because Triton ignores the
        sampled flag.
        """
        ...

    def set_release(self, line: str, release: str, variant: str) -> None:
        """Say which release answers."""
        ...

    def set_attribute(self, name: str, value: str | int | float | bool) -> None:
        """Add an attribute to the server span."""
        ...

    def finish(self, code: int, error: BaseException | None = None) -> None:
        """End the server span with a ``google.rpc.Code`` and what went wrong, if anything."""
        ...
