"""The run: all contenders of a task side by side, in rounds, in turn."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.serving import processes
from benchmarks.serving.bursts import CAPACITY_SHARE, Burst, Ready
from benchmarks.serving.checking import Checker, Unreachable
from benchmarks.serving.contenders import Contender, Server
from benchmarks.serving.exchanges import WrongAnswer
from benchmarks.serving.h2load import LoadFailed
from benchmarks.serving.servers import CannotRun, Running, Servers
from benchmarks.serving.workloads import Workload
from triton_models.server import EmbeddedTriton

_ANSWER_S = 90
"""Time that a server has from its start to its first answer."""


@dataclass(frozen=True)
class Plan:
    """What is run: tasks with who is asked, how often, how long."""

    contenders: Sequence[Contender]
    in_flight: Sequence[int]
    rounds: int
    seconds: float
    fresh_every: int | None = None
    """After so many rounds all servers but Triton are started anew; ``None``: never.

    What a gateway has learnt of its callers differs from process to process, by a few percent of
    its throughput: rounds of one process cannot tell that from what is compared."""

    def sittings(self, rounds: Sequence[int]) -> list[Sequence[int]]:
        """Return rounds by the processes that they are run on."""
        count = self.fresh_every or max(1, len(rounds))
        return [rounds[first : first + count] for first in range(0, len(rounds), count)]

    def closed(self, task: str) -> list[tuple[int, list[Contender]]]:
        """Return who is asked with how many in flight, the least first."""
        wanted = sorted({n for one in self.contenders for n in one.in_flight.get(task, ())})
        return [
            (n, [one for one in self.contenders if n in one.in_flight.get(task, ())])
            for n in wanted
            # Batches and streams have numbers of their own, and are asked for by name.
            if n in self.in_flight or n not in (1, 16, 64)
        ]

    def bursts(self, task: str) -> int:
        """Return how many bursts a round of a task has."""
        return sum(len(who) for _, who in self.closed(task)) + len(self.opened(task))

    def opened(self, task: str) -> list[Contender]:
        """Return who is asked at random moments; the rate is taken from 64 in flight."""
        if 64 not in self.in_flight:
            return []
        return [
            one for one in self.contenders if one.open_loop and 64 in one.in_flight.get(task, ())
        ]


@dataclass
class Results:
    """What a run found, written as it comes: one JSON object a line.

    A round that is not complete is run again when a run is taken up again: ratios are between
    contenders of one round.
    """

    path: Path
    bursts: list[dict[str, Any]] = field(default_factory=list)
    skipped: dict[str, dict[str, str]] = field(default_factory=dict)
    """By task, then contender: why it did not run."""
    complete: set[tuple[str, int]] = field(default_factory=set)
    about: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Results:
        """Return what is in a file, without rounds that were not completed."""
        results = cls(path)
        bursts = []
        for line in path.read_text().splitlines() if path.exists() else ():
            kind, content = json.loads(line)
            if kind == "burst":
                bursts.append(content)
            elif kind == "round":
                results.complete.add((content["task"], content["round"]))
            elif kind == "skipped":
                results.skipped.setdefault(content["task"], {})[content["contender"]] = content[
                    "why"
                ]
            elif kind == "about":
                results.about |= content
        seen = {}
        for one in bursts:
            if (one["task"], one["round"]) in results.complete:
                seen[one["task"], one["round"], one["contender"], one["loop"], one["in_flight"]] = (
                    one
                )
        results.bursts = list(seen.values())
        return results

    @classmethod
    def pooled(cls, runs: Sequence[Results]) -> Results:
        """Return runs of one plan as one, whose rounds go on from run to run.

        Raises:
            ValueError: If they are of different commits, or not started anew after as many rounds.
        """
        first, *others = runs
        if not others:
            return first
        for name in ("commit", "cpu", "fresh_every", "seconds"):
            said = [one.about.get(name) for one in runs]
            if len(set(said)) > 1:
                raise ValueError(f"they differ in {name}: {', '.join(map(str, said))}")
        whole = cls(first.path, skipped=first.skipped, about=dict(first.about))
        begin, fresh_every = 0, first.about.get("fresh_every") or 1
        for run in runs:
            whole.bursts += [one | {"round": begin + one["round"]} for one in run.bursts]
            whole.complete |= {(task, begin + number) for task, number in run.complete}
            # A sitting of one run is none of another's.
            rounds = 1 + max((number for _, number in run.complete), default=-1)
            begin += -(-rounds // fresh_every) * fresh_every
        whole.about["rounds"] = sum(one.about.get("rounds", 0) for one in runs)
        return whole

    def add(self, kind: str, content: Mapping[str, Any]) -> None:
        """Write one thing down."""
        with self.path.open("a") as file:
            file.write(json.dumps([kind, content]) + "\n")
        if kind == "burst":
            self.bursts.append(dict(content))
        elif kind == "skipped":
            self.skipped.setdefault(content["task"], {})[content["contender"]] = content["why"]
        elif kind == "about":
            self.about |= content
        elif kind == "round":
            self.complete.add((content["task"], content["round"]))


def run_task(
    plan: Plan, workload: Workload, store: Path, triton: EmbeddedTriton, results: Results
) -> Iterator[str]:
    """Run all rounds of a task; say what is being done before it is done."""
    task = workload.task.name
    missing = [n for n in range(plan.rounds) if (task, n) not in results.complete]
    for numbers in plan.sittings(missing):
        yield from _run_sitting(plan, workload, store, triton, results, numbers)


def _run_sitting(
    plan: Plan,
    workload: Workload,
    store: Path,
    triton: EmbeddedTriton,
    results: Results,
    numbers: Sequence[int],
) -> Iterator[str]:
    """Run some rounds on servers of their own."""
    task = workload.task.name
    with Servers(store, triton) as servers, ExitStack() as stack:
        present = [one for one in plan.contenders if task in one.in_flight]
        running: dict[Server, Running | CannotRun] = {}
        # All are started before any is waited for: some need half a minute.
        for server in dict.fromkeys(one.server for one in present):
            yield f"start {server.peer or server.kind}"
            running[server] = _start(servers, server, workload)
        ready: dict[str, Ready] = {}
        for contender in present:
            yield f"check {contender.name}"
            try:
                ready[contender.name] = _check(
                    contender, workload, running[contender.server], triton.pid, stack
                )
            except CannotRun as error:
                skipped = {"task": task, "contender": contender.name, "why": str(error)}
                results.add("skipped", skipped)
        for one in ready.values():
            one.hold()
        for number in numbers:
            yield from _run_round(plan, task, number, ready, results)


def _start(servers: Servers, server: Server, workload: Workload) -> Running | CannotRun:
    try:
        return servers.start(server, workload)
    except CannotRun as error:
        return error


def _check(
    contender: Contender,
    workload: Workload,
    server: Running | CannotRun,
    triton_pid: int | None,
    stack: ExitStack,
) -> Ready:
    """Return a contender that gave the right answer to every row.

    Raises:
        CannotRun: If it did not, or does not run here.
    """
    if isinstance(server, CannotRun):
        raise server
    exchange = contender.exchange(workload)
    checker = stack.enter_context(Checker(server.address, exchange))
    sizes = _first_answers(checker, len(exchange.bodies), server)
    brief = contender.exchange(workload, brief=True)
    watcher = stack.enter_context(Checker(server.address, brief))
    return Ready(contender, workload, server, triton_pid, exchange, watcher, sizes)


def _first_answers(checker: Checker, turns: int, server: Running) -> list[int]:
    """Return the sizes of the answers, all of them right."""
    deadline = time.monotonic() + _ANSWER_S
    while True:
        try:
            checker.ask(0)
            break
        except (WrongAnswer, *Unreachable) as error:
            gone = server.pid is not None and not processes.alive(server.pid)
            if gone or time.monotonic() > deadline:
                raise CannotRun(f"{_brief(error)}; {server.log_tail()}") from error
            time.sleep(0.2)
    try:
        return [checker.ask(turn) for turn in range(turns)]
    except (WrongAnswer, *Unreachable) as error:
        raise CannotRun(f"answers wrongly: {_brief(error)}") from error


def _run_round(
    plan: Plan, task: str, number: int, ready: Mapping[str, Ready], results: Results
) -> Iterator[str]:
    rates: dict[str, float] = {}
    for in_flight, contenders in plan.closed(task):
        present = [one for one in contenders if one.name in ready]
        # To and fro, so that who comes first and last changes from round to round.
        for contender in present if number % 2 == 0 else reversed(present):
            yield f"round {number + 1}: {contender.name}, {in_flight} in flight"
            burst = _burst(ready[contender.name], number, in_flight, plan.seconds, None)
            if isinstance(burst, Burst):
                results.add("burst", burst.to_json())
                if contender.open_loop and in_flight == 64:
                    rates[contender.name] = CAPACITY_SHARE * burst.rows_per_s
            else:
                results.add("fault", {"contender": contender.name, "task": task, "why": burst})
    for contender in plan.opened(task):
        if contender.name in rates:
            yield f"round {number + 1}: {contender.name}, 70 % of its capacity"
            rate = rates[contender.name]
            burst = _burst(ready[contender.name], number, 64, 2 * plan.seconds, rate)
            if isinstance(burst, Burst):
                results.add("burst", burst.to_json())
    results.add("round", {"task": task, "round": number})


def _burst(
    ready: Ready, number: int, in_flight: int, seconds: float, rate: float | None
) -> Burst | str:
    try:
        return ready.burst(number, in_flight, seconds, rate)
    except LoadFailed as error:
        return str(error)


def _brief(error: Exception) -> str:
    return " ".join(str(error).split())[:400]
