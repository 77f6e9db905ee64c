from __future__ import annotations

import asyncio

import grpc
import pytest

from gateway.errors import (
    DeadlineExceeded,
    GatewayError,
    ModelContractBroken,
    ModelUnavailable,
    Overloaded,
)
from gateway.triton.errors import failed_step, translating_triton_errors
from gateway.triton.tensors import MalformedTensor

EXPECTED = {
    grpc.StatusCode.UNAVAILABLE: ModelUnavailable,
    grpc.StatusCode.CANCELLED: ModelUnavailable,
    grpc.StatusCode.ABORTED: ModelUnavailable,
    grpc.StatusCode.NOT_FOUND: ModelUnavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Overloaded,
}
"""Every other code is a broken contract, as long as the model is loaded."""


def rpc_error(code: grpc.StatusCode, details: str = "no") -> grpc.aio.AioRpcError:
    empty = grpc.aio.Metadata()
    return grpc.aio.AioRpcError(code, empty, empty, details)


async def translated(error: BaseException, *, loaded: bool = True) -> BaseException:
    async def is_loaded() -> bool:
        return loaded

    with pytest.raises(BaseException) as raised:  # noqa: PT011 - whatever it is made of
        async with translating_triton_errors("score-risk", "r1", is_loaded):
            raise error
    return raised.value


@pytest.mark.parametrize("code", grpc.StatusCode)
async def test_every_code_becomes_an_error_of_the_gateway(code: grpc.StatusCode) -> None:
    given = rpc_error(code)

    error = await translated(given)

    assert type(error) is EXPECTED.get(code, ModelContractBroken)
    assert isinstance(error, GatewayError)
    assert error.__cause__ is given
    assert error.metadata["line"] == "score-risk"


@pytest.mark.parametrize("code", grpc.StatusCode)
async def test_what_can_be_tried_again_says_when(code: grpc.StatusCode) -> None:
    error = await translated(rpc_error(code))

    assert isinstance(error, GatewayError)
    retried = isinstance(error, ModelUnavailable | Overloaded)
    assert (error.retry_after_s is not None) == retried


@pytest.mark.parametrize(
    "code", [code for code in grpc.StatusCode if code not in EXPECTED], ids=str
)
async def test_a_model_that_is_not_loaded_is_unavailable_not_broken(code: grpc.StatusCode) -> None:
    error = await translated(rpc_error(code), loaded=False)

    assert type(error) is ModelUnavailable


async def test_a_broken_contract_names_the_step_that_failed() -> None:
    details = "in ensemble 'score-risk__r1', Failed to process 'score-risk__r1__prepare': nan"

    error = await translated(rpc_error(grpc.StatusCode.INTERNAL, details))

    assert isinstance(error, ModelContractBroken)
    assert error.metadata == {"line": "score-risk", "release": "r1", "step": "prepare"}
    assert "nan" not in error.message


async def test_what_triton_sent_and_makes_no_sense_breaks_the_contract() -> None:
    assert type(await translated(MalformedTensor("x", "is torn"))) is ModelContractBroken


@pytest.mark.parametrize("error", [asyncio.CancelledError(), KeyError("bug")], ids=repr)
async def test_what_is_not_tritons_passes(error: BaseException) -> None:
    assert await translated(error) is error


async def test_nothing_is_asked_when_nothing_fails() -> None:
    async def never() -> bool:
        raise AssertionError("asked")

    async with translating_triton_errors("score-risk", "r1", never):
        done = True
    assert done


@pytest.mark.parametrize(
    ("details", "step"),
    [
        ("", ""),
        ("the ensemble 'score-risk__r1' failed", ""),
        ("'recommend__2026.1__rank', message: bad", "rank"),
        ("'diagnose-image__r1__look_twice' is gone", "look_twice"),
        ("in ensemble 'risk__r1', model 'risk__r1__score': index out of range", "score"),
        ("model 'risk__r1__fused': index out of range", ""),
    ],
)
def test_the_step_is_read_from_its_model_name(details: str, step: str) -> None:
    assert failed_step(details) == step
