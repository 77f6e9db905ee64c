"""Calls of which nothing is noted as yet, because nothing tells that their traces will be kept.

Most calls of a gateway that samples a few are not sampled, do not fail and are not slow. A record
of such a call would be made for nothing. So it has none until somebody has something to note: its
batch is sampled, it fails, or was slow. What spans say of it is known by then: the call knows when
it came, and the way of its request is noted in any case.
"""

from __future__ import annotations

import time
from typing import Any, Protocol

from google.rpc import code_pb2

from gateway.telemetry.parties import Caller
from gateway.telemetry.passage import Passage
from gateway.telemetry.recording import Keeper, RecordedCall
from gateway.telemetry.span import Attributes


class SingleCall(Caller, Protocol):
    """What is asked of a call whose record may begin late."""

    trace: Any
    way: Passage | None
    """Of its request, once that was answered and nothing was noted of the call."""

    def attributes(self) -> Attributes:
        """Return what its server span is to say beside what every one does."""
        ...


class Undecided:
    """Stands for the records of all calls that have none yet.

    Attributes:
        records: Whether anything is recorded: not yet.
        end_ns: None of them has ended.
        sampled: That is open.
    """

    __slots__ = ("_keeper", "end_ns", "records", "sampled")

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self.records = False
        self.end_ns = 0
        self.sampled: bool | None = None

    def decide(self) -> bool:
        """Return whether one of them is sampled, or some that are decided together."""
        return self._keeper.draw()

    def begin(self, call: SingleCall, way: Passage | None = None) -> RecordedCall:
        """Give a call its record, which is its trace from now on.

        Args:
            call: Which.
            way: Of its request, if that is under way. If Triton was asked, the call is not sampled.
        """
        answered, call.way = call.way, None
        way = way or answered
        record = call.trace = RecordedCall(call, self._keeper)
        for name, value in call.attributes().items():
            record.set_attribute(name, value)
        if way is not None:
            way.call, record.answerer = record, way.answerer
            if way.trip is not None and way.trip.start_ns:
                record.sampled = False
        if answered is not None:
            record.went(answered)
        return record

    def ended_well(self, call: SingleCall) -> None:
        """Take a call that was answered, of which nothing was noted but its way."""
        # One without a way asked no Triton, so that nobody has decided.
        if call.way is None or (time.time_ns() - call.received_ns >= self._keeper.keep_slower_ns):
            self.begin(call).finish(code_pb2.OK)
