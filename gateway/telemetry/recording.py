"""A call while it is answered: cheap notes, of which spans are made once it has ended, if at all.

Times are always taken, because only the end tells whether the call failed or was slow, and then
its trace is kept whatever the sampling said. Most calls are neither, nor sampled: so stages, IDs,
attributes and texts are made of the notes when somebody wants them, after the call was answered.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from copy import copy
from typing import Protocol

from gateway.telemetry.parties import Answerer, Caller
from gateway.telemetry.passage import Failure, Inference, Passage
from gateway.telemetry.record import CallRecord, Stage
from gateway.telemetry.span import ALL_BITS, Attribute, Attributes, new_base_id, new_trace_id
from gateway.telemetry.trace_context import BAGGAGE, TRACEPARENT, TRACESTATE, read_parent

MAX_STAGES = 512
"""Of a stream: then those so far are sent, or forgotten, as its sampling says."""

_STAGES_OF_A_PASSAGE = 5


class Keeper(Protocol):
    """Decides what becomes of calls."""

    ratio: float
    """Chance that a call is sampled if its client does not decide."""
    keep_slower_ns: float
    """From how many ns a call is kept, whoever decided."""

    def draw(self) -> bool:
        """Return whether chance samples a call."""
        ...

    def ended(self, call: RecordedCall) -> None:
        """Take a call that has ended, or a part of a stream that goes on."""
        ...


class Rare:
    """What few calls have.

    Attributes:
        attributes: More of the server's span.
        failure: What went wrong.
        step: Of the ensemble, where it failed.
        dropped_stages: Of a stream that is not sampled: those forgotten.
        sent_stages: Of a stream that is: those that went before, at most.
    """

    __slots__ = ("attributes", "dropped_stages", "failure", "sent_stages", "step")

    def __init__(self) -> None:
        self.attributes: Attributes = {}
        self.failure: Failure | None = None
        self.step = ""
        self.dropped_stages = self.sent_stages = 0


NOTHING_RARE = Rare()
"""Of all calls that have nothing of it; never changed."""


class RecordedCall(CallRecord):
    """A call that is recorded.

    Args:
        caller: The call; let go of when it ends.
        keeper: Gets it when it has ended, and parts of a stream before.

    Attributes:
        caller: Until it has ended: it holds much.
        sampled: Whether it is; ``None``: not decided. Calls that travel to Triton together are
            decided together, so that Triton traces as few requests as calls.
        answerer: The release that answers, once it was chosen.
        notes: Stages that were told one by one, if any.
        passage: The last of its requests whose way was told; each knows the one before.
        rare: What few calls have, if it has any of it.
        size: How many stages were noted, at most.
        awaited: Inferences that were under way when it ended, and still are.
    """

    __slots__ = (
        "_keeper", "answerer", "awaited", "caller", "notes", "parent_id", "passage", "peer", "rare",
        "sampled", "size", "span_id", "trace_state",
    )  # fmt: skip

    records = True
    """Whether anything is recorded."""

    def __init__(self, caller: Caller, keeper: Keeper) -> None:
        # Every call pays for each line here. What is not here is written before it is read: by
        # `finish`, by `let_caller_go` and `settle`.
        self.caller: Caller | None = caller
        self._keeper = keeper
        self.start_ns = caller.received_ns
        self.end_ns = self.trace_id = self.parent_id = self.span_id = self.size = 0
        self.sampled: bool | None = None
        self.answerer: Answerer | None = None
        self.notes: list[Stage] | None = None
        self.passage: Passage | None = None
        self.rare: Rare | None = None
        header = caller.header(TRACEPARENT)
        parent = read_parent(header) if header else None
        if parent is not None:
            self.trace_id, self.parent_id = parent.trace_id, parent.span_id
            self.sampled = parent.sampled
        elif keeper.ratio >= 1:
            self.sampled = True

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
            self.method, self.peer = caller.method, caller.peer()
            self.trace_state = (self.parent_id and caller.header(TRACESTATE)) or ""

    def ids(self) -> tuple[int, int]:
        """Return its trace ID and the ID of its server span, which it has from now on."""
        if not self.trace_id:
            self.trace_id = new_trace_id()
        if not self.span_id:
            self.span_id = new_base_id()
        return self.trace_id, self.span_id

    def decide(self) -> bool:
        """Return whether it is sampled; decide now, if that is still open."""
        if self.sampled is None:
            self.sampled = self._keeper.draw()
        return self.sampled

    def add_stage(
        self, name: str, start_ns: int, end_ns: int, error: BaseException | None = None
    ) -> None:
        """Add a stage that is over; times in ns since 1970. Nothing, once the call has ended."""
        if self.end_ns:  # a thread may be reading it
            return
        if self.notes is None:
            self.notes = []
        failed = "" if error is None else type(error).__qualname__
        self.notes.append((name, start_ns, end_ns, failed))
        self.size += 1
        if self.size >= MAX_STAGES:
            self._send_part()

    def went(self, passage: Passage) -> None:
        """Take note of the way of a request. Nothing, once the call has ended."""
        if self.end_ns:
            return
        passage.before = self.passage
        self.passage = passage
        self.size = size = self.size + _STAGES_OF_A_PASSAGE
        if size >= MAX_STAGES:
            self._send_part()

    def set_release(self, release: Answerer) -> None:
        """Say which release answers."""
        self.answerer = release

    def set_attribute(self, name: str, value: Attribute) -> None:
        """Add an attribute to the server span."""
        self._rarely().attributes[name] = value

    def inference(self, rows: int = 1) -> Inference:
        """Return what records an inference for this call alone."""
        passage = Passage(self)
        self.went(passage)
        return Inference((passage,), 1, rows)

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
            rare = self._rarely()
            rare.failure = Failure(error, with_trace=fault)
            metadata = getattr(error, "metadata", None)
            if isinstance(metadata, Mapping):
                rare.step = str(metadata.get("step", ""))
        awaited, passage = 0, self.passage
        while passage is not None:
            passage.call = None  # they would hold each other
            trip = passage.trip
            if trip is not None and not trip.end_ns:
                trip.late.append(self)
                awaited += 1
            passage = passage.before
        if awaited:
            self.awaited = awaited
        else:
            self._keeper.ended(self)

    def came_back_late(self) -> None:
        """Take note that an inference is over that this call, which has ended, was in."""
        self.awaited -= 1
        if not self.awaited:
            self._keeper.ended(self)

    def passages(self) -> list[Passage]:
        """Return the ways of its requests, as they were noted."""
        passage = self.passage
        if passage is not None and passage.before is None:
            return [passage]
        found = []
        while passage is not None:
            found.append(passage)
            passage = passage.before
        found.reverse()
        return found

    def all_stages(self) -> list[Stage]:
        """Return all that was noted; on any thread, once it has ended."""
        stages = list(self.notes or ())
        for passage in self.passages():
            passage.add_stages(stages, self.end_ns or ALL_BITS)
        return stages

    def settle(self) -> None:
        """Write down what metrics read."""
        caller = self.caller
        if caller is not None:
            self.method = caller.method
        answerer = self.answerer
        if answerer is None:
            self.line = self.release = self.variant = ""
        else:
            self.line, self.release = answerer.line, answerer.release
            self.variant = answerer.variant
        self.step = (self.rare or NOTHING_RARE).step
        self.stages = self.all_stages()
        self.batch_calls = self.batch_rows = 0
        passage = self.passage
        while passage is not None:
            trip = passage.trip
            if trip is not None and trip.start_ns:
                self.batch_calls, self.batch_rows = trip.size, trip.rows
                return
            passage = passage.before

    def _rarely(self) -> Rare:
        if self.rare is None:
            self.rare = Rare()
        return self.rare

    def _send_part(self) -> None:
        """Let what is over of a long stream go."""
        self.ids()
        sampled = self.decide()  # for its parts too
        self.code = 0
        passages, part, rare = self.passages(), copy(self), self._rarely()
        part.rare = copy(rare)
        under_way = [one for one in passages if one.trip is not None and not one.trip.end_ns]
        over = [one for one in passages if one not in under_way]
        self.notes, self.passage, part.passage = None, _chain(under_way), _chain(over)
        self.size = _STAGES_OF_A_PASSAGE * len(under_way)
        rare.sent_stages += part.size
        if not sampled:
            rare.dropped_stages += len(part.all_stages())
        for one in over:
            one.call = None
        self._keeper.ended(part)


def _chain(passages: list[Passage]) -> Passage | None:
    """Return the last, each knowing the one before."""
    last = None
    for one in passages:
        one.before, last = last, one
    return last
