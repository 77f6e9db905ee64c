"""How a call that failed looks: as grpc's own errors do."""

from __future__ import annotations

from urllib.parse import unquote

import grpc

from gateway.triton.http2 import frames

_CODES = {str(code.value[0]): code for code in grpc.StatusCode}

# From the gRPC protocol over HTTP/2, "HTTP2 Transport Mapping", and "HTTP to gRPC status".
_RESET_CODES = {
    frames.REFUSED_STREAM: grpc.StatusCode.UNAVAILABLE,
    frames.CANCEL: grpc.StatusCode.CANCELLED,
    frames.ENHANCE_YOUR_CALM: grpc.StatusCode.RESOURCE_EXHAUSTED,
    frames.INADEQUATE_SECURITY: grpc.StatusCode.PERMISSION_DENIED,
}
_HTTP_CODES = {
    "400": grpc.StatusCode.INTERNAL,
    "401": grpc.StatusCode.UNAUTHENTICATED,
    "403": grpc.StatusCode.PERMISSION_DENIED,
    "404": grpc.StatusCode.UNIMPLEMENTED,
    "429": grpc.StatusCode.UNAVAILABLE,
    "502": grpc.StatusCode.UNAVAILABLE,
    "503": grpc.StatusCode.UNAVAILABLE,
    "504": grpc.StatusCode.UNAVAILABLE,
}


class CallFailed(grpc.RpcError):
    """A call that did not end with OK; speaks as the errors of ``grpc.aio`` do."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__(f"{code.name}: {details}")
        self._code = code
        self._details = details

    def code(self) -> grpc.StatusCode:
        """Return what went wrong."""
        return self._code

    def details(self) -> str:
        """Return it in words."""
        return self._details


def unavailable(details: str) -> CallFailed:
    """Return the error of a call that the server has not answered and will not."""
    return CallFailed(grpc.StatusCode.UNAVAILABLE, details)


def deadline_exceeded() -> CallFailed:
    """Return the error of a call whose time is over."""
    return CallFailed(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")


def reset(error_code: int) -> CallFailed:
    """Return the error of a call whose stream the server has reset."""
    code = _RESET_CODES.get(error_code, grpc.StatusCode.INTERNAL)
    return CallFailed(code, f"the stream was reset with the HTTP/2 error {error_code}")


def from_headers(headers: dict[str, str]) -> CallFailed | None:
    """Return the error that the last headers of a response say, or ``None`` if they say OK."""
    status = headers.get("grpc-status")
    if status == "0":
        return None
    if status is None:
        http = headers.get(":status", "none")
        code = _HTTP_CODES.get(http, grpc.StatusCode.UNKNOWN)
        return CallFailed(code, f"no gRPC status came, and the HTTP status {http}")
    code = _CODES.get(status, grpc.StatusCode.UNKNOWN)
    return CallFailed(code, unquote(headers.get("grpc-message", ""), errors="replace"))
