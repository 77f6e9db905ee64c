"""The errors of the gateway, split by who can act on them.

::

    GatewayError
    ├── InvalidRequest          the caller changes the request
    ├── Unauthenticated         the caller shows who it is
    ├── PermissionDenied        the caller asks for permission
    ├── ModelNotFound           the caller names another model
    ├── ModelUnavailable        the caller retries
    ├── ShuttingDown            the caller retries, elsewhere
    ├── Overloaded              the caller retries with backoff
    ├── QuotaExceeded           the caller asks for less
    ├── DeadlineExceeded        the caller allows more time
    └── ModelContractBroken     the operator acts

Nothing here knows gRPC: codes are ``google.rpc.Code``. How an error looks on the
wire is decided in ``gateway.transport.status`` alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from google.rpc import code_pb2

from trident.common.v1 import error_reason_pb2


class GatewayError(Exception):
    """Anything that the gateway reports to a caller."""

    code: ClassVar[int] = code_pb2.INTERNAL
    reason: ClassVar[int] = error_reason_pb2.ERROR_REASON_INTERNAL

    def __init__(
        self,
        message: str,
        metadata: Mapping[str, str] | None = None,
        *,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.metadata = dict(metadata or {})
        self.retry_after_s = retry_after_s


class InvalidRequest(GatewayError):
    """At least one field is outside its documented range."""

    code = code_pb2.INVALID_ARGUMENT
    reason = error_reason_pb2.ERROR_REASON_INVALID_REQUEST

    def __init__(self, violations: Mapping[str, str]) -> None:
        """Take every violation: field path to what is accepted and what came.

        The empty path is the message itself.
        """
        first, *others = (f"{path}: {text}" if path else text for path, text in violations.items())
        more = f" (and {len(others)} more)" if others else ""
        super().__init__(
            f"Invalid request. {first}{more}", {"violationCount": str(len(violations))}
        )
        self.violations = dict(violations)


class Unauthenticated(GatewayError):
    """No valid credentials came with the call. Why is for the log alone."""

    code = code_pb2.UNAUTHENTICATED
    reason = error_reason_pb2.ERROR_REASON_UNAUTHENTICATED

    def __init__(self) -> None:
        super().__init__("Unauthenticated.")


class PermissionDenied(GatewayError):
    """The caller is known but may not call this method."""

    code = code_pb2.PERMISSION_DENIED
    reason = error_reason_pb2.ERROR_REASON_PERMISSION_DENIED

    def __init__(self, method: str) -> None:
        super().__init__(f"You may not call {method}.", {"method": method})


class ModelNotFound(GatewayError):
    """The caller named a release that is not routed."""

    code = code_pb2.NOT_FOUND
    reason = error_reason_pb2.ERROR_REASON_MODEL_NOT_FOUND

    def __init__(self, line: str, release: str = "") -> None:
        named = f" '{release}'" if release else ""
        super().__init__(
            f"No release{named} of '{line}' is routed.", {"line": line, "release": release}
        )


class ModelUnavailable(GatewayError):
    """The model, or Triton, cannot answer now."""

    code = code_pb2.UNAVAILABLE
    reason = error_reason_pb2.ERROR_REASON_MODEL_UNAVAILABLE

    def __init__(self, line: str, detail: str, *, retry_after_s: float = 1.0) -> None:
        super().__init__(
            f"The model of '{line}' is not available: {detail}.",
            {"line": line, "detail": detail},
            retry_after_s=retry_after_s,
        )


class ShuttingDown(GatewayError):
    """The gateway is stopping."""

    code = code_pb2.UNAVAILABLE
    reason = error_reason_pb2.ERROR_REASON_SHUTTING_DOWN

    def __init__(self) -> None:
        super().__init__("The gateway is stopping.", retry_after_s=0.1)


class Overloaded(GatewayError):
    """More calls wait than the gateway, or Triton, will queue."""

    code = code_pb2.RESOURCE_EXHAUSTED
    reason = error_reason_pb2.ERROR_REASON_OVERLOADED

    def __init__(
        self,
        line: str,
        limit: int | None = None,
        *,
        retry_after_s: float = 0.5,
        why: str = "",
    ) -> None:
        """Take whose calls are too many, and why one more is.

        Args:
            line: Whose.
            limit: How many wait already; ``None`` if something else is full.
            retry_after_s: When to come again, in seconds.
            why: ``deadline``, ``displaced`` or ``concurrency``; ``""``: a queue is full.
        """
        metadata = {"line": line} if limit is None else {"line": line, "limit": str(limit)}
        where = "Triton's queue is full" if limit is None else f"{limit} calls already wait"
        where = _OVERLOADS.get(why, where)
        if why:
            metadata["why"] = why
        super().__init__(
            f"Too many calls of '{line}': {where}.", metadata, retry_after_s=retry_after_s
        )


_OVERLOADS = {
    "deadline": "the deadline would pass while this one waits",
    "displaced": "this one was displaced by one with a higher priority",
    "concurrency": "its limit of concurrency is reached",
}


class QuotaExceeded(GatewayError):
    """The caller has used up what it may have."""

    code = code_pb2.RESOURCE_EXHAUSTED
    reason = error_reason_pb2.ERROR_REASON_QUOTA_EXCEEDED

    def __init__(self, client: str, limit: str, *, retry_after_s: float) -> None:
        super().__init__(
            f"Client '{client}' may have no more than {limit}.",
            {"client": client, "limit": limit},
            retry_after_s=retry_after_s,
        )


class DeadlineExceeded(GatewayError):
    """The deadline of the call passed before the model answered."""

    code = code_pb2.DEADLINE_EXCEEDED
    reason = error_reason_pb2.ERROR_REASON_DEADLINE_EXCEEDED

    def __init__(self, line: str) -> None:
        super().__init__(
            f"The deadline passed before the model of '{line}' answered.", {"line": line}
        )


class ModelContractBroken(GatewayError):
    """The gateway and the release disagree about a tensor."""

    code = code_pb2.INTERNAL
    reason = error_reason_pb2.ERROR_REASON_MODEL_CONTRACT_BROKEN

    def __init__(self, line: str, release: str, step: str = "") -> None:
        metadata = {"line": line, "release": release} | ({"step": step} if step else {})
        at_step = f" at step '{step}'" if step else ""
        super().__init__(
            f"Release '{release}' of '{line}' broke its contract{at_step}.",
            metadata,
        )
