"""Large tensors by system shared memory, where Triton runs on the same machine.

A tensor then is written once, to memory that Triton has mapped, and only its place goes over the
connection. Memory comes from a few regions that are registered once and used again and again. A
region's name is removed as soon as Triton has mapped it, so that nothing is left in ``/dev/shm``
however the gateway ends; when Triton was restarted, a new region takes its place.

A region is used again also after a call that failed or was abandoned. Triton may still read the
old call's tensor then and see the next one's numbers, but nobody waits for that answer any more.
"""

from __future__ import annotations

import itertools
import logging
import mmap
import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path

import grpc
from tritonclient.grpc import service_pb2

_log = logging.getLogger(__name__)

FOLDER = Path("/dev/shm")
_ALIGNMENT = 64
_numbers = itertools.count(1)

Register = Callable[[str, str, int], Awaitable[None]]
"""Registers a region with Triton: its name, its key (``/name``) and its size in bytes."""

Unregister = Callable[[str], Awaitable[None]]
"""Has Triton give a region's mapping back, by its name."""

Send = Callable[[service_pb2.ModelInferRequest], Awaitable[service_pb2.ModelInferResponse]]


class SharedMemory:
    """The regions shared with one Triton; for one event loop.

    Args:
        register: Registers a region with that Triton.
        unregister: Ends that.
        least_bytes: Smaller tensors travel as ever.
        region_bytes: Size of a region; a call whose large tensors do not fit travels as ever.
            Memory that was never written takes no room.
        regions: Calls that have a region at a time; one more travels as ever.
        folder: Where the machine's shared memory is.
    """

    def __init__(
        self,
        register: Register,
        unregister: Unregister,
        *,
        least_bytes: int,
        region_bytes: int = 64 * 1024 * 1024,
        regions: int = 8,
        folder: Path = FOLDER,
    ) -> None:
        self._register = register
        self._unregister = unregister
        self._least_bytes = least_bytes
        self._region_bytes = region_bytes
        self._folder = folder
        self._free: list[_Region | None] = [None] * regions
        self._usable = True

    async def infer(
        self, request: service_pb2.ModelInferRequest, send: Send
    ) -> service_pb2.ModelInferResponse:
        """Send a request, its large tensors by shared memory where that is possible.

        Raises:
            grpc.RpcError: As ``send`` does.
        """
        places = self._large(request)
        if not places or not self._free or not self._usable:
            return await send(request)
        region = self._free.pop()
        try:
            if region is None:
                region = await self._new()
            if region is None:
                return await send(request)
            try:
                return await _send(send, region, request, places)
            except grpc.RpcError as error:
                if region.name not in (error.details() or ""):
                    raise
                # Triton knows it no more: it was restarted since.
                region.close()
                region = await self._new()
                if region is None:
                    return await send(request)
                return await _send(send, region, request, places)
        finally:
            self._free.append(region)

    async def close(self) -> None:
        """Give the memory back, when no call is in flight any more."""
        self._usable = False
        regions = [region for region in self._free if region is not None]
        self._free.clear()
        for region in regions:
            region.close()
            if not region.abandoned:
                with suppress(grpc.RpcError):  # Triton may be gone, and its mapping with it
                    await self._unregister(region.name)

    def _large(self, request: service_pb2.ModelInferRequest) -> list[int]:
        """Return the places of the tensors that go by shared memory, if they fit into a region.

        Never strings: numbers that change under an abandoned call do no harm, lengths could.
        """
        raw = request.raw_input_contents
        if len(raw) != len(request.inputs):
            return []
        places = [
            place
            for place, content in enumerate(raw)
            if len(content) >= self._least_bytes and request.inputs[place].datatype != "BYTES"
        ]
        size = sum(_aligned(len(raw[place])) for place in places)
        return places if size <= self._region_bytes else []

    async def _new(self) -> _Region | None:
        """Return a region that Triton has mapped, or ``None`` if it cannot."""
        try:
            region = _Region(self._folder, self._region_bytes)
        except OSError as error:
            self._give_up(error)
            return None
        try:
            await self._register(region.name, f"/{region.name}", self._region_bytes)
        except grpc.RpcError as error:
            region.close()
            if error.code() != grpc.StatusCode.UNAVAILABLE:
                self._give_up(error.details())
            return None
        except BaseException:
            region.close()
            raise
        finally:
            region.remove_name()
        return region

    def _give_up(self, reason: object) -> None:
        self._usable = False
        _log.warning("Tensors go to Triton without shared memory: %s", reason)


async def _send(
    send: Send,
    region: _Region,
    request: service_pb2.ModelInferRequest,
    places: Sequence[int],
) -> service_pb2.ModelInferResponse:
    region.abandoned = True  # until there is an answer
    answer = await send(region.hold(request, places))
    region.abandoned = False
    return answer


class _Region:
    """A piece of shared memory; it has a name until :meth:`remove_name`."""

    abandoned = False
    """Whether Triton may still read it for a call that nobody waits for: then it must not be
    taken from under Triton."""

    def __init__(self, folder: Path, size: int) -> None:
        self.name = f"trident_{os.getpid()}_tensors_{next(_numbers)}"
        self._path = folder / self.name
        descriptor = os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        try:
            os.ftruncate(descriptor, size)
            self._memory = mmap.mmap(descriptor, size)
        except BaseException:
            self.remove_name()
            raise
        finally:
            os.close(descriptor)

    def hold(
        self, request: service_pb2.ModelInferRequest, places: Sequence[int]
    ) -> service_pb2.ModelInferRequest:
        """Write some tensors of a request here; return the request that says where they are."""
        held = service_pb2.ModelInferRequest(
            model_name=request.model_name,
            model_version=request.model_version,
            id=request.id,
            parameters=request.parameters,
            inputs=request.inputs,
            outputs=request.outputs,
        )
        offset = 0
        for place, content in enumerate(request.raw_input_contents):
            if place not in places:
                held.raw_input_contents.append(content)
                continue
            self._memory[offset : offset + len(content)] = content
            parameters = held.inputs[place].parameters
            parameters["shared_memory_region"].string_param = self.name
            parameters["shared_memory_byte_size"].int64_param = len(content)
            parameters["shared_memory_offset"].int64_param = offset
            offset += _aligned(len(content))
        return held

    def remove_name(self) -> None:
        self._path.unlink(missing_ok=True)

    def close(self) -> None:
        self._memory.close()


def _aligned(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT
