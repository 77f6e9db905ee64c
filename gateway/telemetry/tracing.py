"""Which calls are recorded, and of which the trace is kept."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from math import inf
from random import random
from typing import Protocol

from gateway.telemetry.parties import Answerer, Caller
from gateway.telemetry.passage import Inference, Passage
from gateway.telemetry.record import SERVER_FAULTS, RecordSink
from gateway.telemetry.recording import RecordedCall
from gateway.telemetry.span import Attribute, Span
from gateway.telemetry.span_queue import SpanQueue
from gateway.telemetry.trace_context import TRACEPARENT
from gateway.telemetry.undecided import SingleCall, Undecided

_log = logging.getLogger(__name__)

DEFAULT_TIMEOUT_S = 5.0


class InferenceTrace(Protocol):
    """The record of one request to Triton."""

    def admitted(self) -> None:
        """Take note that Triton may be asked."""
        ...

    def ask(self, model: str, target: str = "") -> dict[str, str]:
        """Take note that Triton is asked now; return the headers to send with it.

        ``traceparent`` among them goes as the request's ``id`` too. ``target``: its address.
        """
        ...

    def ask_again(self, target: str) -> None:
        """Take note that a Triton is asked too, or because another attempt failed."""
        ...

    def answered_by(self, attempt: int) -> None:
        """Take note which of several attempts gave the answer; 0: the first one."""
        ...

    def end(self, error: BaseException | None = None) -> None:
        """Take note of the end, whatever it was."""
        ...


class CallTrace(Protocol):
    """The record of one call."""

    @property
    def records(self) -> bool:
        """Whether anything is recorded."""
        ...

    def add_stage(
        self, name: str, start_ns: int, end_ns: int, error: BaseException | None = None
    ) -> None:
        """Add a stage that is over, ``decode``, ``queue`` or ``encode``; in ns since 1970."""
        ...

    def went(self, passage: Passage) -> None:
        """Take note of the way of a request, which nobody changes from now on."""
        ...

    def set_release(self, release: Answerer) -> None:
        """Say which release answers."""
        ...

    def set_attribute(self, name: str, value: Attribute) -> None:
        """Add an attribute to the server span."""
        ...

    def inference(self, rows: int = 1) -> InferenceTrace:
        """Return what records an inference for this call alone."""
        ...

    def finish(self, code: int, error: BaseException | None = None, *, fault: bool = False) -> None:
        """End the call with a ``google.rpc.Code`` and what went wrong, if anything.

        ``fault``: whether that is a surprise, whose traceback is wanted.
        """
        ...


class Noted(SingleCall, Protocol):
    """A call that has a trace."""

    trace: CallTrace | Undecided


class Tracing:
    """Records each call, and sends the traces that are kept.

    Kept are calls that are sampled: where the client sent a ``traceparent`` it decides, else
    chance. And, whatever was decided, those that failed or took long; Triton was not told of
    these, so their traces have the gateway's spans only.

    Args:
        queues: To the exporters; without any, no trace is kept.
        sample_ratio: Share of the calls that are sampled if the client does not decide, in [0, 1].
        keep_errors: Whether those that failed by the server's fault are kept.
        keep_slower_s: From how many seconds a call is kept; ``None``: never for that.
        sink: Gets every call that ends; must be fast.
        always_noted: Whether notes are taken even if neither trace nor sink wants them.
    """

    def __init__(
        self,
        queues: Sequence[SpanQueue] = (),
        *,
        sample_ratio: float = 1.0,
        keep_errors: bool = True,
        keep_slower_s: float | None = None,
        sink: RecordSink | None = None,
        always_noted: bool = False,
    ) -> None:
        self._queues = tuple(queues)
        self._undecided = Undecided(self)
        self.keep(sample_ratio, keep_errors, keep_slower_s)
        self._sink = sink
        self._always_noted = always_noted or sink is not None
        self._records = bool(queues) or self._always_noted
        self._all_queues = self._queues

    def keep(self, sample_ratio: float, keep_errors: bool, keep_slower_s: float | None) -> None:
        """Keep other traces from now on; as for the constructor."""
        self.ratio = sample_ratio if self._queues else 0.0
        self._keep_errors = keep_errors
        self.keep_slower_ns = inf if keep_slower_s is None else int(1e9 * keep_slower_s)

    @property
    def is_on(self) -> bool:
        """Whether any trace is kept."""
        return bool(self._queues)

    @property
    def dropped_spans(self) -> int:
        """Spans that did not fit into a queue, or could not be sent."""
        return sum(queue.dropped for queue in self._all_queues)

    @property
    def sent_spans(self) -> int:
        """Spans that were sent."""
        return sum(queue.sent for queue in self._all_queues)

    def start_call(self, caller: Caller) -> CallTrace:
        """Start the record of a call, in the trace of its client if it sent one."""
        if not self._records:
            return NO_TRACE
        call = RecordedCall(caller, self)
        if not self._queues:  # Triton is told of no trace that nobody keeps
            call.sampled = False
        return call

    def start_single(self, call: SingleCall) -> CallTrace | Undecided:
        """Start the record of a call with one request, or leave that for when it is needed."""
        if (
            not self._queues
            or self._always_noted
            or self.ratio >= 1
            or call.header(TRACEPARENT) is not None
        ):
            return self.start_call(call)
        return self._undecided

    def draw(self) -> bool:
        """Return whether chance samples a call."""
        return random() < self.ratio

    def export(self, spans: Sequence[Span]) -> None:
        """Send finished spans of another process where ours go. Returns at once."""
        for queue in self._queues:
            queue.put(spans)

    def shutdown(self, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """Send what is left and stop, ``timeout_s`` at most. Can be repeated."""
        queues, self._queues = self._queues, ()
        self._records = self._always_noted
        end = time.monotonic() + timeout_s
        for queue in queues:  # so that none waits for another
            queue.stop_taking()
        for queue in queues:
            queue.close(max(0.0, end - time.monotonic()))

    def ended(self, call: RecordedCall) -> None:
        """Take a call that has ended, or a part of a stream that goes on."""
        if self._sink is not None:
            call.settle()
        kept = call.sampled
        if kept is None:
            kept = call.decide()
        if not kept:  # of a part of a stream the end is 0
            kept = call.end_ns - call.start_ns >= self.keep_slower_ns or (
                call.code != 0 and self._keep_errors and call.code in SERVER_FAULTS
            )
        if kept and self._queues:
            call.let_caller_go()
            call.ids()
            for queue in self._queues:
                queue.put(call)
        else:
            call.caller, call.trace_id = None, 0
        if self._sink is not None:
            try:
                self._sink(call)
            except Exception:  # must not fail the call
                _log.exception("A call could not be counted")


def recorded(call: Noted, way: Passage | None = None) -> CallTrace:
    """Return the record of a call, which begins now if that was left open.

    Args:
        call: Which.
        way: Of its request, if that has begun.
    """
    trace = call.trace
    return trace.begin(call, way) if isinstance(trace, Undecided) else trace


class _NoInference:
    """The record of an inference that nobody records."""

    def admitted(self) -> None:
        """Take no note."""

    def ask(self, model: str, target: str = "") -> dict[str, str]:
        """Give no headers: Triton would trace whatever has a ``traceparent``."""
        return {}

    def ask_again(self, target: str) -> None:
        """Take no note."""

    def answered_by(self, attempt: int) -> None:
        """Take no note."""

    def end(self, error: BaseException | None = None) -> None:
        """Take no note."""


class _NoTrace:
    """The record of a call that nobody records."""

    records = False
    """Whether anything is recorded."""
    end_ns = 1
    """Of one that has ended nothing is noted."""

    def add_stage(
        self, name: str, start_ns: int, end_ns: int, error: BaseException | None = None
    ) -> None:
        """Drop it."""

    def went(self, passage: Passage) -> None:
        """Drop it."""

    def set_release(self, release: Answerer) -> None:
        """Drop it."""

    def set_attribute(self, name: str, value: Attribute) -> None:
        """Drop it."""

    def inference(self, rows: int = 1) -> InferenceTrace:
        """Record nothing."""
        return NO_INFERENCE

    def finish(self, code: int, error: BaseException | None = None, *, fault: bool = False) -> None:
        """End nothing."""


NO_INFERENCE: InferenceTrace = _NoInference()
NO_TRACE: CallTrace = _NoTrace()


def shared_inference(company: Sequence[Passage]) -> InferenceTrace:
    """Return what records an inference for several requests, a row each."""
    for one in company:
        if isinstance(one.call, RecordedCall | Undecided):  # mostly the first is, or none
            return Inference(company, len(company), len(company))
    return NO_INFERENCE
