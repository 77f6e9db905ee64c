"""The spans of an inference that answers several calls.

Its client span lies in the trace of one of them, with Triton's spans below it. Each call has a
span ``batch`` of its own for the same time, joined to the client span by links both ways: from
every call's trace one finds what Triton did, and with whom the call travelled.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from types import TracebackType

from opentelemetry.trace import Span

from gateway.telemetry.sampled_call import Attribute, SampledCall
from gateway.telemetry.tracing import NO_TRACE, CallTrace

BATCH = "batch"


def batch_trace(traces: Sequence[CallTrace], calls: int) -> CallTrace:
    """Return what records an inference for several calls.

    Args:
        traces: Of those calls that are sampled.
        calls: How many there are in all.
    """
    sampled = [trace for trace in traces if isinstance(trace, SampledCall)]
    if calls == 1 or not sampled:
        return traces[0] if traces else NO_TRACE
    return BatchTrace(sampled, calls)


class BatchTrace:
    """The trace of an inference for several calls."""

    sampled = True

    def __init__(self, traces: Sequence[SampledCall], calls: int) -> None:
        self._traces = traces
        self._calls = calls

    def stage(self, name: str, start_ns: int | None = None) -> AbstractContextManager[None]:
        """Time a stage of every call."""
        stages = ExitStack()
        for trace in self._traces:
            stages.push(trace.stage(name, start_ns or time.time_ns()).__exit__)
        return _Entered(stages)

    def add_stage(self, name: str, start_ns: int, end_ns: int) -> None:
        """Add a stage to every call."""
        for trace in self._traces:
            trace.add_stage(name, start_ns, end_ns)

    def triton_call(self, model_name: str) -> AbstractContextManager[Mapping[str, str]]:
        """Time the call to Triton as that of every call."""
        return _BatchCall(self._traces, self._calls, model_name)

    def set_release(self, line: str, release: str, variant: str) -> None:
        """Drop it: each call has said so."""

    def set_attribute(self, name: str, value: Attribute) -> None:
        """Add an attribute to every call."""
        for trace in self._traces:
            trace.set_attribute(name, value)

    def finish(self, code: int, error: BaseException | None = None) -> None:
        """End nothing: each call ends by itself."""


class _Entered(AbstractContextManager[None]):
    def __init__(self, stages: ExitStack) -> None:
        self._stages = stages

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stages.__exit__(exc_type, exc, traceback)


class _BatchCall(AbstractContextManager[Mapping[str, str]]):
    """The client span in the first call's trace, and a linked span in each."""

    def __init__(self, traces: Sequence[SampledCall], calls: int, model_name: str) -> None:
        attributes: dict[str, Attribute] = {"trident.batch.calls": calls}
        self._spans: list[Span] = [trace.start_span(BATCH, attributes) for trace in traces]
        self._call = traces[0].triton_call(model_name, below=self._spans[0], attributes=attributes)
        client = self._call.span
        for span in self._spans[1:]:
            span.add_link(client.get_span_context())
            client.add_link(span.get_span_context())

    def __enter__(self) -> Mapping[str, str]:
        return self._call.__enter__()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._call.__exit__(exc_type, exc, traceback)
        for span in self._spans:
            if exc_type is not None:
                span.set_attribute("error.type", exc_type.__qualname__)
            span.end()
