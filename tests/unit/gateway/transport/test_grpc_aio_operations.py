from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from typing import Any

import grpc
import pytest

from gateway.transport.grpc_aio_messages import Context
from gateway.transport.grpc_aio_operations import to_its_end
from gateway.transport.grpc_aio_rpc import RpcHandlers
from gateway.transport.rpc import Rpc


class Operation:
    """Waits for futures one after the other, as grpc's do for batches, and notes how it ended."""

    def __init__(self, futures: int = 1) -> None:
        loop = asyncio.get_running_loop()
        self.futures = [loop.create_future() for _ in range(futures)]
        self.ended: list[object] = []

    async def run(self) -> list[object]:
        try:
            answers = [await future for future in self.futures]
        except BaseException as error:
            self.ended.append(error)
            raise
        self.ended.append("done")
        return answers


async def turns(count: int = 5) -> None:
    """Let everything run that can."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_what_an_operation_gives_is_given() -> None:
    operation = Operation(futures=2)
    task = asyncio.create_task(to_its_end(operation.run()))
    await turns()
    for answer, future in enumerate(operation.futures):
        future.set_result(answer)
        await turns()
    assert await task == [0, 1]


async def test_one_that_need_not_wait_is_not_waited_for() -> None:
    assert await to_its_end(Operation(futures=0).run()) == []


async def test_what_an_operation_raises_is_raised() -> None:
    operation = Operation()
    task = asyncio.create_task(to_its_end(operation.run()))
    await turns()
    operation.futures[0].set_exception(KeyError("no"))
    with pytest.raises(KeyError, match="no"):
        await task


async def test_one_that_failed_with_grpc_comes_to_its_end_too_and_then_the_failure_is_raised() -> (
    None
):
    operation = Operation(futures=2)
    task = asyncio.create_task(to_its_end(operation.run()))
    await turns()
    operation.futures[0].set_exception(grpc.aio.InternalError("the client has gone"))
    await turns()
    assert operation.ended == []
    operation.futures[1].set_result(1)
    with pytest.raises(grpc.aio.InternalError, match="the client has gone"):
        await task
    assert operation.ended == ["done"]


@pytest.mark.parametrize("while_awaited", [True, False])
async def test_one_that_fails_with_grpc_and_nobody_awaits_comes_to_its_end(
    while_awaited: bool,
) -> None:
    operation = Operation()
    task = asyncio.create_task(to_its_end(operation.run()))
    await turns()
    if while_awaited:
        operation.futures[0].set_exception(grpc.aio.InternalError())
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    if not while_awaited:
        operation.futures[0].set_exception(grpc.aio.InternalError())
    await turns()
    assert operation.ended == ["done"]


async def test_a_failure_that_cannot_be_passed_over_is_raised_all_the_same() -> None:
    operation = Operation()
    pure: Any = asyncio.futures._PyFuture  # type: ignore[attr-defined]
    operation.futures[0] = pure(loop=asyncio.get_running_loop())
    task = asyncio.create_task(to_its_end(operation.run()))
    await turns()
    operation.futures[0].set_exception(grpc.aio.InternalError("the client has gone"))
    with pytest.raises(grpc.aio.InternalError, match="the client has gone"):
        await task


async def test_one_whose_future_is_cancelled_is_cancelled() -> None:
    operation = Operation()
    task = asyncio.create_task(to_its_end(operation.run()))
    await turns()
    operation.futures[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("fails", [False, True])
async def test_one_that_nobody_awaits_any_more_comes_to_its_end_all_the_same(fails: bool) -> None:
    operation = Operation(futures=2)
    task = asyncio.create_task(to_its_end(operation.run()))
    await turns()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert operation.ended == []
    operation.futures[0].set_result(0)
    await turns()
    assert operation.ended == []
    last = operation.futures[1]
    error = KeyError("nobody wants to know")
    last.set_exception(error) if fails else last.set_result(1)
    await turns()
    assert operation.ended == [error if fails else "done"]


@pytest.mark.parametrize("cancelled_after", range(4), ids=lambda turns: f"{turns} turns later")
async def test_one_whose_end_and_cancellation_meet_comes_to_its_end_once(
    cancelled_after: int,
) -> None:
    operation = Operation()
    task = asyncio.create_task(to_its_end(operation.run()))
    await turns()
    operation.futures[0].set_result(7)
    await turns(cancelled_after)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await turns()
    assert operation.ended == ["done"]


class SpiedContext:
    """Notes how each operation that it is asked for ends."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.begun = {name: asyncio.Event() for name in ("read", "write")}
        self.ends: list[asyncio.Future[str]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    async def read(self) -> Any:
        return await self._noted("read", self._context.read())

    async def write(self, message: bytes) -> None:
        await self._noted("write", self._context.write(message))

    async def _noted(self, name: str, operation: Awaitable[Any]) -> Any:
        end: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.ends.append(end)
        self.begun[name].set()
        try:
            answer = await operation
        except BaseException as error:
            end.set_result(f"{name}: {type(error).__name__}")
            raise
        end.set_result(f"{name}: done")
        return answer


class SpyingHandlers(grpc.GenericRpcHandler):  # type: ignore[type-arg]
    """Handlers of ours, with a context that notes; ``left`` when the call has been left."""

    def __init__(self, rpc: Rpc) -> None:
        self._inner = RpcHandlers({"/a/B": rpc}, max_metadata_count=10, message_s=0.01)
        self.context: asyncio.Future[SpiedContext] = asyncio.get_running_loop().create_future()
        self.left = asyncio.Event()

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        inner: Any = self._inner.service(details)

        async def spied(data: Any, context: Context) -> Any:
            spy = SpiedContext(context)
            self.context.set_result(spy)
            try:
                return await (inner.stream_unary or inner.stream_stream)(data, spy)
            finally:
                self.left.set()

        if inner.stream_unary:
            return grpc.stream_unary_rpc_method_handler(spied)
        return grpc.stream_stream_rpc_method_handler(spied)


async def _echo(data: bytes, call: object) -> bytes:
    return data


async def _answer_without_end(data: AsyncIterator[bytes], call: object) -> AsyncGenerator[bytes]:
    async for _ in data:
        while True:
            yield 1_000_000 * b"x"


async def _end_early(data: AsyncIterator[bytes], call: object) -> AsyncGenerator[bytes]:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().call_soon(task.cancel)
    async for one in data:
        yield one


@pytest.mark.parametrize(
    ("rpc", "operation"),
    [
        (Rpc(streaming=False, answer=_echo), "read"),
        (Rpc(streaming=True, answer=_end_early), "read"),
        (Rpc(streaming=True, answer=_answer_without_end), "write"),
    ],
    ids=["message that does not come", "stream that is left", "stream that is not read"],
)
async def test_an_operation_comes_to_its_end_after_its_call_was_left(
    rpc: Rpc, operation: str
) -> None:
    server = grpc.aio.server()
    handlers = SpyingHandlers(rpc)
    server.add_generic_rpc_handlers((handlers,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with (
        asyncio.timeout(20),
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        call = channel.stream_stream("/a/B")()
        if operation == "write":
            await call.write(b"more")
        context = await handlers.context
        await context.begun[operation].wait()
        if operation == "write":
            call.cancel()
        await handlers.left.wait()
        call.cancel()
        ends = await asyncio.gather(*context.ends)
    await server.stop(None)
    assert not [end for end in ends if "Cancelled" in end]
    assert f"{operation}: " in ends[-1]
