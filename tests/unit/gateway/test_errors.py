from __future__ import annotations

from collections.abc import Iterator

import pytest
from google.rpc import code_pb2

from gateway.errors import (
    DeadlineExceeded,
    GatewayError,
    InvalidRequest,
    ModelContractBroken,
    ModelNotFound,
    ModelUnavailable,
    Overloaded,
    PermissionDenied,
    QuotaExceeded,
    ShuttingDown,
    Unauthenticated,
)
from trident.common.v1.error_reason_pb2 import ErrorReason

NOT_RAISED_YET = {"ERROR_REASON_UNSPECIFIED"}

ERRORS = (
    InvalidRequest({"item_count": "must be in [0, 100], got 101"}),
    Unauthenticated(),
    PermissionDenied("trident.risk.v1.RiskService/ScoreRisk"),
    ModelNotFound("score-risk", "a1"),
    ModelUnavailable("score-risk", "not loaded"),
    ShuttingDown(),
    Overloaded("recommend", 256),
    Overloaded("recommend"),
    Overloaded("recommend", why="deadline"),
    QuotaExceeded("billing", "100 requests per second", retry_after_s=0.2),
    DeadlineExceeded("recommend"),
    ModelContractBroken("score-risk", "a1", "rank"),
)


def classes(root: type[GatewayError]) -> Iterator[type[GatewayError]]:
    yield root
    for child in root.__subclasses__():
        yield from classes(child)


@pytest.mark.parametrize("kind", list(classes(GatewayError)))
def test_every_error_has_a_code_and_a_reason(kind: type[GatewayError]) -> None:
    assert kind.code in code_pb2.Code.values()
    assert kind.code != code_pb2.OK
    assert kind.reason in ErrorReason.values()
    assert kind.reason != 0


def test_every_error_but_the_root_has_its_own_code_and_reason() -> None:
    own = [kind for kind in classes(GatewayError) if kind is not GatewayError]
    assert all({"code", "reason"} <= set(vars(kind)) for kind in own)


def test_every_reason_is_used_by_an_error() -> None:
    used = {ErrorReason.Name(kind.reason) for kind in classes(GatewayError)}
    assert used == set(ErrorReason.keys()) - NOT_RAISED_YET


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_what_the_message_says_is_in_the_metadata_too(error: GatewayError) -> None:
    quoted = [value for key, value in error.metadata.items() if key != "violationCount"]
    assert all(value in error.message for value in quoted)
    assert str(error) == error.message


def test_retries_are_advised_where_they_help() -> None:
    advised = {type(error) for error in ERRORS if error.retry_after_s is not None}
    assert advised == {ModelUnavailable, ShuttingDown, Overloaded, QuotaExceeded}


def test_an_invalid_request_says_the_first_violation_and_how_many_more() -> None:
    error = InvalidRequest({"a": "must be b", "c": "must be d", "e": "must be f"})
    assert error.message == "Invalid request. a: must be b (and 2 more)"
    assert error.metadata == {"violationCount": "3"}
    assert list(error.violations) == ["a", "c", "e"]


def test_the_empty_path_is_the_message_itself() -> None:
    assert InvalidRequest({"": "must be a Note"}).message == "Invalid request. must be a Note"
