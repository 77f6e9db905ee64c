"""One burst of load on one contender, and everything that is known of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from benchmarks.serving import h2load, processes
from benchmarks.serving.checking import Checker
from benchmarks.serving.contenders import Contender
from benchmarks.serving.exchanges import Exchange
from benchmarks.serving.h2load import Load
from benchmarks.serving.servers import Running
from benchmarks.serving.workloads import Workload

WARM_UP_S = 0.4
"""Before each burst: the contender slept while the others were asked."""

CAPACITY_SHARE = 0.7
_TEXT_SLACK = 0.05
"""Numbers as text vary in length from answer to answer."""


@dataclass(frozen=True)
class Burst:
    """What one contender did in one burst. Times are in µs, memory in MB."""

    contender: str
    task: str
    loop: Literal["closed", "open"]
    in_flight: int
    round: int
    rows: int
    """Inferences in a call."""
    calls: int
    seconds: float
    rows_per_s: float
    p50_us: float
    p99_us: float
    server_cpu_us: float
    """CPU time per row of the contender; of Triton itself, if that is the contender."""
    triton_cpu_us: float
    """CPU time per row of the Triton behind it."""
    client_cpu_share: float
    """Of one core, that h2load took."""
    resident_mb: list[float]
    """Of each process of the contender, after the burst."""
    checked: int
    """Answers compared while the load was on."""
    faults: list[str]
    """Everything that makes the burst worthless: errors, wrong answers, wrong sizes."""

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)


@dataclass
class Ready:
    """A contender whose server answers."""

    contender: Contender
    workload: Workload
    running: Running
    triton_pid: int | None
    exchange: Exchange
    checker: Checker
    reply_bytes: list[int]
    """By turn, the size of the right answer."""

    def hold(self) -> None:
        """Keep it from using the machine: some peers are never idle, and nobody shall pay."""
        if self._is_held and self.running.pid is not None:
            processes.hold(self.running.pid)

    def let_go(self) -> None:
        """Let it run."""
        if self._is_held and self.running.pid is not None:
            processes.let_go(self.running.pid)

    @property
    def _is_held(self) -> bool:
        return self.contender.server.kind == "peer"

    def burst(
        self, round_: int, in_flight: int, seconds: float, calls_per_s: float | None = None
    ) -> Burst:
        """Ask for some seconds: so many at a time, or at random moments at a given rate."""
        turn = round_ % len(self.exchange.bodies)
        watched_pause_s = 0.1 if self.exchange.rows == 1 else 0.5
        self.let_go()
        try:
            self._load(turn, in_flight, WARM_UP_S, None)
            before = self._usage()
            with self.checker.watching(watched_pause_s) as watched:
                load = self._load(turn, in_flight, seconds, calls_per_s)
            after = self._usage()
        finally:
            self.hold()
        rows = load.calls * self.exchange.rows
        p50, p99 = np.percentile(load.latencies_us, [50, 99]).tolist()
        return Burst(
            contender=self.contender.name,
            task=self.workload.task.name,
            loop="closed" if calls_per_s is None else "open",
            in_flight=in_flight,
            round=round_,
            rows=self.exchange.rows,
            calls=load.calls,
            seconds=load.seconds,
            rows_per_s=rows / load.seconds,
            p50_us=p50,
            p99_us=p99,
            server_cpu_us=1e6 * (after[0].cpu_s - before[0].cpu_s) / rows,
            triton_cpu_us=1e6 * (after[1].cpu_s - before[1].cpu_s) / rows,
            client_cpu_share=load.client_cpu_s / load.seconds,
            resident_mb=processes.megabytes(after[0].resident),
            checked=watched.answers,
            faults=[
                *faults(
                    load,
                    self.reply_bytes[turn],
                    in_flight,
                    size_varies=self.exchange.size_varies,
                ),
                *watched.wrong[:3],
            ],
        )

    def _usage(self) -> tuple[processes.Usage, processes.Usage]:
        server = self.contender.server
        behind = self.triton_pid if server.kind == "gateway" and not server.embedded else None
        return processes.usage(self.running.pid), processes.usage(behind)

    def _load(self, turn: int, in_flight: int, seconds: float, calls_per_s: float | None) -> Load:
        address = self.running.address
        if calls_per_s is not None:
            return h2load.open_loop(address, self.exchange, turn, calls_per_s, seconds)
        if self.exchange.wire == "stream":
            # A stream that is cut off would count for nothing: whole ones, about as long.
            calls = 1 if seconds <= WARM_UP_S else max(2, round(2 * seconds))
            return h2load.counted(address, self.exchange, turn, in_flight, calls)
        return h2load.closed_loop(address, self.exchange, turn, in_flight, seconds)


def faults(load: Load, reply_bytes: int, in_flight: int, *, size_varies: bool) -> list[str]:
    """Return what the load's own numbers show to be wrong.

    Args:
        load: What came back.
        reply_bytes: The size of a right answer; a gRPC error has no body.
        in_flight: Calls that the end of the time found unanswered: h2load may still read their
            answers and count the bytes, but not the calls.
        size_varies: Whether right answers may be a little longer or shorter.
    """
    found = []
    if load.failed:
        found.append(f"{load.failed} calls failed")
    wanted = load.calls * reply_bytes
    slack = round(_TEXT_SLACK * wanted) if size_varies else 0
    most = wanted + slack + in_flight * reply_bytes
    if not wanted - slack <= load.data_bytes <= most:
        found.append(f"{load.data_bytes} bytes came back instead of {wanted}")
    elif not size_varies and load.data_bytes % reply_bytes:
        found.append(f"{load.data_bytes} bytes came back, not answers of {reply_bytes}")
    return found
