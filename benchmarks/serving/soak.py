"""Asks a gateway a million times, and watches its memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from benchmarks.serving import h2load, processes
from benchmarks.serving.checking import Checker
from benchmarks.serving.contenders import Contender
from benchmarks.serving.servers import Servers
from benchmarks.serving.workloads import Workload

IN_FLIGHT = 64
STEP_CALLS = 25_000
WARM_CALLS = 50_000
"""By then everything that is made once is made."""


@dataclass
class Soak:
    """The memory of a gateway's largest process, in MB, by how many calls it had answered."""

    contender: str
    seen: list[tuple[int, float]] = field(default_factory=list)
    faults: int = 0

    @property
    def requests(self) -> int:
        """Calls answered."""
        return self.seen[-1][0] if self.seen else 0

    def to_json(self) -> dict[str, Any]:
        """Return what the bars are made of, and all that was seen."""
        warm = [mb for calls, mb in self.seen if calls >= WARM_CALLS] or [self.seen[-1][1]]
        return {
            "requests": self.requests,
            "warm_mb": warm[0],
            "last_mb": self.seen[-1][1],
            "most_mb": max(mb for _, mb in self.seen),
            "faults": self.faults,
            "seen": self.seen,
        }


def soak(
    contender: Contender, workload: Workload, servers: Servers, requests: int
) -> Iterator[Soak]:
    """Ask so often, in steps with another row each; give what was seen after each step."""
    running = servers.start(contender.server, workload)
    exchange = contender.exchange(workload)
    seen = Soak(contender.name)
    with Checker(running.address, exchange) as checker:
        checker.wait_right()
        sizes = [checker.ask(turn) for turn in range(len(exchange.bodies))]
        done = 0
        while done < requests:
            turn = done // STEP_CALLS % len(sizes)
            calls = min(STEP_CALLS, requests - done)
            load = h2load.counted(running.address, exchange, turn, IN_FLIGHT, calls)
            checker.ask(turn)  # right, also after all that
            seen.faults += load.failed + (load.data_bytes != load.calls * sizes[turn])
            done += calls
            resident = processes.usage(running.pid).resident
            seen.seen.append((done, processes.megabytes(resident)[0]))
            yield seen
