"""The ways of requests to Triton and back, as they are noted: alone, or in company.

Every call passes here, so what is written is slots and no more. What they mean is worked out for
those calls whose trace, or whose metrics, somebody wants.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from traceback import format_exception
from typing import Any, Protocol

from gateway.telemetry.record import ADMISSION, BATCH, DECODE, ENCODE, QUEUE, TRITON, Stage
from gateway.telemetry.span import ALL_BITS, new_span_id, new_trace_id
from gateway.telemetry.trace_context import TRACEPARENT, write_traceparent


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


class Traveller(Protocol):
    """What is asked of a recorded call whose request travels."""

    end_ns: int
    records: bool
    sampled: bool | None
    trace_id: int

    def decide(self) -> bool:
        """Return whether it is sampled; decide now, if that is still open."""
        ...

    def passed_on(self) -> dict[str, str]:
        """Return the client's headers that go on to Triton as they came."""
        ...

    def came_back_late(self) -> None:
        """Take note that an inference is over that this call, which has ended, was in."""
        ...


class Passage:
    """The way of one request: decoded, kept waiting, asked about at Triton, its answer encoded.

    Args:
        call: The record of the call whose request it is; let go of when that ends.
        start_ns: When it came; 0: its decoding is noted elsewhere.
        decoded_ns: When it had been decoded, and began to wait; 0: it waits for nobody.

    Attributes:
        left_ns: When it left for Triton; 0: it did not wait, or in vain.
        trip: The inference that it left with, if that is recorded.
        span_id: Of its span ``batch``, where its call was sampled when Triton was asked; else 0.
        end_ns: When its answer was encoded, or it was given up; 0: neither.
        error: The class of what went wrong.
        before: Of the same call, the one that was noted before.
        caller: The call itself, while its record may have to begin.
        answerer: The release that is asked, where that is noted here.
    """

    __slots__ = (
        "answerer", "before", "call", "caller", "decoded_ns", "end_ns", "error", "left_ns",
        "span_id", "start_ns", "trip",
    )  # fmt: skip

    def __init__(self, call: Any, start_ns: int = 0, decoded_ns: int = 0) -> None:
        self.call = call
        self.start_ns = start_ns
        self.decoded_ns = decoded_ns
        self.left_ns = self.span_id = self.end_ns = 0
        self.error = ""
        self.trip: Inference | None = None
        self.before: Passage | None = None
        self.caller: Any = None
        self.answerer: Any = None

    def turn_back(self) -> None:
        """Wait once more, after an inference that brought no answer; that is noted by itself."""
        first = Passage(self.call, self.start_ns, self.decoded_ns)
        first.left_ns, first.span_id, first.trip = self.left_ns, self.span_id, self.trip
        self.start_ns, self.decoded_ns = 0, self.trip.end_ns if self.trip else self.left_ns
        self.left_ns, self.span_id, self.trip = 0, 0, None
        self.call.went(first)

    def add_stages(self, stages: list[Stage], until_ns: int) -> None:
        """Add what it says; of an inference, nothing after its call had left."""
        trip, left_ns, end_ns = self.trip, self.left_ns, self.end_ns
        if self.start_ns:
            stages.append((DECODE, self.start_ns, self.decoded_ns, ""))
        if left_ns:
            stages.append((QUEUE, self.decoded_ns, left_ns, ""))
        elif self.decoded_ns and end_ns:  # refused, or it waited in vain
            stages.append((QUEUE, self.decoded_ns, end_ns, self.error))
        back_ns = left_ns
        if trip is not None:
            back_ns = trip.end_ns
            shared = trip.stages()
            if back_ns > until_ns:
                shared = [
                    (name, start, min(end, until_ns), why) for name, start, end, why in shared
                ]
            stages += shared
        if left_ns and end_ns and not self.error:
            stages.append((ENCODE, back_ns, end_ns, ""))


class Inference:
    """A request to Triton for one request or several.

    Args:
        company: Whose; of those that are not recorded, or were given up, nothing is noted.
        size: How many calls there are in all.
        rows: How many rows.

    Attributes:
        attempts: Who was asked and when, where that was done more than once.
        owner_trace_id: The trace that has Triton's spans, with ``owner_span_id``, its call's span;
            0: Triton was told of none.
        mates: Trace and span IDs of the other calls that are sampled.
        target: Who was asked first, or gave the answer.
        late: Calls that ended before it did, once for each of their requests.
    """

    __slots__ = (
        "_answered", "_company", "_stages", "admitted_ns", "attempts", "end_ns", "entered_ns",
        "failure", "late", "mates", "model", "owner_span_id", "owner_trace_id", "rows", "size",
        "span_id", "start_ns", "target",
    )  # fmt: skip

    def __init__(self, company: Sequence[Passage], size: int, rows: int) -> None:
        self._company = company
        self.size = size
        self.rows = rows
        self.model = self.target = ""
        self.attempts: tuple[tuple[str, int], ...] = ()
        self._answered = -1
        self.failure: Failure | None = None
        self.span_id = 0
        self.owner_trace_id = self.owner_span_id = 0
        self.mates: list[tuple[int, int]] = []
        self.late: list[Traveller] = []
        self._stages: list[Stage] | None = None
        self.entered_ns = time.time_ns()
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
        sampled = self._decide()
        headers = self._introduce(sampled) if sampled else {}
        self._company = ()
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
        """Take note of the end, the first that is told, and tell those who left before."""
        if self.end_ns:
            return
        self.end_ns = time.time_ns()
        if error is not None:
            self.failure = Failure(error)
        company, self._company = self._company, ()  # they would hold each other
        for one in company:  # there are any only if Triton was not asked
            if one.call is not None and not one.call.end_ns and not one.end_ns:
                one.trip = self
        late, self.late = self.late, []
        for call in late:
            call.came_back_late()

    def stages(self) -> list[Stage]:
        """Return what its calls went through together, once it is over."""
        if self._stages is None:
            self._stages = self._made_stages()
        return self._stages

    def _made_stages(self) -> list[Stage]:
        if not self.start_ns:  # Triton was not asked
            failed = self.failure.type if self.failure and not self.admitted_ns else ""
            return [(ADMISSION, self.entered_ns, self.admitted_ns or self.end_ns, failed)]
        name = TRITON if self.size == 1 else BATCH
        return [
            (ADMISSION, self.entered_ns, self.admitted_ns, ""),
            (name, self.start_ns, self.end_ns, ""),
        ]

    def _decide(self) -> list[Passage]:
        """Decide for all together whose clients have not; return those that are sampled."""
        verdict: bool | None = None
        found: list[Passage] = []
        for one in self._company:
            call = one.call
            # It left while it waited: nothing more can be noted.
            if call is None or call.end_ns or one.end_ns:
                continue
            sampled = call.sampled
            if sampled is None:
                if verdict is None:
                    verdict = call.decide()
                sampled = verdict
                if not call.records and verdict:
                    call = one.call = call.begin(one.caller, one)
                if call.records:
                    call.sampled = verdict
            one.trip = self
            if sampled:
                found.append(one)
        return found

    def _introduce(self, sampled: Sequence[Passage]) -> dict[str, str]:
        """Give these spans that know each other; return the headers of the one for all."""
        # The spans of the calls for it are numbered from a random one: they are in other traces.
        self.span_id = span_id = new_span_id()
        for one in sampled:
            one.span_id = span_id = span_id + 1 & ALL_BITS or 1
            call: Traveller = one.call
            call.trace_id = call.trace_id or new_trace_id()
            self.mates.append((call.trace_id, span_id))
        self.owner_trace_id, self.owner_span_id = self.mates.pop(0)
        owner: Traveller = sampled[0].call
        return {TRACEPARENT: write_traceparent(owner.trace_id, self.span_id), **owner.passed_on()}
