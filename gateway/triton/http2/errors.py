"""How a call that failed looks: as grpc's own errors do."""

from __future__ import annotations

import grpc

_CODES = {str(code.value[0]): code for code in grpc.StatusCode}

# From the gRPC protocol over HTTP/2, "HTTP2 Transport Mapping"; what is not named is INTERNAL.
_RESET_CODES = {
    0x7: grpc.StatusCode.UNAVAILABLE,  # REFUSED_STREAM
    0x8: grpc.StatusCode.CANCELLED,  # CANCEL
    0xB: grpc.StatusCode.RESOURCE_EXHAUSTED,  # ENHANCE_YOUR_CALM
    0xC: grpc.StatusCode.PERMISSION_DENIED,  # INADEQUATE_SECURITY
}
# From "HTTP to gRPC Status Code Mapping"; what is not named is UNKNOWN.
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


class BrokenAnswer(CallFailed):
    """A call whose answer is none: the server is at fault, whatever was asked."""

    def __init__(self, details: str) -> None:
        super().__init__(grpc.StatusCode.INTERNAL, details)


class BrokenProtocol(Exception):
    """The server sent what HTTP/2 forbids; the connection cannot go on.

    Args:
        error_code: What the server is told, RFC 9113 §7.
        what: What it sent.
    """

    def __init__(self, error_code: int, what: str) -> None:
        super().__init__(what)
        self.error_code = error_code


def unavailable(details: str) -> CallFailed:
    """Return the error of a call that the server has not answered and will not."""
    return CallFailed(grpc.StatusCode.UNAVAILABLE, details)


def internal(details: str) -> CallFailed:
    """Return the error of a call whose answer is none."""
    return BrokenAnswer(details)


def deadline_exceeded() -> CallFailed:
    """Return the error of a call whose time is over."""
    return CallFailed(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")


def too_large(size: int, limit: int) -> CallFailed:
    """Return the error of a call whose answer has more bytes than are taken."""
    details = f"CLIENT: Received message larger than max ({size} vs. {limit})"
    return CallFailed(grpc.StatusCode.RESOURCE_EXHAUSTED, details)


def reset(error_code: int) -> CallFailed:
    """Return the error of a call whose stream the server has reset."""
    code = _RESET_CODES.get(error_code, grpc.StatusCode.INTERNAL)
    return CallFailed(code, f"Received RST_STREAM with error code {error_code}")


def from_http(status: str) -> CallFailed:
    """Return the error of a response that carries no gRPC status."""
    code = _HTTP_CODES.get(status, grpc.StatusCode.UNKNOWN)
    return CallFailed(code, f"no gRPC status came, and the HTTP status {status}")


def from_grpc(status: str, details: str) -> CallFailed:
    """Return the error that a gRPC status other than OK says."""
    return CallFailed(_CODES.get(status, grpc.StatusCode.UNKNOWN), details)


def too_many_headers(details: str) -> CallFailed:
    """Return the error of a call whose answer has more headers than are taken."""
    return CallFailed(grpc.StatusCode.RESOURCE_EXHAUSTED, details)
