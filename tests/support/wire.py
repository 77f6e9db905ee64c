"""What a status says on the wire."""

from __future__ import annotations

from dataclasses import dataclass, field

import grpc
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status


@dataclass(frozen=True)
class Refusal:
    """An error as a client sees it."""

    code: int
    message: str
    reason: str
    domain: str
    metadata: dict[str, str]
    violations: dict[str, str] = field(default_factory=dict)
    retry_after_s: float | None = None


def refusal(status: status_pb2.Status) -> Refusal:
    """Read a status that must have exactly one ErrorInfo and no detail twice."""
    info = error_details_pb2.ErrorInfo()
    bad_request = error_details_pb2.BadRequest()
    retry = error_details_pb2.RetryInfo()
    kinds = [detail.TypeName() for detail in status.details]
    assert len(kinds) == len(set(kinds)), kinds
    read = {
        detail.TypeName(): [kind for kind in (info, bad_request, retry) if detail.Unpack(kind)]
        for detail in status.details
    }
    assert all(read.values()), kinds
    assert info.DESCRIPTOR.full_name in kinds
    return Refusal(
        code=status.code,
        message=status.message,
        reason=info.reason,
        domain=info.domain,
        metadata=dict(info.metadata),
        violations={v.field: v.description for v in bad_request.field_violations},
        retry_after_s=retry.retry_delay.ToMilliseconds() / 1000
        if retry.DESCRIPTOR.full_name in kinds
        else None,
    )


def refusal_of(error: grpc.RpcError) -> Refusal:
    """Read the status that ended a call."""
    status = status_pb2.Status()
    for key, value in error.trailing_metadata() or ():
        if key == rpc_status.GRPC_DETAILS_METADATA_KEY:
            status.ParseFromString(value)
    assert status.code == error.code().value[0], error
    assert status.message == error.details()
    return refusal(status)
