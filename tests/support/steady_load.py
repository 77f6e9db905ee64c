"""Calls at a steady rate from a thread of their own, each noted with its time and its outcome."""

from __future__ import annotations

import asyncio
import math
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import grpc
import numpy as np
import tiny_releases as tiny

from trident.diagnose.v1 import diagnose_service_pb2 as diagnose

METHOD = "/trident.diagnose.v1.DiagnoseService/Diagnose"


@dataclass(frozen=True)
class Noted:
    """One call; times by ``time.monotonic``."""

    start: float
    end: float
    code: str
    right: bool
    """Whether the answer, if there is one, is the right one."""

    @property
    def ms(self) -> float:
        return 1e3 * (self.end - self.start)


def asking(size: float, work: float = 0) -> bytes:
    request = diagnose.DiagnoseRequest()
    request.measurements.values.update({tiny.WORK: work, tiny.SIZE: size})
    return request.SerializeToString()


def is_right(size: float, answer: bytes) -> bool:
    """Whether an answer is what the tiny diagnoser says to a size: its sigmoid."""
    findings = diagnose.DiagnoseResponse.FromString(answer).findings
    found = {one.label: one.probability for one in findings}
    return abs(found.get("big", -1) - 1 / (1 + math.exp(-size))) < 1e-5


class SteadyLoad(threading.Thread):
    """Asks for diagnoses; use it as a context manager.

    Args:
        target: The gateway.
        rate: Calls a second, come what may; ``None``: ``callers`` ask one after the other.
        callers: How many ask, if no rate is given.
        work: How long the model is to count.
        timeout_s: The deadline of each call.
        connections: Between which calls are shared out.
    """

    def __init__(
        self,
        target: str | Callable[[], str],
        *,
        rate: float | None = None,
        callers: int = 1,
        work: float = 0,
        timeout_s: float = 5,
        connections: int = 2,
    ) -> None:
        super().__init__(daemon=True)
        self._target, self._rate, self._callers = target, rate, callers
        self._work, self._timeout_s, self._connections = work, timeout_s, connections
        self._done = threading.Event()
        self.noted: list[Noted] = []

    def __enter__(self) -> SteadyLoad:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self.join()

    def between(self, start: float, end: float = math.inf) -> list[Noted]:
        """The calls that were begun then."""
        return [one for one in self.noted if start <= one.start < end]

    def run(self) -> None:
        asyncio.run(self._run())

    async def _run(self) -> None:
        target = self._target if isinstance(self._target, str) else self._target()
        options = (("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0))
        channels = [
            grpc.aio.insecure_channel(target, options=options) for _ in range(self._connections)
        ]
        rpcs = [channel.unary_unary(METHOD) for channel in channels]
        try:
            await (self._closed(rpcs) if self._rate is None else self._open(rpcs))
        finally:
            for channel in channels:
                await channel.close(None)

    async def _closed(self, rpcs: Sequence[object]) -> None:
        async def ask(place: int) -> None:
            while not self._done.is_set():
                await self._call(rpcs[place % len(rpcs)])

        await asyncio.gather(*map(ask, range(self._callers)))

    async def _open(self, rpcs: Sequence[object]) -> None:
        assert self._rate is not None
        running: set[asyncio.Task[None]] = set()
        chance = random.Random(7)
        due, place = time.monotonic(), 0
        while not self._done.is_set():
            now = time.monotonic()
            while due <= now:
                task = asyncio.create_task(self._call(rpcs[place % len(rpcs)]))
                running.add(task)
                task.add_done_callback(running.discard)
                due += chance.expovariate(self._rate)
                place += 1
            await asyncio.sleep(min(0.005, max(0.0, due - time.monotonic())))
        await asyncio.gather(*running)

    async def _call(self, rpc: object) -> None:
        size = round(random.uniform(-3, 3), 3)
        start = time.monotonic()
        try:
            answer = await rpc(asking(size, self._work), timeout=self._timeout_s)  # type: ignore[operator]
            code, right = "OK", is_right(size, answer)
        except grpc.RpcError as error:
            code, right = error.code().name, True
        self.noted.append(Noted(start, time.monotonic(), code, right))


def codes(noted: Sequence[Noted]) -> dict[str, int]:
    return dict(Counter(one.code for one in noted))


def failed(noted: Sequence[Noted]) -> int:
    return sum(one.code != "OK" for one in noted)


def p99_ms(noted: Sequence[Noted]) -> float:
    """Of the calls that were answered."""
    return float(np.percentile([one.ms for one in noted if one.code == "OK"] or [math.nan], 99))


def goodput(noted: Sequence[Noted], seconds: float) -> float:
    """Answers a second."""
    return sum(one.code == "OK" for one in noted) / seconds
