"""Makes one call as a client would: a deadline, a client span, the outcome as it came."""

from __future__ import annotations

import logging
import secrets
import time
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import grpc
from google.protobuf.message import Message

from gateway.client.errors import CallFailed
from gateway.client.identity import NOBODY, Identity
from gateway.telemetry.building import process_source
from gateway.telemetry.exporter import SendFailed
from gateway.telemetry.span import (
    Attributes,
    Kind,
    Source,
    Span,
    Status,
    new_span_id,
    new_trace_id,
    server_attributes,
)
from gateway.telemetry.trace_context import TRACEPARENT, write_traceparent
from gateway.telemetry.trace_file import TraceFile

_log = logging.getLogger(__name__)

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
        identity: Who calls.

    Attributes:
        trace_id: Of the last traced call, in hex; '' before.
    """

    def __init__(
        self,
        target: str,
        deadline_s: float,
        traces_file: Path | None,
        identity: Identity = NOBODY,
    ) -> None:
        self.trace_id = ""
        self._target = target
        self._deadline_s = deadline_s
        self._identity = identity
        self._channel = identity.channel(target, _OPTIONS)
        self._file = TraceFile(traces_file) if traces_file is not None else None

    def __enter__(self) -> Caller:
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()

    def call(self, method: str, request: Message, response_type: type[Response]) -> Response:
        """Make a call in a trace of its own.

        Args:
            method: ``package.Service/Method``.
            request: What to send.
            response_type: What comes back.

        Raises:
            CallFailed: If anything but an answer came back.
        """
        if self._file is None:
            return self.quietly(method, request, response_type)
        trace_id, span_id = new_trace_id(), new_span_id()
        self.trace_id = f"{trace_id:032x}"
        start_ns, failed = time.time_ns(), None
        headers = {TRACEPARENT: write_traceparent(trace_id, span_id)}
        try:
            return self._call(method, request, response_type, headers)
        except grpc.RpcError as error:
            failed = error
            raise CallFailed(self._target, self._deadline_s, error) from error
        finally:
            self._write(self._span(method, (trace_id, span_id), start_ns, failed))

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
        metadata = (*headers.items(), *self._identity.metadata)
        response: Response = rpc(request, timeout=self._deadline_s, metadata=metadata)
        return response

    @cached_property
    def _source(self) -> Source:
        return process_source("trident-client", "trident.client")

    def _span(
        self, method: str, ids: tuple[int, int], start_ns: int, error: grpc.RpcError | None
    ) -> Span:
        attributes: Attributes = {
            "rpc.system.name": "grpc",
            "rpc.method": method,
            **server_attributes(self._target),
            "rpc.response.status_code": error.code().name if error else "OK",
        }
        if error is not None:
            attributes["error.type"] = error.code().name
        return Span(
            source=self._source,
            trace_id=ids[0],
            span_id=ids[1],
            parent_id=0,
            name=method,
            kind=Kind.CLIENT,
            start_ns=start_ns,
            end_ns=time.time_ns(),
            attributes=attributes,
            status=Status.ERROR if error else Status.UNSET,
            message=(error.details() or "") if error else "",
        )

    def _write(self, span: Span) -> None:
        if self._file is not None:
            try:
                self._file.write([span])
            except SendFailed as error:  # the answer counts more
                _log.warning("The trace is not whole: %s", error)
