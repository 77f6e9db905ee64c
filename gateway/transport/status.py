"""The only place that makes statuses: what an error looks like on the wire (AIP-193)."""

from __future__ import annotations

import asyncio
import logging

from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2
from trident.common.v1 import error_reason_pb2

from gateway.errors import GatewayError, InvalidRequest

_log = logging.getLogger(__name__)

ERROR_DOMAIN = "trident"
_PREFIX = "ERROR_REASON_"


def error_to_status(error: BaseException, method: str) -> status_pb2.Status:
    """Return the status that the caller sees.

    Anything but a ``GatewayError`` is our own fault: it is logged here, once, with its
    traceback, and the caller learns no more than that it happened.
    """
    if not isinstance(error, GatewayError):
        if not isinstance(error, asyncio.CancelledError):
            _log.error("Unexpected error in %s", method, exc_info=error)
        error = GatewayError("Internal error.")
    status = status_pb2.Status(code=error.code, message=error.message)
    status.details.add().Pack(
        error_details_pb2.ErrorInfo(
            reason=error_reason_pb2.ErrorReason.Name(error.reason).removeprefix(_PREFIX),
            domain=ERROR_DOMAIN,
            metadata=error.metadata,
        )
    )
    if isinstance(error, InvalidRequest):
        status.details.add().Pack(
            error_details_pb2.BadRequest(
                field_violations=[
                    error_details_pb2.BadRequest.FieldViolation(field=path, description=text)
                    for path, text in error.violations.items()
                ]
            )
        )
    if error.retry_after_s is not None:
        delay = Duration()
        delay.FromNanoseconds(int(error.retry_after_s * 1e9))
        status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=delay))
    return status
