from __future__ import annotations

import logging

import pytest
from google.rpc import code_pb2
from wire import refusal

from gateway.errors import (
    DeadlineExceeded,
    GatewayError,
    InvalidRequest,
    ModelContractBroken,
    ModelNotFound,
    ModelUnavailable,
    Overloaded,
    ShuttingDown,
)
from gateway.transport.status import MAX_STATUS_BYTES, error_to_status

METHOD = "trident.risk.v1.RiskService/ScoreRisk"


@pytest.mark.parametrize(
    ("error", "code", "reason", "retry_after_s"),
    [
        (InvalidRequest({"a": "b"}), code_pb2.INVALID_ARGUMENT, "INVALID_REQUEST", None),
        (ModelNotFound("risk", "a1"), code_pb2.NOT_FOUND, "MODEL_NOT_FOUND", None),
        (ModelUnavailable("risk", "away"), code_pb2.UNAVAILABLE, "MODEL_UNAVAILABLE", 1.0),
        (ShuttingDown(), code_pb2.UNAVAILABLE, "SHUTTING_DOWN", 0.1),
        (Overloaded("risk", 3), code_pb2.RESOURCE_EXHAUSTED, "OVERLOADED", 0.5),
        (DeadlineExceeded("risk"), code_pb2.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED", None),
        (ModelContractBroken("risk", "a1"), code_pb2.INTERNAL, "MODEL_CONTRACT_BROKEN", None),
        (GatewayError("Internal error."), code_pb2.INTERNAL, "INTERNAL", None),
    ],
)
def test_every_error_looks_as_the_api_says(
    error: GatewayError, code: int, reason: str, retry_after_s: float | None
) -> None:
    seen = refusal(error_to_status(error, METHOD))
    assert (seen.code, seen.reason, seen.domain) == (code, reason, "trident")
    assert seen.message == error.message
    assert seen.metadata == error.metadata
    assert seen.retry_after_s == retry_after_s


def test_every_violation_is_in_the_status() -> None:
    violations = {"item_count": "must be in [0, 100]", 'context["ü"]': "is unknown"}
    seen = refusal(error_to_status(InvalidRequest(violations), METHOD))
    assert seen.violations == violations


def test_an_unexpected_error_is_logged_once_and_tells_the_caller_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    try:
        raise RuntimeError("password=hunter2")
    except RuntimeError as error:
        status = error_to_status(error, METHOD)
    assert status.message == "Internal error."
    assert b"hunter2" not in status.SerializeToString()
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert METHOD in record.getMessage()
    assert record.exc_info is not None
    assert "hunter2" in str(record.exc_info[1])
    assert record.exc_info[2] is not None


def test_an_error_of_ours_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    error_to_status(ModelUnavailable("risk", "away"), METHOD)
    assert not caplog.records


def test_more_violations_than_a_status_can_carry_are_counted() -> None:
    violations = {f"requests[{n}].history_item_ids[7]": "must have text" for n in range(1000)}
    status = error_to_status(InvalidRequest(violations), METHOD)
    seen = refusal(status)
    assert status.ByteSize() <= MAX_STATUS_BYTES + 64
    assert seen.metadata["violationCount"] == "1000"
    assert 30 < len(seen.violations) < 1000
    assert list(seen.violations) == list(violations)[: len(seen.violations)]


@pytest.mark.parametrize(
    "error",
    [
        InvalidRequest({"ü" * 1500: "ä" * 100_000}),
        ModelNotFound("score-risk", "\N{GRINNING FACE}" * 100_000),
        ModelUnavailable("score-risk", "x" * 100_000),
    ],
    ids=["violation", "name", "detail"],
)
def test_a_long_error_is_cut_to_what_a_client_accepts(error: GatewayError) -> None:
    status = error_to_status(error, METHOD)
    assert status.ByteSize() <= MAX_STATUS_BYTES + 256
    assert status.message.endswith("…")
    assert refusal(status).reason
