"""Tracing whose spans stay in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from kept_spans import KeptSpans

from gateway.telemetry.otlp_json import JsonSpans
from gateway.telemetry.otlp_protobuf import ProtobufSpans
from gateway.telemetry.tracing import Tracing


@pytest.fixture(params=[JsonSpans, ProtobufSpans], ids=["json", "protobuf"])
def kept(request: pytest.FixtureRequest) -> KeptSpans:
    """Holds the finished spans, in each encoding."""
    return KeptSpans(request.param())


@pytest.fixture
def build(kept: KeptSpans) -> Callable[..., Tracing]:
    """Makes tracing whose spans are kept here."""

    def build(**options: Any) -> Tracing:
        return Tracing([kept], **options)  # type: ignore[list-item]

    return build


@pytest.fixture
def tracing(build: Callable[..., Tracing]) -> Tracing:
    """Traces whatever no client forbids."""
    return build()
