"""The server that the conformance suite calls, as a process, on either transport.

It serves what a gateway serves, from a runner without Triton, and one service more whose RPCs do
what their request says.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from conformance_service import SERVICE
from fake_runner import FakeRunner, RecordingTracing
from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import Struct
from google.rpc import status_pb2

from gateway.auditing import writing_down
from gateway.connecting import protection_of
from gateway.protecting import guarding
from gateway.settings import Settings, load_settings
from gateway.supervising.racing import first
from gateway.supervising.signals import StopSignals
from gateway.telemetry.building import build_tracing
from gateway.transport.call import Call
from gateway.transport.protection import Protection
from gateway.transport.rpc import RpcFailed
from gateway.transport.services import Services, build_services

MAX_MESSAGE_BYTES = 1024 * 1024
GRACE_S = 10.0
NAME = os.environ.get("CONFORMANCE_NAME", "")


class ConformanceServicer:
    """Does what requests say; see :meth:`_obey`."""

    def __init__(self, runner: FakeRunner, tracing: RecordingTracing) -> None:
        self._runner = runner
        self._serving = runner.states
        self._tracing = tracing
        self._events: dict[str, asyncio.Event] = defaultdict(asyncio.Event)

    async def Unary(self, request: Struct, call: Call) -> Struct:
        return await self._obey(asked(request), call)

    async def ClientStream(self, requests: AsyncIterator[Struct], call: Call) -> Struct:
        values = []
        async for request in requests:
            values.append(asked(request))
            await self._obey(values[-1], call)
        return answer(values=[one.get("value") for one in values])

    async def ServerStream(self, request: Struct, call: Call) -> AsyncGenerator[Struct]:
        wish = asked(request)
        for place in range(int(wish.get("count", 1))):
            yield await self._obey(wish | {"value": place}, call, failing=False)
        await self._obey(wish, call)

    async def BidiStream(
        self, requests: AsyncIterator[Struct], call: Call
    ) -> AsyncGenerator[Struct]:
        async for request in requests:
            yield await self._obey(asked(request), call)

    async def _obey(self, wish: dict[str, Any], call: Call, *, failing: bool = True) -> Struct:
        """Do what is wished for, in the order below; answer with what was seen."""
        name = wish.get("name", "")
        if "reached" in wish:  # wait until a call with this name is being answered, or was ended
            await self._events[wish["reached"]].wait()
        if "serving" in wish:
            serving = wish["serving"]
            self._runner.states = [replace(one, serving=serving) for one in self._serving]
        if wish.get("compress"):
            call.compress()
        call.send_initial(*pairs(wish.get("initial", [])))
        call.send_trailing(*pairs(wish.get("trailing", [])))
        self._events[name].set()
        try:
            await self._wait(wish)
        except asyncio.CancelledError:
            self._events[f"{name} cancelled"].set()
            raise
        if failing and "status" in wish:
            data = base64.b64decode(wish["status"])
            raise RpcFailed(status_pb2.Status.FromString(data))
        return answer(
            value=wish.get("value"),
            server=NAME,
            pid=os.getpid(),
            metadata=[[key, *_shown(value)] for key, value in call.pairs()],
            header=call.metadata.get("single"),
            peer=call.peer(),
            who=call.who(),
            remaining=call.time_remaining(),
            codes=await self._codes(wish["codes_of"]) if "codes_of" in wish else None,
            filler="x" * int(wish.get("filler", 0)),
        )

    async def _wait(self, wish: dict[str, Any]) -> None:
        await asyncio.sleep(wish.get("sleep", 0))
        if "until" in wish:
            await self._events[wish["until"]].wait()

    async def _codes(self, name: str) -> list[int]:
        """With what the calls of a client's name ended."""
        traces = [one for one in self._tracing.calls if one.metadata.get("name") == name]
        for trace in traces:
            await asyncio.wait_for(trace.finished.wait(), 20)
        return [code for trace in traces for code in trace.codes]


def asked(request: Struct) -> dict[str, Any]:
    return dict(MessageToDict(request))


def answer(**values: Any) -> Struct:
    response = Struct()
    response.update(values)
    return response


def pairs(given: list[list[Any]]) -> list[tuple[str, Any]]:
    return [
        (key, base64.b64decode(value) if key.endswith("-bin") else value) for key, value in given
    ]


def _shown(value: str | bytes) -> list[Any]:
    return (
        ["text", value] if isinstance(value, str) else ["bytes", base64.b64encode(value).decode()]
    )


def settings() -> Settings:
    """Those of the test, if it gives any."""
    given = json.loads(os.environ.get("CONFORMANCE_SETTINGS", "{}"))
    usual = {"embedded": True, "traces_file": "", "max_message_bytes": MAX_MESSAGE_BYTES}
    return load_settings(None, usual | given)


def protection() -> Protection:
    return protection_of(settings())


@contextmanager
def writing() -> Iterator[Services]:
    """What is served, as the settings want it to be guarded and written down."""
    given = settings()
    runner = FakeRunner()
    with guarding(given) as guarded, writing_down(given, "test") as audit, ExitStack() as stack:
        tracing: Any = RecordingTracing()
        if given.traces_file is not None:
            tracing = build_tracing(traces_file=given.traces_file)
            stack.callback(tracing.shutdown)
        served = build_services(
            runner,  # type: ignore[arg-type]
            tracing,
            health_poll_s=0.01,
            reflection_enabled=given.reflection,
            guard=guarded.guard if guarded is not None else None,
            auditing=audit.auditing if audit is not None else None,
        )
        if guarded is None:
            served.rpcs.add_service(SERVICE, ConformanceServicer(runner, tracing))
        yield served


def say_listening() -> None:
    os.write(sys.stdout.fileno(), b"listening\n")


async def serve_grpc(listen: str) -> None:
    with writing() as served:
        await run_grpc(served, listen)


async def run_grpc(served: Services, listen: str) -> None:
    from gateway.transport.grpc_aio import GrpcServer

    server = GrpcServer(
        served, listen, protection=protection(), reuse_port=True
    )  # fmt: skip
    signals = StopSignals()
    signals.listen()
    await server.start()
    say_listening()
    await signals.asked.wait()
    await first(server.stop(GRACE_S), signals.forced.wait())
    if signals.forced.is_set():
        await server.stop(0)


@asynccontextmanager
async def opening() -> AsyncGenerator[Any]:
    from gateway.transport.envoy_app import Served

    port = int(os.environ["CONFORMANCE_LISTEN"].rpartition(":")[2])
    with writing() as served:
        yield Served(served, protection(), port, GRACE_S, say_listening)


def serve_envoy(listen: str) -> None:
    from gateway.transport.envoy_process import become_envoy

    become_envoy(
        app="conformance_app:app",
        listen=listen,
        folder=Path(sys.argv[3]),
        protection=protection(),
        environment=os.environ | {"CONFORMANCE_LISTEN": listen},
    )


def _app() -> Callable[..., Any]:
    from gateway.transport.envoy_app import build_app

    return build_app(opening)


if __name__ == "__main__":
    transport, address = sys.argv[1:3]
    if transport == "envoy":
        serve_envoy(address)
    asyncio.run(serve_grpc(address))
elif "CONFORMANCE_LISTEN" in os.environ:
    app = _app()
