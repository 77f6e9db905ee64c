"""One Triton, spoken to over gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from tritonclient.grpc import model_config_pb2, service_pb2, service_pb2_grpc

from gateway.security.tls import ClientTls
from gateway.security.watching import Watched
from gateway.triton.cancelling import Cancelling, bears_cancelling
from gateway.triton.credentials import channel_credentials, name_options
from gateway.triton.http2 import errors
from gateway.triton.http2.channel import Channel
from gateway.triton.shared_memory import SharedMemory

_OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # A Triton that comes back is found at once.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    # One connection for each client, also for two clients of one target.
    ("grpc.use_local_subchannel_pool", 1),
]
_PROBE_TIMEOUT_S = 2.0
LIVE_TIMEOUT_S = 1.0
"""A Triton that does not even say that it lives within this time hangs."""
_INFER = "/inference.GRPCInferenceService/ModelInfer"


_OLD_CHANNEL_S = 10.0
"""For what is under way on a connection with old certificates."""


def _channel_to(target: str, tls: ClientTls | None, name: str | None) -> grpc.aio.Channel:
    """Return a channel to a Triton, whose certificate shows a name.

    Raises:
        UnusableFile: If a certificate cannot be used.
    """
    if tls is None:
        return grpc.aio.insecure_channel(target, options=_OPTIONS)
    options = [*_OPTIONS, *name_options(name)]
    return grpc.aio.secure_channel(target, channel_credentials(tls), options=options)


class TritonClient:
    """A Triton at ``target`` (``host:port``). Errors are ``grpc.RpcError`` as they come.

    Inferences go over a connection of their own, which costs a fraction of ``grpc.aio``'s.

    Args:
        target: Where it listens.
        shared_memory_bytes: Tensors at least this large go by shared memory; ``None``: none.
        tls: How TLS is spoken with it; ``None``: plain text.
        name: What its certificate shows; ``None``: the host of ``target``.
        cancelling: Whether it is told of inferences that nobody waits for any more; ``auto``: once
            it has said that it is of a version that bears it.

    Attributes:
        answers: How many inferences it has answered.
        was_silent: Whether it did not answer at all when it was last asked if it lives; else, if
            it does not live, that was plain.

    Raises:
        UnusableFile: If a certificate cannot be used.
    """

    def __init__(
        self,
        target: str,
        shared_memory_bytes: int | None = None,
        tls: ClientTls | None = None,
        name: str | None = None,
        cancelling: Cancelling = "auto",
    ) -> None:
        self.target = target
        self._name = name
        self.answers = 0
        self.was_silent = False
        self._shared_memory = (
            None
            if shared_memory_bytes is None
            else SharedMemory(self._register, self._unregister, least_bytes=shared_memory_bytes)
        )
        self._tls = tls
        self._closing: asyncio.Future[None] | None = None
        self._inferences = Channel(
            target, ssl=tls.context() if tls is not None else None, name=name
        )
        self._inferences.cancels = cancelling == "always"
        self._asks_version = cancelling == "auto"
        self._known_at = -1
        """Connections that there had been when it last said its version."""
        self._channel = _channel_to(target, tls, name)
        self._stub: Any = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)
        files = tls.files if tls is not None else ()
        self._certificates = Watched(f"Certificates for Triton at {target}", files, self._renew)

    def _renew(self) -> None:
        """Make new connections with the certificates as they are now; those there are go on."""
        assert self._tls is not None
        self._inferences.speak(self._tls.context())
        old, self._channel = self._channel, _channel_to(self.target, self._tls, self._name)
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)
        self._closing = asyncio.ensure_future(old.close(_OLD_CHANNEL_S))

    @property
    def connections(self) -> int:
        """How often a connection for inferences was made: after another one, who is there?"""
        return self._inferences.connections

    @property
    def cancels(self) -> bool:
        """Whether Triton is told of deadlines, and of inferences that nobody waits for any more."""
        return self._inferences.cancels

    def drop(self, why: str) -> None:
        """Fail the inferences in flight at once, as ``UNAVAILABLE``: nobody waits for a dead one.

        Args:
            why: What they are told.
        """
        self._inferences.drop(why)

    async def is_live(self) -> bool:
        """Return whether Triton answers.

        Not whether it is "ready": by default it says no to that as long as any model is being
        loaded, or could not be.
        """
        self._certificates.look()
        try:
            request = service_pb2.ServerLiveRequest()
            live = bool((await self._stub.ServerLive(request, timeout=LIVE_TIMEOUT_S)).live)
        except grpc.RpcError as error:
            self.was_silent = error.code() == grpc.StatusCode.DEADLINE_EXCEEDED
            return False
        if live and self._asks_version and self._known_at != self.connections:
            await self._ask_version()
        return live

    async def _ask_version(self) -> None:
        """Learn whether it bears cancelling; behind a new connection there may be another one."""
        connections = self.connections
        request = service_pb2.ServerMetadataRequest()
        try:
            answer = await self._stub.ServerMetadata(request, timeout=LIVE_TIMEOUT_S)
        except grpc.RpcError:
            self._inferences.cancels = False
            return
        self._known_at = connections
        self._inferences.cancels = bears_cancelling(answer.version)

    async def is_loaded(self, model_name: str) -> bool:
        """Return whether Triton says that it can run a model."""
        return bool(await self.readiness(model_name))

    async def readiness(self, model_name: str) -> bool | None:
        """Return whether Triton can run a model; ``None`` if it does not say, such as when busy."""
        request = service_pb2.ModelReadyRequest(name=model_name)
        try:
            return bool((await self._stub.ModelReady(request, timeout=_PROBE_TIMEOUT_S)).ready)
        except grpc.RpcError as error:
            return None if error.code() == grpc.StatusCode.DEADLINE_EXCEEDED else False

    async def load(self, model_name: str, timeout_s: float, config: str | None = None) -> None:
        """Load a model, with another configuration (JSON) than its own if one is given.

        An ensemble brings its steps, side by side.
        """
        request = service_pb2.RepositoryModelLoadRequest(model_name=model_name)
        if config is not None:
            request.parameters["config"].string_param = config
        await self._stub.RepositoryModelLoad(request, timeout=timeout_s)

    async def unload(self, model_name: str, timeout_s: float) -> None:
        """Unload an ensemble with its steps."""
        request = service_pb2.RepositoryModelUnloadRequest(model_name=model_name)
        request.parameters["unload_dependents"].bool_param = True
        await self._stub.RepositoryModelUnload(request, timeout=timeout_s)

    async def metadata(self, model_name: str) -> service_pb2.ModelMetadataResponse:
        """Return the tensors that Triton serves; ``shape`` starts with the batch axis."""
        request = service_pb2.ModelMetadataRequest(name=model_name)
        answer: service_pb2.ModelMetadataResponse = await self._stub.ModelMetadata(
            request, timeout=_PROBE_TIMEOUT_S
        )
        return answer

    async def config(self, model_name: str) -> model_config_pb2.ModelConfig:
        """Return the configuration that Triton runs a model with."""
        request = service_pb2.ModelConfigRequest(name=model_name)
        answer = await self._stub.ModelConfig(request, timeout=_PROBE_TIMEOUT_S)
        config: model_config_pb2.ModelConfig = answer.config
        return config

    async def infer(
        self,
        request: service_pb2.ModelInferRequest,
        *,
        timeout_s: float | None,
        headers: Mapping[str, str],
    ) -> service_pb2.ModelInferResponse:
        """Run one inference."""

        async def send(one: service_pb2.ModelInferRequest) -> service_pb2.ModelInferResponse:
            answer = await self._inferences.unary(
                _INFER, one.SerializeToString(), timeout_s=timeout_s, headers=headers
            )
            try:
                response = service_pb2.ModelInferResponse.FromString(answer)
            except DecodeError:
                raise errors.internal("The message is no ModelInferResponse") from None
            self.answers += 1
            return response

        if self._shared_memory is None:
            return await send(request)
        return await self._shared_memory.infer(request, send)

    async def _register(self, name: str, key: str, size: int) -> None:
        request = service_pb2.SystemSharedMemoryRegisterRequest(
            name=name, key=key, offset=0, byte_size=size
        )
        await self._stub.SystemSharedMemoryRegister(request, timeout=_PROBE_TIMEOUT_S)

    async def _unregister(self, name: str) -> None:
        request = service_pb2.SystemSharedMemoryUnregisterRequest(name=name)
        await self._stub.SystemSharedMemoryUnregister(request, timeout=_PROBE_TIMEOUT_S)

    async def close(self) -> None:
        """Close the connections."""
        if self._shared_memory is not None:
            await self._shared_memory.close()
        await self._inferences.close()
        await self._channel.close(None)
