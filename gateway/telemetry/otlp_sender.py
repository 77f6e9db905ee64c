"""Sends spans to a collector: OTLP over HTTP or gRPC.

OpenTelemetry's own exporters take the SDK's spans, one object each; ours are encoded already.
Headers, certificates, compression and timeout are the standard ``OTEL_EXPORTER_OTLP_*`` variables.
"""

from __future__ import annotations

import gzip
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import requests
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.util.re import parse_env_headers
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_delay
from tenacity.stop import stop_any, stop_when_event_set
from tenacity.wait import wait_random_exponential

from gateway.security.hiding import without_secrets
from gateway.telemetry.exporter import SendFailed
from gateway.telemetry.otlp_protobuf import ProtobufSpans

_METHOD = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
_PROTOBUF = "application/x-protobuf"
_TIMEOUT_S = 10.0
_LONGEST_WAIT_S = 5.0
# OTLP's specification: what may be sent again.
_HTTP_RETRIED = frozenset({429, 502, 503, 504})
_GRPC_RETRIED = frozenset(
    {
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
    }
)


@dataclass(frozen=True)
class SenderOptions:
    """How to send."""

    headers: Mapping[str, str] = field(default_factory=dict)
    timeout_s: float = _TIMEOUT_S
    """For one request and its repetitions."""
    compress: bool = False
    """Whether with gzip."""
    certificate: str | None = None
    """A file: who may have signed the collector's certificate."""
    client_certificate: str | None = None
    client_key: str | None = None

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> SenderOptions:
        """Return what the standard variables say; those for traces count before the others."""

        def value(name: str) -> str:
            own = environment.get(f"OTEL_EXPORTER_OTLP_TRACES_{name}")
            return own or environment.get(f"OTEL_EXPORTER_OTLP_{name}") or ""

        try:
            # The variable is in seconds in OpenTelemetry's Python, and so it is here.
            timeout_s = float(value("TIMEOUT") or _TIMEOUT_S)
        except ValueError:
            timeout_s = _TIMEOUT_S
        return cls(
            headers=parse_env_headers(value("HEADERS"), liberal=True),
            timeout_s=timeout_s if timeout_s > 0 else _TIMEOUT_S,
            compress=value("COMPRESSION").lower() == "gzip",
            certificate=value("CERTIFICATE") or None,
            client_certificate=value("CLIENT_CERTIFICATE") or None,
            client_key=value("CLIENT_KEY") or None,
        )


class _Again(Exception):
    """What may be sent again."""

    def __init__(self, detail: str, after_s: float | None = None) -> None:
        super().__init__(detail)
        self.after_s = after_s


class _Sender(ABC):
    """Sends again what may be."""

    encoder = ProtobufSpans()
    at_once = 1

    def __init__(self, options: SenderOptions) -> None:
        self._options = options
        self._closed = threading.Event()

    def send(self, *requests: bytes) -> None:
        """Send each ``ExportTraceServiceRequest``.

        Raises:
            SendFailed: If the collector does not take one, in time; those after it are not sent.
        """
        for request in requests:
            self._send(request)

    @abstractmethod
    def _send(self, request: bytes) -> None: ...

    def close(self) -> None:
        """Send nothing again."""
        self._closed.set()

    def _sleep(self, seconds: float) -> None:
        self._closed.wait(seconds)

    def _repeat(self, send: Callable[[], ExportTraceServiceResponse]) -> None:
        retrying = Retrying(
            retry=retry_if_exception_type(_Again),
            stop=stop_any(
                stop_after_delay(self._options.timeout_s), stop_when_event_set(self._closed)
            ),
            wait=_wait,
            sleep=self._sleep,
            reraise=True,
        )
        try:
            response = retrying(send)
        except _Again as error:
            raise SendFailed(str(error)) from error
        partial = response.partial_success
        if partial.rejected_spans:
            text = f"the collector rejected some: {partial.error_message}"
            raise SendFailed(text, int(partial.rejected_spans))


_backoff = wait_random_exponential(multiplier=0.2, max=_LONGEST_WAIT_S)


def _wait(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    after_s = error.after_s if isinstance(error, _Again) else None
    # Never at once, even if the collector says so: many may have been told the same.
    return max(_backoff(state), after_s or 0.0)


class HttpSender(_Sender):
    """OTLP/HTTP with protobuf.

    Args:
        url: All of it, such as ``http://127.0.0.1:4318/v1/traces``.
        options: How to send.

    Raises:
        OSError: If a certificate cannot be read.
    """

    def __init__(self, url: str, options: SenderOptions) -> None:
        super().__init__(options)
        self._url = url
        self._shown = without_secrets(url)
        self._session = requests.Session()
        self._session.headers.update({"Content-Type": _PROTOBUF, **options.headers})
        # Given with each request: of the session, REQUESTS_CA_BUNDLE would win over it.
        self._verify = options.certificate or True
        for path in (options.certificate, options.client_certificate, options.client_key):
            if path:
                Path(path).read_bytes()  # said at the start, not with the first span
        if options.client_certificate:
            self._session.cert = (
                (options.client_certificate, options.client_key)
                if options.client_key
                else options.client_certificate
            )

    def _send(self, request: bytes) -> None:
        headers = {}
        if self._options.compress:
            request, headers = gzip.compress(request), {"Content-Encoding": "gzip"}
        self._repeat(lambda: self._post(request, headers))

    def close(self) -> None:
        """Hang up."""
        super().close()
        self._session.close()

    def _post(self, body: bytes, headers: Mapping[str, str]) -> ExportTraceServiceResponse:
        try:
            response = self._session.post(
                self._url,
                data=body,
                headers=headers,
                timeout=self._options.timeout_s,
                verify=self._verify,
            )
        except requests.RequestException as error:
            raise _Again(f"{self._shown}: {type(error).__name__}") from error
        text = f"{self._shown} answered {response.status_code} {response.reason}"
        if response.status_code in _HTTP_RETRIED:
            raise _Again(text, _seconds(response.headers.get("Retry-After")))
        if not response.ok:
            raise SendFailed(text)
        try:
            return ExportTraceServiceResponse.FromString(response.content)
        except DecodeError:
            return ExportTraceServiceResponse()


class GrpcSender(_Sender):
    """OTLP/gRPC.

    Args:
        target: ``host:port``.
        options: How to send.
        secure: Whether with TLS.

    Raises:
        OSError: If a certificate cannot be read.
    """

    def __init__(self, target: str, options: SenderOptions, *, secure: bool) -> None:
        super().__init__(options)
        self._target = target
        compression = grpc.Compression.Gzip if options.compress else grpc.Compression.NoCompression
        if secure:
            self._channel = grpc.secure_channel(
                target, _credentials(options), compression=compression
            )
        else:
            self._channel = grpc.insecure_channel(target, compression=compression)
        self._export = self._channel.unary_unary(
            _METHOD, bytes, ExportTraceServiceResponse.FromString
        )
        self._metadata: tuple[tuple[str, str | bytes], ...] = tuple(
            (key.lower(), value) for key, value in options.headers.items()
        )

    def _send(self, request: bytes) -> None:
        self._repeat(lambda: self._call(request))

    def close(self) -> None:
        """Hang up."""
        super().close()
        self._channel.close()

    def _call(self, request: bytes) -> ExportTraceServiceResponse:
        try:
            response: ExportTraceServiceResponse = self._export(
                request, timeout=self._options.timeout_s, metadata=self._metadata
            )
        except grpc.RpcError as error:
            code: Any = error.code()
            text = f"{self._target} answered {code.name}: {error.details()}"
            if code in _GRPC_RETRIED:
                raise _Again(text) from error
            raise SendFailed(text) from error
        except ValueError as error:  # the channel was closed
            raise SendFailed(str(error)) from error
        return response


def _credentials(options: SenderOptions) -> grpc.ChannelCredentials:
    """Return what the certificates in files say.

    Raises:
        OSError: If one cannot be read.
    """
    paths = (options.certificate, options.client_key, options.client_certificate)
    return grpc.ssl_channel_credentials(*(Path(one).read_bytes() if one else None for one in paths))


def _seconds(text: str | None) -> float | None:
    """Return the header ``Retry-After`` where it is in seconds."""
    try:
        return min(_LONGEST_WAIT_S, max(0.0, float(text))) if text else None
    except ValueError:
        return None
