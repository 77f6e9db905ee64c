"""A call that failed, for people to read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click
import grpc
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from gateway.client.text import plain


class CallFailed(click.ClickException):
    """The gateway gave no answer: what it said instead, or that it said nothing."""

    def __init__(self, target: str, deadline_s: float, error: grpc.RpcError) -> None:
        super().__init__("\n".join(_lines(target, deadline_s, error)))


def _lines(target: str, deadline_s: float, error: Any) -> Iterator[str]:
    status: status_pb2.Status | None = rpc_status.from_call(error)
    if status is None:
        yield _without_status(target, deadline_s, error)
        return
    reason = ""
    rest: list[str] = []
    for detail in status.details:
        if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
            info = error_details_pb2.ErrorInfo()
            detail.Unpack(info)
            reason = f" ({plain(info.reason)})"
        elif detail.Is(error_details_pb2.BadRequest.DESCRIPTOR):
            bad_request = error_details_pb2.BadRequest()
            detail.Unpack(bad_request)
            violations = bad_request.field_violations
            # The message of the status says the first; with others it is only the beginning.
            if len(violations) != 1 or status.message.find(violations[0].description) < 0:
                rest.extend(
                    f"  {plain(one.field) or 'request'}: {plain(one.description)}"
                    for one in violations
                )
        elif detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
            retry = error_details_pb2.RetryInfo()
            detail.Unpack(retry)
            seconds = retry.retry_delay.ToNanoseconds() / 1e9
            rest.append(f"  Try again in {seconds:g} s.")
    yield f"{error.code().name}{reason}: {plain(status.message)}"
    yield from rest


def _without_status(target: str, deadline_s: float, error: Any) -> str:
    """Say what happened when it was not the gateway that said it."""
    code = error.code()
    if code is grpc.StatusCode.UNAVAILABLE:
        return (
            f"nothing answers at {target}; start a gateway with 'gateway serve --embedded', "
            "or say where one is with --target, and with --tls-ca how, if it speaks TLS"
        )
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return f"{target} did not answer within {deadline_s:g} s (--deadline)"
    return f"{code.name}: {plain(error.details() or 'no details')}"
