from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from fake_triton import rpc_error
from tritonclient.grpc import service_pb2

from gateway.triton.shared_memory import SharedMemory
from gateway.triton.tensors import arrays_to_request

LARGE = np.arange(256, dtype=np.float32).reshape(1, 256)  # 1024 bytes
SMALL = np.ones((1, 4), np.float32)
WORDS = np.array([[b"x" * 2000]], object)


class OneHost:
    """A Triton on this machine: maps what is registered, and answers what it was sent."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.regions: dict[str, Any] = {}
        self.registered: list[str] = []
        self.error: BaseException | None = None
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.by_memory = 0

    async def register(self, name: str, key: str, size: int) -> None:
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        assert key == f"/{name}"
        self.registered.append(name)
        # A mapping, as Triton has: it stays when the name goes.
        self.regions[name] = np.memmap(self.folder / name, np.uint8, "r", shape=(size,))

    async def unregister(self, name: str) -> None:
        if self.error is not None:
            raise self.error
        del self.regions[name]

    async def send(self, request: service_pb2.ModelInferRequest) -> Any:
        await self.may_answer.wait()
        raw = iter(request.raw_input_contents)
        contents = []
        for one in request.inputs:
            if "shared_memory_region" not in one.parameters:
                contents.append(next(raw))
                continue
            name = one.parameters["shared_memory_region"].string_param
            if name not in self.regions:
                raise rpc_error(
                    grpc.StatusCode.INVALID_ARGUMENT,
                    f"Unable to find shared memory region: '{name}'",
                )
            start = one.parameters["shared_memory_offset"].int64_param
            size = one.parameters["shared_memory_byte_size"].int64_param
            contents.append(self.regions[name][start : start + size].tobytes())
            self.by_memory += 1
        assert next(raw, None) is None
        return contents


@pytest.fixture
def triton(tmp_path: Path) -> OneHost:
    return OneHost(tmp_path)


def shared(triton: OneHost, **options: Any) -> SharedMemory:
    sizes = {"least_bytes": 1024, "region_bytes": 8192, "regions": 2} | options
    return SharedMemory(triton.register, triton.unregister, folder=triton.folder, **sizes)


def request(**arrays: Any) -> service_pb2.ModelInferRequest:
    return arrays_to_request("m", arrays, ["y"], "id")


async def infer(memory: SharedMemory, triton: OneHost, **arrays: Any) -> Any:
    asked = request(**arrays)
    before = asked.SerializeToString(deterministic=True)
    answer = await memory.infer(asked, triton.send)
    assert asked.SerializeToString(deterministic=True) == before
    return answer


async def test_large_tensors_go_by_memory_and_the_others_as_ever(triton: OneHost) -> None:
    memory = shared(triton)
    other = LARGE + 1000
    answer = await infer(memory, triton, a=SMALL, b=LARGE, c=WORDS, d=other)
    assert answer[0] == SMALL.tobytes()
    assert answer[1] == LARGE.tobytes()
    assert answer[2][4:] == WORDS[0, 0]
    assert answer[3] == other.tobytes()
    assert triton.by_memory == 2


async def test_the_request_keeps_all_else_that_it_says(triton: OneHost) -> None:
    seen: list[service_pb2.ModelInferRequest] = []

    async def send(one: service_pb2.ModelInferRequest) -> Any:
        seen.append(one)

    asked = request(a=LARGE)
    asked.parameters["priority"].int64_param = 3
    await shared(triton).infer(asked, send)
    (sent,) = seen
    assert (sent.model_name, sent.id, sent.outputs[0].name) == ("m", "id", "y")
    assert sent.parameters["priority"].int64_param == 3
    assert list(sent.inputs[0].shape) == [1, 256]
    assert not sent.raw_input_contents


@pytest.mark.parametrize(
    ("arrays", "why"),
    [
        ({"a": SMALL}, "it is small"),
        ({"a": WORDS}, "strings"),
        ({"a": np.zeros((1, 4096), np.float32)}, "it is larger than a region"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_some_requests_are_sent_as_they_are(arrays: Any, why: str, triton: OneHost) -> None:
    await infer(shared(triton), triton, **arrays)
    assert triton.registered == [], why


async def test_a_region_is_registered_once_and_its_name_is_gone_at_once(triton: OneHost) -> None:
    memory = shared(triton)
    for number in range(5):
        answer = await infer(memory, triton, a=LARGE + number)
        assert answer == [(LARGE + number).tobytes()]
    assert len(triton.registered) == 1
    assert list(triton.folder.iterdir()) == []


async def test_calls_at_a_time_have_a_region_each_and_one_too_many_goes_without(
    triton: OneHost,
) -> None:
    memory = shared(triton)
    triton.may_answer.clear()
    calls = [asyncio.create_task(infer(memory, triton, a=LARGE + n)) for n in range(4)]
    for _ in range(20):
        await asyncio.sleep(0)
    triton.may_answer.set()
    answers = await asyncio.gather(*calls)
    assert answers == [[(LARGE + n).tobytes()] for n in range(4)]
    assert (len(triton.registered), triton.by_memory) == (2, 2)


async def test_a_call_that_fails_or_is_cancelled_gives_its_region_back(triton: OneHost) -> None:
    memory = shared(triton, regions=1)

    async def fail(one: service_pb2.ModelInferRequest) -> Any:
        raise rpc_error(grpc.StatusCode.INTERNAL, "torn")

    for _ in range(3):
        with pytest.raises(grpc.RpcError):
            await memory.infer(request(a=LARGE), fail)
    triton.may_answer.clear()
    call = asyncio.create_task(infer(memory, triton, a=LARGE))
    await asyncio.sleep(0)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    triton.may_answer.set()
    assert await infer(memory, triton, a=LARGE + 1) == [(LARGE + 1).tobytes()]
    assert (len(triton.registered), triton.by_memory) == (1, 1)


async def test_after_a_restart_of_triton_a_new_region_is_registered(triton: OneHost) -> None:
    memory = shared(triton)
    await infer(memory, triton, a=LARGE)
    triton.regions.clear()
    assert await infer(memory, triton, a=LARGE + 1) == [(LARGE + 1).tobytes()]
    assert len(set(triton.registered)) == 2
    assert list(triton.folder.iterdir()) == []


async def test_a_triton_that_cannot_map_it_is_not_asked_again(
    triton: OneHost, caplog: pytest.LogCaptureFixture
) -> None:
    triton.error = rpc_error(grpc.StatusCode.INVALID_ARGUMENT, "no such region")
    memory = shared(triton)
    for _ in range(2):
        assert await infer(memory, triton, a=LARGE) == [LARGE.tobytes()]
    assert caplog.text.count("without shared memory: no such region") == 1
    assert list(triton.folder.iterdir()) == []


async def test_a_triton_that_is_away_is_asked_again(triton: OneHost) -> None:
    triton.error = rpc_error(grpc.StatusCode.UNAVAILABLE)
    memory = shared(triton)
    assert await infer(memory, triton, a=LARGE) == [LARGE.tobytes()]
    triton.error = None
    await infer(memory, triton, a=LARGE)
    assert triton.by_memory == 1


async def test_a_registration_that_is_cancelled_leaves_nothing(triton: OneHost) -> None:
    memory = shared(triton, regions=1)
    triton.error = asyncio.CancelledError()
    with pytest.raises(asyncio.CancelledError):
        await infer(memory, triton, a=LARGE)
    assert list(triton.folder.iterdir()) == []
    triton.error = None
    await infer(memory, triton, a=LARGE)
    assert triton.by_memory == 1


async def test_no_memory_at_all_is_no_reason_to_fail(triton: OneHost, tmp_path: Path) -> None:
    memory = SharedMemory(
        triton.register, triton.unregister, least_bytes=1, folder=tmp_path / "missing"
    )
    assert await infer(memory, triton, a=LARGE) == [LARGE.tobytes()]


async def test_after_closing_requests_are_sent_as_they_are(triton: OneHost) -> None:
    memory = shared(triton)
    await infer(memory, triton, a=LARGE)
    await memory.close()
    assert triton.regions == {}
    assert await infer(memory, triton, a=LARGE) == [LARGE.tobytes()]
    assert triton.by_memory == 1


async def test_closing_leaves_to_triton_what_it_may_still_read(triton: OneHost) -> None:
    memory = shared(triton)
    triton.may_answer.clear()
    call = asyncio.create_task(infer(memory, triton, a=LARGE))
    for _ in range(20):
        await asyncio.sleep(0)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    await memory.close()
    assert len(triton.regions) == 1


async def test_closing_does_not_mind_that_triton_is_gone(triton: OneHost) -> None:
    memory = shared(triton)
    await infer(memory, triton, a=LARGE)
    triton.error = rpc_error(grpc.StatusCode.UNAVAILABLE)
    await memory.close()
