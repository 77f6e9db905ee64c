"""Triton's errors as the gateway's.

What Triton calls ``INVALID_ARGUMENT`` or ``NOT_FOUND`` is never the caller's fault: the
tensors are ours, and so is the name of the model.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import grpc

from gateway.errors import (
    DeadlineExceeded,
    GatewayError,
    ModelContractBroken,
    ModelUnavailable,
    Overloaded,
)
from gateway.triton.http2.errors import BrokenAnswer
from gateway.triton.tensors import MalformedTensor
from triton_models.release import FUSED

_AWAY = "Triton does not answer"
_NOT_LOADED = "Triton has not loaded it"

_MEANINGS: dict[grpc.StatusCode, Callable[[str], GatewayError]] = {
    grpc.StatusCode.UNAVAILABLE: lambda line: ModelUnavailable(line, _AWAY),
    # A server that stops cancels what it is doing; our own cancellation never comes here.
    grpc.StatusCode.CANCELLED: lambda line: ModelUnavailable(line, _AWAY),
    grpc.StatusCode.ABORTED: lambda line: ModelUnavailable(line, _AWAY),
    # After a restart, until the releases are loaded again.
    grpc.StatusCode.NOT_FOUND: lambda line: ModelUnavailable(line, _NOT_LOADED),
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Overloaded,
}

_MODEL = re.compile(r"__[a-z0-9.]+__([a-z0-9_-]+)")
_NODE = re.compile(r"Name:'([a-z0-9_-]+)/")
"""In what ONNX Runtime says: the builder names each node after its step."""


@asynccontextmanager
async def translating_triton_errors(
    line: str, release: str, is_loaded: Callable[[], Awaitable[bool]]
) -> AsyncIterator[None]:
    """Raise what an inference of a release raises as the gateway's errors.

    Args:
        line: Of the release.
        release: Its name.
        is_loaded: Asks Triton whether it can run the release. While one is loaded or unloaded,
            Triton refuses it with codes that a broken contract has too.

    Raises:
        ModelUnavailable: If Triton is away, or has not loaded the release.
        Overloaded: If Triton takes no more.
        DeadlineExceeded: If the deadline passed.
        ModelContractBroken: If Triton refuses our tensors, or its own make no sense.
    """
    try:
        yield
    except BrokenAnswer as error:
        raise ModelContractBroken(line, release) from error
    except grpc.RpcError as error:
        code = error.code()
        if code in _MEANINGS:
            raise _MEANINGS[code](line) from error
        if not await is_loaded():
            raise ModelUnavailable(line, _NOT_LOADED) from error
        raise ModelContractBroken(line, release, failed_step(error.details() or "")) from error
    except MalformedTensor as error:
        raise ModelContractBroken(line, release) from error


def failed_step(details: str) -> str:
    """Return the step that Triton's message names, or ``""``; only ever shown, never decided on."""
    node = _NODE.search(details)
    if node:
        return node[1]
    model = _MODEL.search(details)
    return model[1] if model and model[1] != FUSED else ""
