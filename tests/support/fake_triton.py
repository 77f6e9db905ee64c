"""A Triton in memory, spoken to as ``gateway.triton.client.TritonClient`` is."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping

import grpc
from tritonclient.grpc import model_config_pb2, service_pb2

from triton_models.release import Manifest
from triton_models.signatures import MAX_BATCH_ROWS

Served = tuple[service_pb2.ModelMetadataResponse, model_config_pb2.ModelConfig]


def served(release: Manifest, max_batch_size: int = MAX_BATCH_ROWS) -> Served:
    """What a Triton says that serves exactly this release."""
    metadata = service_pb2.ModelMetadataResponse(name=release.ensemble)
    config = model_config_pb2.ModelConfig(name=release.ensemble, max_batch_size=max_batch_size)
    for tensors, in_metadata, in_config in (
        (release.inputs, metadata.inputs, config.input),
        (release.outputs, metadata.outputs, config.output),
    ):
        for tensor in tensors:
            in_metadata.add(
                name=tensor.name,
                datatype=tensor.data_type,
                shape=[-1, *tensor.dims] if max_batch_size else tensor.dims,
            )
            name = "STRING" if tensor.data_type == "BYTES" else tensor.data_type
            data_type = model_config_pb2.DataType.Value(f"TYPE_{name}")
            in_config.add(name=tensor.name, data_type=data_type, dims=tensor.dims)
    return metadata, config


def rpc_error(code: grpc.StatusCode, details: str = "") -> grpc.aio.AioRpcError:
    """What a call to Triton raises."""
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details)


def models_of(release: Manifest) -> dict[str, Served]:
    """What a Triton without a GPU says of each variant of a release and of its steps."""
    variants = {release.model_of(variant): served(release) for variant in release.variants}
    steps = {
        step.model: (
            service_pb2.ModelMetadataResponse(name=step.model),
            model_config_pb2.ModelConfig(name=step.model),
        )
        for step in release.steps
    }
    for _, config in (*variants.values(), *steps.values()):
        config.instance_group.add(kind=model_config_pb2.ModelInstanceGroup.KIND_CPU)
    return variants | steps


class FakeTriton:
    """Loads what is in its repository; a test changes the attributes.

    Args:
        releases: What is in the repository.
        target: Its address.
    """

    def __init__(self, *releases: Manifest, target: str = "triton:8001") -> None:
        self.target = target
        self.answers = self.connections = 0
        self.was_silent = self.says_nothing = False
        """Of whether it lives; of what is loaded."""
        self.asked_ready = 0
        self.dropped: list[str] = []
        self.repository: dict[str, Served] = {}
        for release in releases:
            self.repository |= models_of(release)
        self.up = True
        self.loaded: set[str] = set()
        self.loads: list[str] = []
        self.configs: dict[str, str] = {}
        self.unload_error: Exception | None = None
        self.closed = False
        self.load_error: Exception | None = None
        self.answer: Callable[[service_pb2.ModelInferRequest], service_pb2.ModelInferResponse] = (
            self._answer_nothing
        )
        self.asked: list[tuple[service_pb2.ModelInferRequest, float | None, Mapping[str, str]]] = []
        self.may_load = asyncio.Event()
        self.may_load.set()
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.was_asked = asyncio.Semaphore(0)
        self._looks = asyncio.Semaphore(0)

    def move_to_gpu(self, model_name: str) -> None:
        """Run a model on a GPU, as a profile of its configuration may say."""
        gpu = model_config_pb2.ModelInstanceGroup.KIND_GPU
        self.repository[model_name][1].instance_group[0].kind = gpu

    def restart(self) -> None:
        """End and come back, with nothing loaded."""
        self.loaded.clear()

    async def wait_looks(self, count: int) -> None:
        """Return when it was asked so many times more whether it is there."""
        async with asyncio.timeout(20):
            while not self._looks.locked():
                await self._looks.acquire()  # those of before
            for _ in range(count):
                await self._looks.acquire()

    async def is_live(self) -> bool:
        self._looks.release()
        await asyncio.sleep(0)
        return self.up

    async def is_loaded(self, model_name: str) -> bool:
        return bool(await self.readiness(model_name))

    async def readiness(self, model_name: str) -> bool | None:
        await asyncio.sleep(0)
        self.asked_ready += 1
        return None if self.says_nothing else self.up and model_name in self.loaded

    async def load(self, model_name: str, timeout_s: float, config: str | None = None) -> None:
        self.loads.append(model_name)
        if config is not None:
            self.configs[model_name] = config
        await self.may_load.wait()
        self._check_up()
        if self.load_error is not None:
            raise self.load_error
        if model_name not in self.repository:
            raise rpc_error(
                grpc.StatusCode.INTERNAL,
                f"failed to load '{model_name}', failed to poll from model repository",
            )
        self.loaded.add(model_name)

    async def unload(self, model_name: str, timeout_s: float) -> None:
        self._check_up()
        if self.unload_error is not None:
            raise self.unload_error
        self.loaded.discard(model_name)

    async def metadata(self, model_name: str) -> service_pb2.ModelMetadataResponse:
        self._check_up()
        return self.repository[model_name][0]

    async def config(self, model_name: str) -> model_config_pb2.ModelConfig:
        self._check_up()
        return self.repository[model_name][1]

    async def infer(
        self,
        request: service_pb2.ModelInferRequest,
        *,
        timeout_s: float | None,
        headers: Mapping[str, str],
    ) -> service_pb2.ModelInferResponse:
        self.asked.append((request, timeout_s, headers))
        self.was_asked.release()
        await self.may_answer.wait()
        self._check_up()
        response = self.answer(request)
        self.answers += 1
        return response

    def drop(self, why: str) -> None:
        self.dropped.append(why)

    def _answer_nothing(
        self, request: service_pb2.ModelInferRequest
    ) -> service_pb2.ModelInferResponse:
        """Zeros and empty strings, of the shapes that it says it serves."""
        metadata, _ = self.repository[request.model_name]
        response = service_pb2.ModelInferResponse(model_name=request.model_name)
        rows = request.inputs[0].shape[0] if request.inputs else 1
        for tensor in metadata.outputs:
            shape = [rows, *(1 if size < 0 else size for size in tensor.shape[1:])]
            response.outputs.add(name=tensor.name, datatype=tensor.datatype, shape=shape)
            size = {"BOOL": 1, "INT64": 8}.get(tensor.datatype, 4)  # of a string: its length
            response.raw_output_contents.append(bytes(size * math.prod(shape)))
        return response

    async def close(self) -> None:
        self.closed = True

    def _check_up(self) -> None:
        if not self.up:
            raise rpc_error(grpc.StatusCode.UNAVAILABLE, "failed to connect to all addresses")


class Changes:
    """Is told of changes, and waits for one that brought something about."""

    def __init__(self) -> None:
        self.count = 0
        self._news = asyncio.Event()

    def __call__(self, *_states: object) -> None:
        self.count += 1
        self._news.set()

    async def until(self, reached: Callable[[], object]) -> None:
        """Return when ``reached`` holds, which only a change can bring about."""
        async with asyncio.timeout(20):
            while not reached():
                self._news.clear()
                await self._news.wait()
