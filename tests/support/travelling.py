"""Calls that travel to Triton together, without a transport."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.telemetry.passage import Passage
from gateway.telemetry.tracing import CallTrace, InferenceTrace, shared_inference


def together(calls: Sequence[CallTrace]) -> InferenceTrace:
    """What records an inference for one request of each call, and nothing else of their ways."""
    company = [Passage(call) for call in calls]
    for one in company:
        one.call.went(one)
    return shared_inference(company)
