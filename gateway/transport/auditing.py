"""Notes of every call what is written down of it, around all that is done for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import replace
from random import random
from typing import Any

from google.protobuf.descriptor import MethodDescriptor
from google.rpc import code_pb2

from gateway.audit.record import AccessRecord, Payload
from gateway.telemetry.trace_context import TRACEPARENT
from gateway.transport.call import Call
from gateway.transport.rpc import Handler, Rpc, RpcFailed, code_of_cancelled


class Auditing:
    """Hands on what is to be written; neither may wait.

    Args:
        access: Takes a record of every call.
        payload: Takes the messages of some.
        payload_ratio: The share of these, in [0, 1]; may be changed.
        has_payload: Tells whether messages of a method are kept at all.
    """

    def __init__(
        self,
        access: Callable[[AccessRecord], None] | None = None,
        payload: Callable[[Payload], None] | None = None,
        payload_ratio: float = 0.0,
        has_payload: Callable[[str], bool] = lambda method: True,
    ) -> None:
        self.payload_ratio = payload_ratio
        self._access = access
        self._payload = payload
        self._has_payload = has_payload

    def of(self, name: str, method: MethodDescriptor, rpc: Rpc) -> Rpc:
        """Return an RPC whose calls are written down."""
        if rpc.streaming:
            return replace(rpc, answer=self._stream(name, rpc.answer))
        kept = self._payload is not None and self._has_payload(name)
        return replace(rpc, answer=self._unary(name, rpc.answer, kept))

    def _unary(self, name: str, inner: Handler, kept: bool) -> Handler:
        async def answer(data: bytes, call: Call) -> bytes:
            began_ns = time.monotonic_ns()
            try:
                response: bytes = await inner(data, call)
            except RpcFailed as failed:
                self._note(name, call, began_ns, failed.status.code, (1, len(data)), (0, 0))
                raise
            except asyncio.CancelledError:
                self._note(name, call, began_ns, code_of_cancelled(call), (1, len(data)), (0, 0))
                raise
            sizes = (1, len(data)), (1, len(response))
            record = self._note(name, call, began_ns, code_pb2.OK, *sizes)
            if kept and random() < self.payload_ratio and self._payload is not None:
                self._payload(Payload(record, data, response))
            return response

        return answer

    def _stream(self, name: str, inner: Handler) -> Handler:
        async def answer(data: AsyncIterator[bytes], call: Call) -> AsyncGenerator[bytes]:
            began_ns = time.monotonic_ns()
            asked, answered = _Count(), _Count()
            code: int = code_pb2.OK
            try:
                async with aclosing(inner(asked.counted(data), call)) as responses:
                    async for response in responses:
                        answered.add(response)
                        yield response
            except RpcFailed as failed:
                code = failed.status.code
                raise
            except (asyncio.CancelledError, GeneratorExit):
                code = code_of_cancelled(call)
                raise
            finally:
                self._note(name, call, began_ns, code, asked.total, answered.total)

        return answer

    def _note(
        self,
        name: str,
        call: Call,
        began_ns: int,
        code: int,
        asked: tuple[int, int],
        answered: tuple[int, int],
    ) -> AccessRecord:
        trace: Any = call.trace
        answerer, client = getattr(trace, "answerer", None), call.client
        record = AccessRecord(
            start_ns=call.received_ns,
            duration_ns=time.monotonic_ns() - began_ns,  # the clock of the wall may jump
            method=name,
            code=code,
            client=client.id if client is not None else "",
            peer=call.peer(),
            line=answerer.line if answerer is not None else "",
            release=answerer.release if answerer is not None else "",
            variant=answerer.variant if answerer is not None else "",
            trace_id=getattr(trace, "trace_id", 0),
            parent=call.header(TRACEPARENT) or "",
            request_bytes=asked[1],
            response_bytes=answered[1],
            requests=asked[0],
            responses=answered[0],
        )
        if self._access is not None:
            self._access(record)
        return record


class _Count:
    """How many messages, and of how many bytes."""

    def __init__(self) -> None:
        self.total = (0, 0)

    def add(self, message: bytes) -> None:
        count, size = self.total
        self.total = count + 1, size + len(message)

    async def counted(self, messages: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
        async for message in messages:
            self.add(message)
            yield message
