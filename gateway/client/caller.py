"""Makes one call as a client would: a deadline, a client span, the outcome as it came."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Any, TypeVar

import grpc
from google.protobuf.message import Message
from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import SpanKind, set_span_in_context

from gateway.client.errors import CallFailed
from gateway.telemetry.building import build_provider
from gateway.telemetry.sampled_call import PROPAGATOR, end_rpc_client_span
from gateway.telemetry.shutdown import shut_down

Response = TypeVar("Response", bound=Message)
_OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.enable_retries", 0),
)


class Caller:
    """Calls the gateway at ``target``; use it as a context manager.

    Args:
        target: ``host:port``.
        deadline_s: For each call.
        traces_file: Where the client spans go; ``None``: no call is traced, anywhere.

    Attributes:
        trace_id: Of the last traced call, in hex; '' before.
    """

    def __init__(self, target: str, deadline_s: float, traces_file: Path | None) -> None:
        self.trace_id = ""
        self._target = target
        self._deadline_s = deadline_s
        self._channel = grpc.insecure_channel(target, options=_OPTIONS)
        self._provider: TracerProvider | None = None
        if traces_file is not None:
            self._provider, _ = build_provider(
                service_name="trident-client", traces_file=traces_file, environment=os.environ
            )

    def __enter__(self) -> Caller:
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()
        if self._provider is not None:
            shut_down(self._provider)

    def call(self, method: str, request: Message, response_type: type[Response]) -> Response:
        """Make a call in a trace of its own.

        Args:
            method: ``package.Service/Method``.
            request: What to send.
            response_type: What comes back.

        Raises:
            CallFailed: If anything but an answer came back.
        """
        if self._provider is None:
            return self.quietly(method, request, response_type)
        span = self._provider.get_tracer("trident.client").start_span(
            method,
            Context(),
            SpanKind.CLIENT,
            attributes=self._attributes(method),
        )
        self.trace_id = f"{span.get_span_context().trace_id:032x}"
        headers: dict[str, str] = {}
        PROPAGATOR.inject(headers, set_span_in_context(span, Context()))
        try:
            response = self._call(method, request, response_type, headers)
        except grpc.RpcError as error:
            end_rpc_client_span(span, error)
            raise CallFailed(self._target, self._deadline_s, error) from error
        end_rpc_client_span(span, None)
        return response

    def quietly(self, method: str, request: Message, response_type: type[Response]) -> Response:
        """Make a call that nobody traces, such as one that only asks for a schema."""
        unsampled = f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-00"
        try:
            return self._call(method, request, response_type, {"traceparent": unsampled})
        except grpc.RpcError as error:
            raise CallFailed(self._target, self._deadline_s, error) from error

    def _call(
        self, method: str, request: Any, response_type: type[Response], headers: dict[str, str]
    ) -> Response:
        rpc = self._channel.unary_unary(
            f"/{method}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=response_type.FromString,
        )
        response: Response = rpc(request, timeout=self._deadline_s, metadata=tuple(headers.items()))
        return response

    def _attributes(self, method: str) -> dict[str, str | int]:
        host, _, port = self._target.rpartition(":")
        return {
            "server.address": host.strip("[]"),
            **({"server.port": int(port)} if port.isdigit() else {}),
        }
