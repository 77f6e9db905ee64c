"""The only place that makes statuses: what an error looks like on the wire (AIP-193)."""

from __future__ import annotations

import logging

from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2

from gateway.errors import GatewayError, InvalidRequest
from trident.common.v1 import error_reason_pb2

_log = logging.getLogger(__name__)

ERROR_DOMAIN = "trident"
_PREFIX = "ERROR_REASON_"

# A status travels in HTTP/2 trailers, once as percent-encoded text and once as base64, and by
# default a gRPC client refuses more than 8 KiB of them: it would see no error of ours at all.
MAX_STATUS_BYTES = 4096
MAX_MESSAGE_BYTES = 512
MAX_METADATA_BYTES = 512
"""Of one value."""


def error_to_status(error: Exception, method: str) -> status_pb2.Status:
    """Return the status that the caller sees, small enough for every client.

    Anything but a ``GatewayError`` is our own fault: it is logged here, once, with its
    traceback, and the caller learns no more than that it happened.
    """
    if not isinstance(error, GatewayError):
        _log.error("Unexpected error in %s", method, exc_info=error)
        error = GatewayError("Internal error.")
    status = status_pb2.Status(code=error.code, message=_cut(error.message, MAX_MESSAGE_BYTES))
    status.details.add().Pack(
        error_details_pb2.ErrorInfo(
            reason=error_reason_pb2.ErrorReason.Name(error.reason).removeprefix(_PREFIX),
            domain=ERROR_DOMAIN,
            metadata={
                key: _cut(value, MAX_METADATA_BYTES) for key, value in error.metadata.items()
            },
        )
    )
    if error.retry_after_s is not None:
        delay = Duration()
        delay.FromNanoseconds(int(error.retry_after_s * 1e9))
        status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=delay))
    if isinstance(error, InvalidRequest):
        room = MAX_STATUS_BYTES - status.ByteSize()
        status.details.add().Pack(_bad_request(error, room))
    return status


def _bad_request(error: InvalidRequest, room: int) -> error_details_pb2.BadRequest:
    """Return the violations, as many as fit into ``room`` bytes and at least one."""
    bad_request = error_details_pb2.BadRequest()
    for path, text in error.violations.items():
        bad_request.field_violations.add(field=path, description=_cut(text, MAX_MESSAGE_BYTES))
        if bad_request.ByteSize() > room and len(bad_request.field_violations) > 1:
            del bad_request.field_violations[-1]
            break
    return bad_request


def _cut(text: str, size: int) -> str:
    """Return a text of at most ``size`` bytes of UTF-8, marked where it was cut."""
    encoded = text.encode()
    if len(encoded) <= size:
        return text
    mark = "…"
    return encoded[: size - len(mark.encode())].decode(errors="ignore") + mark
