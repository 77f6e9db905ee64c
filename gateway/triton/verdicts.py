"""Why a Triton is left out, or an inference is asked again elsewhere: one word for each."""

from __future__ import annotations

from typing import Literal, NamedTuple, Protocol

import grpc

from gateway.errors import GatewayError, ModelContractBroken, ModelUnavailable
from gateway.triton.http2.errors import BrokenAnswer
from gateway.triton.tensors import MalformedTensor

Kind = Literal["unreachable", "hangs", "slow", "wrong", "refuses", "misfit", "gone"]

UNREACHABLE: Kind = "unreachable"
"""Connections are refused, reset, or end without an answer; or the release is not loaded."""
HANGS: Kind = "hangs"
"""It takes requests and does not answer."""
SLOW: Kind = "slow"
"""It takes many times as long as the others."""
WRONG: Kind = "wrong"
"""Its answers are not what the release says: of other shapes or types, or no answers at all."""
REFUSES: Kind = "refuses"
"""It answers with errors; they may be the fault of the requests, so a trial decides."""
MISFIT: Kind = "misfit"
"""What it serves is not the release, or cannot be loaded."""
GONE: Kind = "gone"
"""It does not say that it lives."""


_SLOWER = 4.0
_SLOWER_BY_S = 0.02
"""A Triton is slow that takes so many times as long as the others, and so much longer."""


class HasTarget(Protocol):
    """A Triton's client."""

    @property
    def target(self) -> str:
        """Where it is."""
        ...


class Suspicion(NamedTuple):
    """That one Triton does badly with one release."""

    client: HasTarget
    key: tuple[str, str]
    """Line and release."""
    kind: Kind
    why: str
    usual_s: float
    """What its answers usually take."""
    sure: bool
    """Whether no trial is needed to know."""


def is_slow(time_s: float, others_s: float) -> bool:
    """Return whether a Triton that takes so long is slow, beside what the others take."""
    return time_s > max(_SLOWER * others_s, others_s + _SLOWER_BY_S)


def blame(error: BaseException) -> Kind | None:
    """Return what an inference's failure says of the Triton that was asked, if anything.

    A deadline that passed says nothing: the caller may have allowed too little.
    """
    if isinstance(error, ModelUnavailable):
        return UNREACHABLE
    if isinstance(error, ModelContractBroken):
        cause = error.__cause__
        broken = not isinstance(cause, grpc.RpcError) or isinstance(cause, BrokenAnswer)
        return WRONG if broken else REFUSES
    return None


def may_be_asked_elsewhere(error: GatewayError) -> bool:
    """Return whether another Triton may give the answer that this one did not.

    To ask twice changes nothing: an inference has no effect but its answer. What Triton refused
    with an error of its own, another one would refuse too.
    """
    return blame(error) in (UNREACHABLE, WRONG)


def reason_of(error: BaseException) -> str:
    """Return in words what went wrong, for the operator."""
    cause = error.__cause__
    if isinstance(cause, grpc.RpcError):
        details = cause.details() if hasattr(cause, "details") else str(cause)
        return " ".join((details or cause.code().name).split())[:200]
    if isinstance(cause, MalformedTensor):
        return f"in its answer, {cause}"
    return str(error)
