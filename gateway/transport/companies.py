"""Calls that ask the same release at the same time ask it together.

One company is what may travel as one inference: the same model, the same outputs wanted, rows of
about the same width. Its domain turns all its requests into tensors at once, and all its answers
into responses at once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from gateway.domains.domain import Domain
from gateway.inference.batcher import Batcher
from gateway.inference.forecast import STANDS_S
from gateway.inference.pace import LONGEST_PATIENCE_S, Pace
from gateway.inference.priority import NORMAL, Turn
from gateway.inference.queueing import WaitingRoom
from gateway.inference.runner import ModelRunner, ServedRelease
from gateway.telemetry.metrics.instruments import REFUSED_CALLS, WAITING_CALLS, WAITING_LIMIT
from gateway.telemetry.metrics.readings import Reading
from gateway.telemetry.passage import Passage
from gateway.telemetry.tracing import NO_TRACE, CallTrace, recorded, shared_inference
from gateway.telemetry.undecided import Undecided
from gateway.transport.after_triton import AfterTriton
from gateway.transport.call import Call
from gateway.transport.slow_work import SlowWork, served
from trident.common.v1.served_by_pb2 import ServedBy
from triton_models.release import most_rows
from triton_models.signatures import MAX_BATCH_ROWS

_MAX_COMPANIES = 256


@dataclass(frozen=True)
class Batching:
    """How calls are put together."""

    max_rows: int = 64
    """The most that one inference is asked for single calls; 1: each goes by itself."""
    max_waiting: int = 512
    """Calls of one line that wait; one more is refused."""
    stands_s: float | None = STANDS_S
    """What all must have waited for their queue to stand; ``None``: none ever does."""
    max_wait_s: float = LONGEST_PATIENCE_S
    """What a batch waits for others at most, with nothing under way."""

    def __post_init__(self) -> None:
        if not 1 <= self.max_rows <= MAX_BATCH_ROWS:
            raise ValueError(f"max_rows must be in [1, {MAX_BATCH_ROWS}], got {self.max_rows}")


class _Asked(Passage):
    """One call's part of an inference."""

    __slots__ = ("rank", "request", "row")

    def __init__(
        self,
        request: Any,
        row: Any,
        call: Call,
        release: ServedRelease,
        rank: int,
        start_ns: int,
        decoded_ns: int,
    ) -> None:
        # What Passage's own does too, written out: every call pays for this.
        self.call, self.caller, self.answerer = call.trace, call, release
        self.start_ns, self.decoded_ns = start_ns, decoded_ns
        self.left_ns = self.span_id = self.end_ns = 0
        self.error = ""
        self.trip = self.before = None
        self.request = request
        self.row = row
        self.rank = rank


class Companies:
    """Puts calls together, each with those that may travel with it.

    Args:
        runner: Runs the inferences.
        batching: How large, and how many may wait.
        work: Writes answers that take long.
    """

    def __init__(self, runner: ModelRunner, batching: Batching, work: SlowWork) -> None:
        self._runner = runner
        self._work = work
        self._batching = batching
        self._batchers: dict[tuple[str, tuple[str, ...], int], Batcher[_Asked, Any]] = {}
        self._rooms: dict[str, WaitingRoom] = {}
        self._after = AfterTriton()

    def readings(self) -> Iterator[Reading]:
        """Yield how full the rooms are where calls wait for company."""
        for line, room in list(self._rooms.items()):
            labels = ("queue", line)
            yield Reading(WAITING_CALLS, labels, room.taken)
            yield Reading(WAITING_LIMIT, labels, room.limit)
            for reason, count in list(room.refusals.items()):
                yield Reading(REFUSED_CALLS, (*labels, reason), count)

    async def ask(
        self,
        domain: Domain[Any, Any],
        release: ServedRelease,
        request: Any,
        row: Any,
        call: Call,
        rank: int = NORMAL,
        start_ns: int = 0,
        decoded_ns: int = 0,
    ) -> Any:
        """Return the response to one request.

        Args:
            domain: Whose request it is.
            release: Who answers.
            request: The message.
            row: What the domain made of it.
            call: Who asks, until when, and its trace.
            rank: Of its priority; the lower, the sooner.
            start_ns: When it came, in ns since 1970; 0: the trace knows of its decoding.
            decoded_ns: When the row was made.

        Raises:
            GatewayError: Whatever keeps the release from answering.
        """
        asked = _Asked(request, row, call, release, rank, start_ns, decoded_ns)
        batcher = self._batcher(domain, release, request, row)
        remaining_s = call.time_remaining()
        deadline = None if remaining_s is None else asyncio.get_running_loop().time() + remaining_s
        try:
            response = await batcher.ask(asked, deadline, call, rank)
        except BaseException as error:
            asked.error, asked.end_ns = type(error).__qualname__, time.time_ns()
            self._note(asked, recorded(call, asked))  # others may still be asked with its row
            raise
        trace = call.trace  # its record may have begun meanwhile
        if trace is not NO_TRACE:
            asked.end_ns = time.time_ns()
            asked.request = asked.row = None  # the trace may be kept for long
            if isinstance(trace, Undecided):
                asked.caller = None  # they would hold each other
                call.way = asked
            else:
                self._note(asked, trace)
        return response

    def _note(self, asked: _Asked, trace: CallTrace) -> None:
        """Tell the trace where the request went."""
        asked.caller = None
        trace.set_release(asked.answerer)
        trace.went(asked)

    def _batcher(
        self, domain: Domain[Any, Any], release: ServedRelease, request: Any, row: Any
    ) -> Batcher[_Asked, Any]:
        outputs = domain.wanted_outputs((request,))
        key = (release.model_name, outputs, domain.width(row))
        batcher = self._batchers.get(key)
        if batcher is None:
            if len(self._batchers) >= _MAX_COMPANIES:
                self._forget_idle()
            room = self._rooms.get(release.line)
            if room is None:
                room = self._rooms[release.line] = WaitingRoom(
                    release.line, self._batching.max_waiting
                )
            run = partial(self._run, domain, release, outputs, served(release))
            rows = min(self._batching.max_rows, most_rows(release.manifest))
            batcher = self._batchers[key] = Batcher(
                run,
                room,
                rows,
                Pace(self._batching.max_wait_s),
                places=partial(self._runner.places, release.line),
                stands_s=self._batching.stands_s,
            )
        return batcher

    def _forget_idle(self) -> None:
        """Drop those that nobody asks: most are of releases that are long gone."""
        for key, batcher in list(self._batchers.items()):
            if batcher.idle:
                batcher.close()
                del self._batchers[key]

    async def _run(
        self,
        domain: Domain[Any, Any],
        release: ServedRelease,
        outputs: tuple[str, ...],
        served_by: ServedBy,
        company: Sequence[_Asked],
        deadline: float | None,
    ) -> list[Any]:
        """Ask the release once for all, and make each one's response."""
        now_s = asyncio.get_running_loop().time()
        left_ns = time.time_ns()
        for one in company:
            if one.end_ns:  # it has given up, and its trace may be read
                continue
            if one.left_ns:  # asked again by itself
                recorded(one.caller, one)
                one.turn_back()
            one.left_ns = left_ns
        answer = await self._runner.run(
            release,
            domain.rows_to_tensors([one.row for one in company], release.manifest),
            outputs=outputs,
            timeout_s=None
            if deadline is None
            else self._after.less(release.line, deadline - now_s),
            trace=shared_inference(company),
            turn=Turn(min(one.rank for one in company)),  # the others travel along
        )
        back_ns = time.time_ns()
        requests = [one.request for one in company]
        responses = await self._work.responses(domain, answer, requests, release, served_by)
        self._after.took(release.line, (time.time_ns() - back_ns) / 1e9)
        return responses
