from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import pytest
from conformance_service import NAME, SERVICE
from fake_runner import RecordingTracing
from google.protobuf.struct_pb2 import Struct
from google.rpc import code_pb2
from played_call import PlayedCall

from gateway.errors import InvalidRequest, Unauthenticated
from gateway.security.client import Client, ClientKind, known_client
from gateway.transport.call import Call
from gateway.transport.guarding import Guard
from gateway.transport.rpc import RpcFailed
from gateway.transport.rpcs import Rpcs

METHODS = ("Unary", "ClientStream", "ServerStream", "BidiStream")
GARBAGE = b"\xff\xff"
DATA = Struct().SerializeToString()
PERMITTED = frozenset(f"{NAME}/{method}" for method in METHODS)


class FakeAuthenticator:
    """Believes what calls say; ``new-…`` only once it has looked for new keys."""

    refused_calls = 0

    def __init__(self) -> None:
        self.looked = 0

    def client(self, call: PlayedCall) -> Client | None:
        if call.who.startswith("new-"):
            return None
        return self._client(call.who)

    async def client_with_new_keys(self, call: PlayedCall) -> Client:
        self.looked += 1
        return self._client(call.who.removeprefix("new-"))

    @staticmethod
    def _client(who: str) -> Client:
        if who not in ("friend", "stranger"):
            raise Unauthenticated
        permitted = PERMITTED if who == "friend" else frozenset()
        return known_client(ClientKind.KEY, who, permitted)


class Servicer:
    """Answers with what came, and remembers who asked."""

    def __init__(self) -> None:
        self.clients: list[Client | None] = []

    async def Unary(self, request: Struct, call: Call) -> Struct:  # noqa: N802
        self.clients.append(call.client)
        return request

    async def ClientStream(self, requests: AsyncIterator[Any], call: Call) -> Struct:  # noqa: N802
        async for request in requests:
            await self.Unary(request, call)
        return Struct()

    async def ServerStream(self, request: Struct, call: Call) -> AsyncGenerator[Struct]:  # noqa: N802
        yield await self.Unary(request, call)

    async def BidiStream(self, requests: Any, call: Call) -> AsyncGenerator[Struct]:  # noqa: N802
        async for request in requests:
            yield await self.Unary(request, call)


class Served:
    """A guarded table of RPCs."""

    def __init__(self, **options: bool) -> None:
        self.servicer, self.tracing = Servicer(), RecordingTracing()
        self.authenticator: Any = FakeAuthenticator()
        rpcs = Rpcs(self.tracing, Guard(self.authenticator))  # type: ignore[arg-type]
        rpcs.add_service(SERVICE, self.servicer, **options)
        self.table = rpcs.table

    async def ask(
        self, method: str, who: str, data: bytes = DATA, look: bool | None = None
    ) -> list[bytes]:
        """Call; if ``look`` is given, look at the headers first, and expect that to be found."""
        rpc = self.table[f"/{NAME}/{method}"]
        call = PlayedCall(who=who)
        if look is not None:
            assert rpc.look is not None
            assert await rpc.look(call) is look
            data = data if look else b""
        if not rpc.streaming:
            return [await rpc.answer(data, call)]

        async def messages() -> AsyncGenerator[bytes]:
            yield data

        return [one async for one in rpc.answer(messages(), call)]


@pytest.fixture
async def served() -> Served:
    return Served()


@pytest.mark.parametrize("who", ["friend", "new-friend"])
@pytest.mark.parametrize("method", METHODS)
async def test_who_may_call_is_let_in_and_known_to_servicer_and_trace(
    served: Served, method: str, who: str
) -> None:
    assert len(await served.ask(method, who)) == 1
    assert [client and client.id for client in served.servicer.clients] == ["key:friend"]
    (trace,) = served.tracing.calls
    assert trace.attributes["enduser.id"] == "key:friend"
    assert served.authenticator.looked == who.startswith("new-")


@pytest.mark.parametrize(
    ("who", "code"),
    [
        ("", code_pb2.UNAUTHENTICATED),
        ("new-x", code_pb2.UNAUTHENTICATED),
        ("stranger", code_pb2.PERMISSION_DENIED),
        ("new-stranger", code_pb2.PERMISSION_DENIED),
    ],
)
@pytest.mark.parametrize("method", METHODS)
async def test_all_others_are_refused_before_anything_is_parsed(
    served: Served, method: str, who: str, code: int
) -> None:
    with pytest.raises(RpcFailed) as failed:
        await served.ask(method, who, GARBAGE)
    assert failed.value.status.code == code
    assert served.servicer.clients == []
    assert [trace.codes for trace in served.tracing.calls] == [[code]]


@pytest.mark.parametrize("method", METHODS)
async def test_what_was_found_by_the_headers_is_not_looked_for_again(
    served: Served, method: str
) -> None:
    asked: list[str] = []
    tell = served.authenticator.client
    served.authenticator.client = lambda call: asked.append(call.who) or tell(call)
    assert len(await served.ask(method, "friend", look=True)) == 1
    assert [client and client.id for client in served.servicer.clients] == ["key:friend"]
    for who, code in (
        ("", code_pb2.UNAUTHENTICATED),
        ("new-x", code_pb2.UNAUTHENTICATED),
        ("new-stranger", code_pb2.PERMISSION_DENIED),
    ):
        with pytest.raises(RpcFailed) as failed:
            await served.ask(method, who, look=False)
        assert failed.value.status.code == code
    assert asked == ["friend", "", "new-x", "new-stranger"]
    assert len(served.servicer.clients) == 1
    assert len(served.tracing.calls) == 4  # those that are refused have a trace too


@pytest.mark.parametrize("method", METHODS)
async def test_infrastructure_asks_who_it_is_and_no_permission(method: str) -> None:
    served = Served(infrastructure=True)
    await served.ask(method, "stranger")
    with pytest.raises(RpcFailed) as failed:
        await served.ask(method, "")
    assert failed.value.status.code == code_pb2.UNAUTHENTICATED


@pytest.mark.parametrize("method", METHODS)
async def test_what_is_open_to_all_asks_nobody(method: str) -> None:
    served = Served(infrastructure=True, open_to_all=True)
    assert served.table[f"/{NAME}/{method}"].look is None
    await served.ask(method, "")
    assert served.servicer.clients == [None]


async def test_what_cannot_be_parsed_is_the_fault_of_whoever_may_call(served: Served) -> None:
    with pytest.raises(RpcFailed) as failed:
        await served.ask("Unary", "friend", GARBAGE)
    assert failed.value.status.code == code_pb2.INVALID_ARGUMENT


async def test_an_element_that_cannot_be_parsed_comes_to_the_servicer_as_its_error(
    served: Served,
) -> None:
    seen: list[Any] = []

    async def take(requests: Any, call: Call) -> AsyncGenerator[Struct]:
        seen.extend([request async for request in requests])
        yield Struct()

    served.servicer.BidiStream = take  # type: ignore[method-assign]
    rpcs = Rpcs(RecordingTracing(), Guard(served.authenticator))  # type: ignore[arg-type]
    rpcs.add_service(SERVICE, served.servicer)
    served.table = rpcs.table
    await served.ask("BidiStream", "friend", GARBAGE)
    assert [type(one) for one in seen] == [InvalidRequest]


@pytest.mark.parametrize(
    ("then", "code"),
    [
        ("", code_pb2.UNAUTHENTICATED),
        ("new-x", code_pb2.UNAUTHENTICATED),
        ("stranger", code_pb2.PERMISSION_DENIED),
    ],
)
@pytest.mark.parametrize("method", ["BidiStream", "ClientStream"])
async def test_a_stream_ends_soon_after_its_credentials_hold_no_more(
    served: Served, method: str, then: str, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rpc = served.table[f"/{NAME}/{method}"]
    call = PlayedCall(who="friend")

    async def messages() -> AsyncGenerator[bytes]:
        yield DATA
        call.who = then
        yield DATA  # within the few seconds in which nobody looks again
        monkeypatch.setattr("gateway.transport.guarding.LOOK_AGAIN_S", 0)
        yield DATA

    with pytest.raises(RpcFailed) as failed:
        async for _ in rpc.answer(messages(), call):
            pass
    assert failed.value.status.code == code
    assert len(served.servicer.clients) == 2


async def test_a_stream_whose_credentials_hold_goes_on(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.transport.guarding.LOOK_AGAIN_S", 0)
    rpc = served.table[f"/{NAME}/BidiStream"]
    call = PlayedCall(who="friend")

    async def messages() -> AsyncGenerator[bytes]:
        for who in ("friend", "new-friend", "friend"):
            call.who = who
            yield DATA

    assert len([one async for one in rpc.answer(messages(), call)]) == 3
