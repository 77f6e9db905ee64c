"""Unary calls and streams, and that every answer reaches its own caller."""

from __future__ import annotations

import asyncio
import random
from queue import SimpleQueue
from typing import Any

import grpc
import pytest
from conformance_service import NAME
from google.protobuf.struct_pb2 import Struct
from served_process import CALL_S, Client, ServedProcess, seen, struct, structs

CALLS = 4000


def test_a_unary_call_is_answered(client: Client) -> None:
    assert client.unary(value="a")["value"] == "a"


def test_an_empty_message_is_a_message(client: Client) -> None:
    assert client.unary()["value"] is None


def test_a_client_stream_has_one_answer(client: Client) -> None:
    wishes = [{"value": place} for place in range(100)]
    answer = client.call["ClientStream"](structs(wishes), timeout=CALL_S)
    assert seen(answer)["values"] == list(range(100))


def test_an_empty_client_stream_has_one_answer(client: Client) -> None:
    assert seen(client.call["ClientStream"](structs([]), timeout=CALL_S))["values"] == []


def test_a_server_stream_has_many_answers_in_order(client: Client) -> None:
    answers = client.call["ServerStream"](struct(count=500), timeout=CALL_S)
    assert [seen(one)["value"] for one in answers] == list(range(500))


def test_a_server_stream_may_have_no_answer(client: Client) -> None:
    assert list(client.call["ServerStream"](struct(count=0), timeout=CALL_S)) == []


def test_a_bidirectional_stream_answers_each_message(client: Client) -> None:
    wishes = [{"value": place} for place in range(500)]
    answers = client.call["BidiStream"](structs(wishes), timeout=CALL_S)
    assert [seen(one)["value"] for one in answers] == list(range(500))


def test_an_answer_comes_before_the_client_ends_its_stream(client: Client) -> None:
    asked: SimpleQueue[Struct | None] = SimpleQueue()
    answers = client.call["BidiStream"](iter(asked.get, None), timeout=CALL_S)
    for value in ("a", "b", "c"):
        asked.put(struct(value=value))
        assert seen(next(answers))["value"] == value
    asked.put(None)
    assert list(answers) == []


@pytest.mark.parametrize("size", [1, 16_000, 70_000, 900_000])
def test_messages_of_any_size_come_whole(client: Client, size: int) -> None:
    assert len(client.unary(filler=size)["filler"]) == size
    assert client.unary(value="y" * size)["value"] == "y" * size
    wishes = [{"value": f"{place}" + "z" * size} for place in range(5)]
    answers = client.call["BidiStream"](structs(wishes), timeout=CALL_S)
    assert [seen(one)["value"] for one in answers] == [one["value"] for one in wishes]


def test_a_server_that_reads_slowly_holds_its_client_back(client: Client) -> None:
    sent = []

    def wishes() -> Any:
        yield struct(until="read on", name="slow")
        for value in range(200):
            sent.append(value)
            yield struct(value="x" * 100_000)

    answers = client.call["BidiStream"](wishes(), timeout=CALL_S)
    client.unary(reached="slow")
    client.unary(name="a moment", sleep=0.3)
    assert len(sent) < 200
    client.unary(name="read on")
    assert len(list(answers)) == 201


def test_a_client_that_reads_slowly_loses_nothing(client: Client) -> None:
    answers = client.call["ServerStream"](struct(count=200, filler=100_000), timeout=CALL_S)
    next(answers)
    client.unary(sleep=0.3)
    assert [seen(one)["value"] for one in answers] == list(range(1, 200))


def test_a_method_that_is_not_there_is_unimplemented(client: Client) -> None:
    for path in (f"/{NAME}/Nothing", "/trident.nothing.v1.NothingService/Unary", "/"):
        with pytest.raises(grpc.RpcError) as raised:
            client.channel.unary_unary(path)(b"", timeout=CALL_S)
        assert raised.value.code() == grpc.StatusCode.UNIMPLEMENTED


async def test_thousands_of_calls_at_once_get_their_own_answers(server: ServedProcess) -> None:
    async with grpc.aio.insecure_channel(server.target) as channel:
        call = channel.unary_unary(
            f"/{NAME}/Unary", request_serializer=Struct.SerializeToString,
            response_deserializer=Struct.FromString,
        )  # fmt: skip
        chance = random.Random(7)

        async def ask(value: int) -> bool:
            wish = struct(value=value, sleep=chance.random() / 5, filler=value % 300)
            answer = seen(await call(wish, timeout=60))
            return answer["value"] == value and len(answer["filler"]) == value % 300

        assert all(await asyncio.gather(*map(ask, range(CALLS))))


async def test_streams_at_once_get_their_own_answers(server: ServedProcess) -> None:
    async with grpc.aio.insecure_channel(server.target) as channel:
        call = channel.stream_stream(
            f"/{NAME}/BidiStream", request_serializer=Struct.SerializeToString,
            response_deserializer=Struct.FromString,
        )  # fmt: skip

        async def ask(stream: int) -> bool:
            values = [f"{stream} {place}" for place in range(20)]
            answers = call(iter([struct(value=value) for value in values]), timeout=60)
            return [seen(one)["value"] async for one in answers] == values

        assert all(await asyncio.gather(*map(ask, range(100))))
