"""A call while it is answered: cheap notes, of which spans are made once it has ended, if at all.

Times are always taken, because only the end tells whether the call failed or was slow, and then
its trace is kept whatever the sampling said. A note is a tuple in a list; IDs, attributes and
texts are made when the spans are written, on another thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from itertools import pairwise
from random import random
from traceback import format_exception
from typing import Protocol

from gateway.telemetry.record import ADMISSION, BATCH, TRITON, CallRecord
from gateway.telemetry.span import ALL_BITS, Attribute, Attributes, new_span_id, new_trace_id
from gateway.telemetry.trace_context import (
    BAGGAGE,
    TRACEPARENT,
    TRACESTATE,
    read_parent,
    write_traceparent,
)

MAX_STAGES = 512
"""Of a stream: then those so far are sent, or forgotten, as its sampling says."""


class Caller(Protocol):
    """What tracing asks of a transport's call."""

    method: str
    received_ns: int

    def header(self, key: str) -> str | None:
        """Return the last text metadata with this key."""
        ...

    def peer(self) -> str:
        """Return the client's address, as gRPC writes it."""
        ...


class Failure:
    """What went wrong, kept without the frames and all that they hold."""

    __slots__ = ("details", "status", "text", "trace", "type")

    def __init__(self, error: BaseException, *, with_trace: bool = False) -> None:
        self.type = type(error).__qualname__
        code, details = getattr(error, "code", None), getattr(error, "details", None)
        self.status: str = getattr(code() if callable(code) else None, "name", "")
        """gRPC's name of its status, if it has one."""
        self.details = (details() if callable(details) else str(error)) or ""
        self.text = str(error)
        self.trace = "".join(format_exception(error)) if with_trace else ""


class RecordedCall(CallRecord):
    """A call that is recorded.

    Args:
        caller: The call; let go of when it ends.
        ended: Gets it when it has ended, and parts of a stream before.
        ratio: Chance that it is sampled if the client does not decide.

    Attributes:
        caller: Until it has ended: it holds much.
        sampled: Whether it is; ``None``: not decided. Calls that travel to Triton together are
            decided together, so that Triton traces as few requests as calls.
        failures: Of stages, by their place.
        dropped_stages: Of a stream that is not sampled: those forgotten.
        sent_stages: Of a stream that is: those that went before.
        inferences: What it asked of Triton, each with the ID of this call's span for it.
    """

    __slots__ = (
        "_ended", "_ratio", "attributes", "caller", "dropped_stages", "failure", "failures",
        "inferences", "parent_id", "peer", "sampled", "sent_stages", "span_id", "trace_state",
    )  # fmt: skip

    def __init__(self, caller: Caller, ended: Callable[[RecordedCall], None], ratio: float) -> None:
        # What CallRecord's own does too, written out: every call pays for this.
        self.method, self.start_ns = caller.method, caller.received_ns
        self.stages: list[tuple[str, int, int]] = []
        self.inferences: list[tuple[Inference, int]] = []
        self.end_ns = self.code = self.batch_calls = self.batch_rows = self.trace_id = 0
        self.parent_id = self.span_id = self.dropped_stages = self.sent_stages = 0
        self.line = self.release = self.variant = self.step = self.peer = self.trace_state = ""
        self.sampled: bool | None = None
        self.attributes: Attributes | None = None
        self.failure: Failure | None = None
        self.failures: dict[int, str] | None = None
        self.caller: Caller | None = caller
        self._ended = ended
        self._ratio = ratio
        header = caller.header(TRACEPARENT)
        parent = read_parent(header) if header else None
        if parent is not None:
            self.trace_id, self.parent_id = parent.trace_id, parent.span_id
            self.sampled = parent.sampled
        elif ratio >= 1:
            self.sampled = True

    @property
    def records(self) -> bool:
        """It does."""
        return True

    def passed_on(self) -> dict[str, str]:
        """Return the client's headers that go on to Triton as they came."""
        caller = self.caller
        if caller is None:
            return {}
        # A state without the trace that it is of says nothing.
        keys = (TRACESTATE, BAGGAGE) if self.parent_id else (BAGGAGE,)
        return {key: value for key in keys if (value := caller.header(key))}

    def let_caller_go(self) -> None:
        """Forget the caller and all that it holds, once what spans say of it is noted."""
        caller, self.caller = self.caller, None
        if caller is not None:
            self.peer = caller.peer()
            if self.parent_id:
                self.trace_state = caller.header(TRACESTATE) or ""

    def ids(self) -> tuple[int, int]:
        """Return its trace ID and the ID of its server span, which it has from now on."""
        if not self.trace_id:
            self.trace_id = new_trace_id()
        if not self.span_id:
            self.span_id = new_span_id()
        return self.trace_id, self.span_id

    def decide(self) -> bool:
        """Return whether it is sampled; decide now, if that is still open."""
        if self.sampled is None:
            self.sampled = random() < self._ratio
        return self.sampled

    def add_stage(
        self, name: str, start_ns: int, end_ns: int, error: BaseException | None = None
    ) -> None:
        """Add a stage that is over; times in ns since 1970. Nothing, once the call has ended."""
        if self.end_ns:  # a thread may be reading it
            return
        if error is not None:
            if self.failures is None:
                self.failures = {}
            self.failures[len(self.stages)] = type(error).__qualname__
        self.stages.append((name, start_ns, end_ns))
        if len(self.stages) >= MAX_STAGES:
            self._send_part()

    def set_release(self, line: str, release: str, variant: str) -> None:
        """Say which release answers."""
        self.line, self.release, self.variant = line, release, variant

    def set_attribute(self, name: str, value: Attribute) -> None:
        """Add an attribute to the server span."""
        if self.attributes is None:
            self.attributes = {}
        self.attributes[name] = value

    def inference(self, rows: int = 1) -> Inference:
        """Return what records an inference for this call alone."""
        return Inference((self,), 1, rows)

    def finish(self, code: int, error: BaseException | None = None, *, fault: bool = False) -> None:
        """End it. Who travels with others may end before they do: then it is told when they have.

        Args:
            code: A ``google.rpc.Code``.
            error: What went wrong, if anything.
            fault: Whether that is a surprise: then its traceback is kept.
        """
        self.end_ns = time.time_ns()
        self.code = code
        if error is not None:
            self.failure = Failure(error, with_trace=fault)
            metadata = getattr(error, "metadata", None)
            if isinstance(metadata, Mapping):
                self.step = str(metadata.get("step", ""))
        for inference, _ in self.inferences:
            if not inference.end_ns:
                return
        self._ended(self)

    def came_back_late(self, stages: Sequence[tuple[str, int, int]]) -> None:
        """Take note that an inference is over that this call, which has ended, was in."""
        # What came after it had left is no time of its own.
        self.stages += [(name, start, min(end, self.end_ns)) for name, start, end in stages]
        if all(inference.end_ns for inference, _ in self.inferences):
            self._ended(self)

    def _send_part(self) -> None:
        """Let the stages so far of a long stream go."""
        self.ids()
        part = copy(self)
        part.inferences = [one for one in self.inferences if one[0].end_ns]
        self.inferences = [one for one in self.inferences if not one[0].end_ns]
        self.stages, self.failures = [], None
        self.sent_stages += len(part.stages)
        if not self.decide():
            self.dropped_stages += len(part.stages)
        self._ended(part)


class Inference:
    """A request to Triton for one call or several.

    Args:
        calls: Those that are recorded.
        size: How many calls there are in all.
        rows: How many rows.
    """

    __slots__ = (
        "_answered", "_calls", "_entered_ns", "admitted_ns", "attempts", "end_ns", "failure",
        "mates", "model", "owner_span_id", "owner_trace_id", "rows", "size", "span_id",
        "start_ns", "target",
    )  # fmt: skip

    def __init__(self, calls: Sequence[RecordedCall], size: int, rows: int) -> None:
        self._calls = calls
        self.size = size
        self.rows = rows
        self.model = self.target = ""
        """Who was asked first, or gave the answer."""
        self.attempts: tuple[tuple[str, int], ...] = ()
        """Who was asked and when, where that was done more than once."""
        self._answered = -1
        self.failure: Failure | None = None
        self.span_id = 0
        self.owner_trace_id = self.owner_span_id = 0
        """The trace that has Triton's spans, and its call's span; 0: Triton was told of none."""
        self.mates: list[tuple[int, int]] = []
        """Trace and span IDs of the other calls that are sampled."""
        self._entered_ns = time.time_ns()
        self.admitted_ns = self.start_ns = self.end_ns = 0

    def admitted(self) -> None:
        """Take note that Triton may be asked."""
        self.admitted_ns = time.time_ns()

    def ask(self, model: str, target: str = "") -> dict[str, str]:
        """Take note that a Triton is asked now; return the headers to send with it.

        ``traceparent`` is among them only if a call is sampled, because Triton ignores the
        sampled flag. Send it as the request's ``id`` too: Triton overlooks the header now and
        then, and its spans are put in their place by the ID (:mod:`.triton_spans`).
        """
        self.model = model
        self.target = target
        self._decide()
        owner, somebody_left = None, False
        # The spans of the calls for it are numbered from a random one: they are in other traces.
        self.span_id = span_id = new_span_id()
        for call in self._calls:
            if call.end_ns:
                somebody_left = True
                continue
            span_id = span_id + 1 & ALL_BITS or 1
            call.inferences.append((self, span_id))
            if call.sampled:
                call.trace_id = call.trace_id or new_trace_id()
                if owner is None:
                    owner = call
                    self.owner_trace_id, self.owner_span_id = call.trace_id, span_id
                else:
                    self.mates.append((call.trace_id, span_id))
        if somebody_left:  # while they waited: nothing more can be noted of them
            self._calls = [call for call in self._calls if not call.end_ns]
        headers: dict[str, str] = {}
        if owner is not None:
            headers = {
                TRACEPARENT: write_traceparent(owner.trace_id, self.span_id),
                **owner.passed_on(),
            }
        self.start_ns = time.time_ns()
        return headers

    def ask_again(self, target: str) -> None:
        """Take note that a Triton is asked too, or because another attempt failed."""
        if not self.end_ns:  # a thread may be reading it
            before = self.attempts or ((self.target, self.start_ns),)
            self.attempts = (*before, (target, time.time_ns()))
            self.target = target

    def answered_by(self, attempt: int) -> None:
        """Take note which attempt gave the answer, the first that is told; 0: the first one."""
        if self._answered < 0 and not self.end_ns:
            self._answered = attempt
            self.target = self.attempts[attempt][0]

    def in_vain(self) -> Iterator[tuple[str, int, int]]:
        """Yield the attempts before the one that answered: who was asked, from when until when."""
        last = self._answered if self._answered >= 0 else len(self.attempts) - 1
        for (target, asked_ns), (_, next_ns) in pairwise(self.attempts[: last + 1]):
            yield target, asked_ns, next_ns

    def end(self, error: BaseException | None = None) -> None:
        """Take note of the end, the first that is told, and tell the calls of it."""
        if self.end_ns:
            return
        now = time.time_ns()
        self.end_ns = now
        if error is not None:
            self.failure = Failure(error)
        calls, self._calls = self._calls, ()
        if not self.start_ns:  # Triton was not asked
            failure = None if self.admitted_ns else error
            for call in calls:
                call.add_stage(ADMISSION, self._entered_ns, self.admitted_ns or now, failure)
            return
        stages = (
            (ADMISSION, self._entered_ns, self.admitted_ns),
            (TRITON if self.size == 1 else BATCH, self.start_ns, now),
        )
        late: list[RecordedCall] = []
        for call in calls:
            call.batch_calls, call.batch_rows = self.size, self.rows
            if call.end_ns:
                late.append(call)
            else:
                call.stages += stages
        for call in dict.fromkeys(late):  # a stream can be in it more than once
            call.came_back_late(stages)

    def _decide(self) -> None:
        """Decide for all together whose clients have not."""
        undecided = [call for call in self._calls if call.sampled is None]
        if undecided:
            verdict = undecided[0].decide()
            for call in undecided:
                call.sampled = verdict
