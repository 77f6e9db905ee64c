"""Bounds what grpc.aio makes of the headers of a call before anybody is asked about it.

The limits that grpc's core is given for metadata hold only once a client has acknowledged them, and
one that means no good does not: of headers without an end the core takes in 16 MiB. grpc.aio makes
Python objects of all 123,000, for which every other call waits 0.1 s, and no setting keeps it from
that. So two of its inner names are replaced, once a process: what begins a call, and what makes an
entry. Where a grpc does not have them, a call is refused for what it has once all of it is there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any

import grpc
from grpc._cython import cygrpc  # type: ignore[attr-defined]

_log = logging.getLogger(__name__)
_NAMES = ("_Metadatum", "_handle_rpc", "_handle_stream_stream_rpc", "RPCState")

_new_entry = tuple.__new__

_NO_TEXT = "Invalid encoding on %s"
"""What grpc logs, with a traceback, of each entry that is no UTF-8."""


class _Count:
    __slots__ = ("left",)

    def __init__(self, left: int) -> None:
        self.left = left


class _TooMany(Exception):
    """A call has more entries than it may have."""


_count: ContextVar[_Count | None] = ContextVar("entries that are still made", default=None)
_in_force: ContextVar[MetadataBound | None] = ContextVar("bound of the server", default=None)


class MetadataBound:
    """Has calls with too many entries refused once that many are made.

    Args:
        most: Entries that the metadata of a call may have.
        refuse: Ends a call that has more, as a handler does.
        on_waste: Is called for each of them: the core may hold much for it.
    """

    def __init__(
        self,
        most: int,
        refuse: Callable[[Any, Any], Awaitable[None]],
        on_waste: Callable[[], None] = lambda: None,
    ) -> None:
        self.most = most
        self.on_waste = on_waste
        self.handler = grpc.stream_stream_rpc_method_handler(refuse)

    @contextmanager
    def holds(self) -> Iterator[None]:
        """Have it hold for the calls of a server that is started meanwhile, and of no other."""
        _install()
        before = _in_force.set(self)
        try:
            yield
        finally:
            _in_force.reset(before)


def all_are_made() -> None:
    """Say that the entries of the call are there: nothing else that its task makes is bounded."""
    _count.set(None)
    _in_force.set(None)


@cache
def _install() -> None:
    _say_no_more_of_what_is_no_text()
    missing = [name for name in _NAMES if not hasattr(cygrpc, name)]
    if missing:
        _log.warning(
            "Headers without an end hold up other calls with this grpc: it has no %s.", missing
        )
        return
    entry_type, handle, call_type = cygrpc._Metadatum, cygrpc._handle_rpc, cygrpc.RPCState

    def make_entry(key: str, value: str | bytes) -> tuple[str, str | bytes]:
        count = _count.get()
        if count is not None:
            count.left -= 1
            if count.left < 0:
                raise _TooMany
        entry: tuple[str, str | bytes] = _new_entry(entry_type, (key, value))
        return entry

    async def handle_bounded(*args: Any) -> None:
        bound = _in_force.get()
        if bound is None:
            await handle(*args)
            return
        _count.set(_Count(bound.most))
        try:
            await handle(*args)
            return
        except _TooMany:
            _count.set(None)
        bound.on_waste()
        (call,) = (arg for arg in args if isinstance(arg, call_type))
        loop = asyncio.get_running_loop()
        await cygrpc._handle_stream_stream_rpc(bound.handler, call, loop)

    cygrpc._Metadatum, cygrpc._handle_rpc = make_entry, handle_bounded


@cache
def _say_no_more_of_what_is_no_text() -> None:
    """Keep grpc from a traceback for each entry that is no UTF-8: it takes 0.2 ms.

    A client could have a worker write nothing else. The entry is read as Latin-1, as without this.
    """
    logger = logging.getLogger(cygrpc.__name__)
    say = logger.exception

    def exception(message: object, *args: Any, **options: Any) -> None:
        if message != _NO_TEXT:
            say(message, *args, **{"stacklevel": 2, **options})

    vars(logger)["exception"] = exception
