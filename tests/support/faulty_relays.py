"""What stands between a gateway and a real Triton, and does it harm when it is told to."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Awaitable, Callable
from typing import Any, Literal, Self

import grpc
from tritonclient.grpc import service_pb2

_INFER = "/inference.GRPCInferenceService/ModelInfer"
_START_S = 10


class _InThread:
    """Runs an event loop in a thread until it is left."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def do(self, what: Awaitable[Any]) -> Any:
        async def doing() -> Any:
            return await what

        return asyncio.run_coroutine_threadsafe(doing(), self.loop).result(_START_S)

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(_START_S)
        self.loop.close()


class _Relay:
    """Relays while its context lasts, on the event loop of a thread of its own.

    Attributes:
        target: Where clients connect.
    """

    def __init__(self) -> None:
        self.target = ""
        self._thread = _InThread()

    def __enter__(self) -> Self:
        self._thread.do(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.do(self._stop())
        self._thread.stop()

    async def _start(self) -> None:
        raise NotImplementedError

    async def _stop(self) -> None:
        raise NotImplementedError


Harm = Literal["none", "slow", "wrong", "mute", "garbage"]


class InferenceRelay(_Relay):
    """Passes every gRPC call on; inferences as ``harm`` says. Use it as a context manager.

    Args:
        triton: The address of the real one.

    Attributes:
        harm: ``slow``: an answer takes ``delay_s`` longer; ``wrong``: outputs have an axis more;
            ``mute``: no answer comes; ``garbage``: the answer is no message.
    """

    def __init__(self, triton: str) -> None:
        super().__init__()
        self.harm: Harm = "none"
        self.delay_s = 0.0
        self._triton = triton

    async def _start(self) -> None:
        options = [("grpc.max_receive_message_length", -1)]
        self._channel = grpc.aio.insecure_channel(self._triton, options=options)
        self._server = grpc.aio.server(options=options)
        self._server.add_generic_rpc_handlers((_Everything(self._pass),))
        self.target = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        await self._server.start()

    async def _stop(self) -> None:
        await self._server.stop(0)
        await self._channel.close()

    async def _pass(self, method: str, data: bytes, context: Any) -> bytes:
        harm = self.harm if method == _INFER else "none"
        if harm == "mute":
            await asyncio.Event().wait()
        if harm == "slow":
            await asyncio.sleep(self.delay_s)
        try:
            answer = await self._channel.unary_unary(method)(data, timeout=60)
        except grpc.RpcError as error:
            await context.abort(error.code(), error.details())
        if harm == "garbage":
            return b"\xff" * 40
        return _with_an_axis_more(answer) if harm == "wrong" else answer  # type: ignore[no-any-return]


class _Everything(grpc.GenericRpcHandler):  # type: ignore[type-arg]
    def __init__(self, answer: Callable[[str, bytes, Any], Awaitable[bytes]]) -> None:
        self._answer = answer

    def service(self, handler_call_details: Any) -> Any:
        method = handler_call_details.method

        async def handle(data: bytes, context: Any) -> bytes:
            return await self._answer(method, data, context)

        return grpc.unary_unary_rpc_method_handler(handle)


def _with_an_axis_more(answer: bytes) -> bytes:
    response = service_pb2.ModelInferResponse.FromString(answer)
    for output in response.outputs:
        output.shape.append(1)
    return response.SerializeToString()


class ConnectionRelay(_Relay):
    """Passes bytes on, or resets connections, or is silent. Use it as a context manager.

    Attributes:
        harm: ``reset``: every connection is reset, those that come too; ``silent``: they stay, and
            nothing passes.
    """

    def __init__(self, triton: str) -> None:
        super().__init__()
        host, _, port = triton.rpartition(":")
        self._triton = host, int(port)
        self._harm: Literal["none", "reset", "silent"] = "none"
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def harm(self) -> str:
        return self._harm

    @harm.setter
    def harm(self, harm: Literal["none", "reset", "silent"]) -> None:
        self._harm = harm
        if harm == "reset":
            self._thread.do(self._reset_all())

    async def _start(self) -> None:
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        self.target = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _stop(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _reset_all(self) -> None:
        for writer in self._writers:
            _reset(writer)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if self._harm == "reset":
            _reset(writer)
            return
        try:
            there, back = await asyncio.open_connection(*self._triton)
        except OSError:
            _reset(writer)
            return
        self._writers |= {writer, back}
        try:
            await asyncio.gather(self._pass(reader, back), self._pass(there, writer))
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._writers -= {writer, back}
            for one in (writer, back):
                one.transport.abort()

    async def _pass(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            while self._harm == "silent":
                await asyncio.sleep(0.05)
            sink.write(data)
            await sink.drain()
        raise OSError("closed")


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close a connection so that the other side is told by RST."""
    raw = writer.get_extra_info("socket")
    if raw is not None:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
