"""Puts a gateway under load, and notes what a client of it would see.

With a rate, requests are sent when they are due, whether or not the others are answered (an open
loop), and the latency of each counts from when it was *due*: a gateway that stands still for a
second is not measured by the few requests that a polite client would have sent then.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc

from gateway.client.identity import NOBODY, Identity
from gateway.client.load.outcome import Outcome
from gateway.client.load.pacing import Pacer, due_times

MOST_OUTSTANDING = 20_000


class Unreachable(Exception):
    """Nothing answers."""

    def __init__(self, target: str, deadline_s: float) -> None:
        super().__init__(f"nothing answers at {target} within {deadline_s:g} s")


@dataclass(frozen=True)
class Load:
    """What to send, and how.

    Attributes:
        method: ``package.Service/Method``.
        requests: Serialized; sent in turns.
        rate: Calls a second; ``None`` for a closed loop.
        concurrency: Of a closed loop: calls at a time.
        duration_s: How long it is measured.
        warmup_s: How long it is sent before, without being measured.
        deadline_s: Of each call.
        sample_ratio: Share of the calls that are traced, in [0, 1].
        even: Whether requests come in equal distances, not at random.
        connections: Between which calls are shared out.
        seed: Of everything at random.
        rows: Requests in a call.
    """

    method: str
    requests: Sequence[bytes]
    rate: float | None
    concurrency: int = 1
    duration_s: float = 10.0
    warmup_s: float = 1.0
    deadline_s: float = 10.0
    sample_ratio: float = 0.1
    even: bool = False
    connections: int = 4
    seed: int = 0
    rows: int = 1


@dataclass(frozen=True)
class TracedCall:
    """A call that was traced: what its client's span says, times in ns since 1970."""

    trace_id: int
    span_id: int
    begin_ns: int
    end_ns: int
    status: str


@dataclass
class Driver:
    """Makes one load.

    Args:
        target: ``host:port``.
        load: What to send.
        identity: Who calls.
    """

    target: str
    load: Load
    identity: Identity = NOBODY
    outcome: Outcome = field(default_factory=Outcome)
    traced: list[TracedCall] = field(default_factory=list)

    def run(self) -> None:
        """Make the load; :attr:`outcome` and :attr:`traced` say what came of it.

        Raises:
            Unreachable: If no connection can be made within a call's deadline.
        """
        asyncio.run(self._run())

    async def _run(self) -> None:
        self._chance = random.Random(self.load.seed)
        channels = [
            self.identity.aio_channel(
                self.target,
                (("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0),
                         ("grpc.max_receive_message_length", -1)),
            )
            for _ in range(self.load.connections)
        ]  # fmt: skip
        self._rpcs = [
            channel.unary_unary(f"/{self.load.method}", None, None) for channel in channels
        ]
        try:
            await self._connect(channels)
            await (self._closed() if self.load.rate is None else self._open(self.load.rate))
        finally:
            for channel in channels:
                await channel.close(None)

    async def _connect(self, channels: Sequence[grpc.aio.Channel]) -> None:
        try:
            async with asyncio.timeout(self.load.deadline_s):
                await asyncio.gather(*(channel.channel_ready() for channel in channels))
        except TimeoutError as error:
            raise Unreachable(self.target, self.load.deadline_s) from error

    async def _open(self, rate: float) -> None:
        load = self.load
        whole = load.warmup_s + load.duration_s
        times = due_times(rate, whole, even=load.even, seed=load.seed)
        start = time.perf_counter()
        running: set[asyncio.Task[None]] = set()
        left = len(times)
        done = asyncio.Event()

        def send(place: int) -> None:
            nonlocal left
            left -= 1
            due = times[place]
            measured = due >= load.warmup_s
            if len(running) >= MOST_OUTSTANDING:
                self.outcome.unsent += measured
            else:
                task = asyncio.ensure_future(self._call(place, start + due, measured))
                running.add(task)
                task.add_done_callback(running.discard)
            if not left:
                done.set()

        pacer = Pacer(asyncio.get_running_loop(), start, times, send)
        try:
            if times:
                pacer.start()
                await done.wait()
            self.outcome.seconds = time.perf_counter() - start - load.warmup_s
            await asyncio.gather(*running)
        finally:
            pacer.stop()

    async def _closed(self) -> None:
        load = self.load
        start = time.perf_counter()
        measured_from = start + load.warmup_s
        end = measured_from + load.duration_s

        async def ask(worker: int) -> None:
            place = worker
            while (now := time.perf_counter()) < end:
                await self._call(place, now, now >= measured_from)
                place += load.concurrency

        await asyncio.gather(*map(ask, range(load.concurrency)))
        self.outcome.seconds = time.perf_counter() - measured_from

    async def _call(self, place: int, due: float, measured: bool) -> None:
        load, shown = self.load, self.identity.metadata
        sampled = measured and self._chance.random() < load.sample_ratio
        trace_id, span_id = secrets.randbits(128) | 1, secrets.randbits(64) | 1
        header = f"00-{trace_id:032x}-{span_id:016x}-{int(sampled):02x}"
        begin_ns, sent = time.time_ns(), time.perf_counter()
        error = ""
        try:
            rpc: Any = self._rpcs[place % len(self._rpcs)]
            await rpc(
                load.requests[place % len(load.requests)],
                timeout=load.deadline_s,
                metadata=(("traceparent", header), *shown),
            )
        except grpc.RpcError as failure:
            error = failure.code().name
        answered = time.perf_counter()
        if measured:
            self.outcome.note(due, sent, answered, error)
        if sampled:
            end_ns = begin_ns + round(1e9 * (answered - sent))
            self.traced.append(TracedCall(trace_id, span_id, begin_ns, end_ns, error or "OK"))
