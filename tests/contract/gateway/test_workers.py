"""Several workers on one port and one Triton: what one's death costs, and that nothing is twice."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
import tiny_releases as tiny
from served import Gateway

from gateway.triton.client import TritonClient
from trident.diagnose.v1 import diagnose_service_pb2 as diagnose
from trident.diagnose.v1.diagnose_service_pb2_grpc import DiagnoseServiceStub
from trident.model.v1 import model_service_pb2 as model
from trident.model.v1.model_service_pb2_grpc import ModelServiceStub
from triton_models.server import EmbeddedTriton
from triton_models.store import ReleaseStore

pytestmark = pytest.mark.contract

WAIT_S = 30
OWN_CONNECTION = [
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 50),
]


def request(work: float, size: float) -> diagnose.DiagnoseRequest:
    measured = diagnose.DiagnoseRequest()
    measured.measurements.values.update({tiny.WORK: work, tiny.SIZE: size})
    return measured


SMALL = request(1, -2)
SLOW = request(600_000, 2)
"""Takes a second or so."""


def workers(gateway: Gateway) -> list[psutil.Process]:
    """The processes that listen at the gateway's address."""
    assert gateway.process is not None
    port = int(gateway.target.rpartition(":")[2])
    below = psutil.Process(gateway.process.pid).children(recursive=True)
    return [process for process in below if listens(process, port)]


def listens(process: psutil.Process, port: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return any(
            one.status == psutil.CONN_LISTEN and one.laddr.port == port
            for one in process.net_connections()
        )
    return False


def connections(worker: psutil.Process, target: str) -> int:
    """How many clients a worker has."""
    port = int(target.rpartition(":")[2])
    return sum(
        one.status == psutil.CONN_ESTABLISHED and one.laddr.port == port
        for one in worker.net_connections()
    )


class Caller(threading.Thread):
    """Asks again and again on a connection of its own, and keeps what came back."""

    def __init__(self, target: str) -> None:
        super().__init__(daemon=True)
        self.channel = grpc.insecure_channel(target, options=OWN_CONNECTION)
        self.answers: Counter[str] = Counter()
        self.errors: list[grpc.RpcError] = []
        self.done = threading.Event()
        self._ask = DiagnoseServiceStub(self.channel).Diagnose
        self._answered = threading.Condition()
        self.ask()

    def ask(self) -> None:
        answer = self._ask(SMALL, timeout=WAIT_S)
        with self._answered:
            self.answers[answer.findings[0].label] += 1
            self._answered.notify_all()

    def run(self) -> None:
        while not self.done.is_set():
            try:
                self.ask()
            except grpc.RpcError as error:
                self.errors.append(error)

    def wait_answers(self, more: int) -> None:
        """Wait until it has so many answers more."""
        with self._answered:
            goal = self.answers.total() + more
            assert self._answered.wait_for(lambda: self.answers.total() >= goal, WAIT_S)


def everyone(callers: dict[int, list[Caller]]) -> list[Caller]:
    return list(itertools.chain.from_iterable(callers.values()))


@pytest.fixture
def gateway(store: ReleaseStore, start_gateway: Callable[..., Gateway]) -> Gateway:
    """Two workers and the embedded Triton, serving."""
    tiny.route(store, "diagnose-measurements/r1")
    gateway = start_gateway("--embedded", "--workers", "2")
    gateway.wait_line("ready:")
    return gateway


@pytest.fixture
def callers(gateway: Gateway) -> Iterator[dict[int, list[Caller]]]:
    """By the worker that has their connection: at least two callers, asking."""
    by_worker: dict[int, list[Caller]] = {worker.pid: [] for worker in workers(gateway)}
    assert len(by_worker) == 2
    for _ in range(64):
        before = {one.pid: connections(one, gateway.target) for one in workers(gateway)}
        caller = Caller(gateway.target)
        (pid,) = (
            one.pid
            for one in workers(gateway)
            if connections(one, gateway.target) > before[one.pid]
        )
        by_worker[pid].append(caller)
        if all(len(of_one) >= 2 for of_one in by_worker.values()):
            break
    for caller in everyone(by_worker):
        caller.start()
    yield by_worker
    for caller in everyone(by_worker):
        caller.done.set()
        caller.join(WAIT_S)
        caller.channel.close()


def test_a_worker_that_is_killed_costs_the_calls_on_its_connections_and_no_others(
    gateway: Gateway, callers: dict[int, list[Caller]]
) -> None:
    for caller in everyone(callers):
        caller.wait_answers(5)
    triton = gateway.triton_pid()
    killed, survivor = callers
    os.kill(killed, signal.SIGKILL)
    gateway.wait_line("takes calls again")
    for caller in everyone(callers):
        caller.wait_answers(20)
    assert not any(caller.errors for caller in callers[survivor])
    errors = [error for caller in callers[killed] for error in caller.errors]
    assert errors, "calls were in flight on its connections"
    assert {error.code() for error in errors} == {grpc.StatusCode.UNAVAILABLE}
    assert {label for caller in everyone(callers) for label in caller.answers} == {"small"}
    assert gateway.triton_pid() == triton, "Triton is the supervisor's"
    now = {one.pid for one in workers(gateway)}
    assert len(now) == 2
    assert survivor in now
    assert killed not in now


def test_the_spans_of_all_workers_and_of_triton_are_whole_lines_of_one_file(
    gateway: Gateway, callers: dict[int, list[Caller]]
) -> None:
    for caller in everyone(callers):
        caller.wait_answers(50)
        caller.done.set()
        caller.join(WAIT_S)
    assert gateway.stop() == 0, "".join(gateway.log)
    answered: Counter[str] = Counter()
    traces: dict[str, set[str]] = {}
    for line in gateway.traces.read_text().splitlines():
        for part in json.loads(line)["resourceSpans"]:
            resource = {
                one["key"]: one["value"]["stringValue"] for one in part["resource"]["attributes"]
            }
            spans = [span for scope in part["scopeSpans"] for span in scope["spans"]]
            for span in spans:
                seen_by = traces.setdefault(span["traceId"], set())
                seen_by |= {resource["service.name"], resource.get("service.instance.id", "")}
                if span["name"].endswith("/Diagnose"):
                    answered[resource["service.instance.id"]] += 1
    (one, two) = sorted(answered)
    assert (one[:-1], one[-1], two[-1]) == (two[:-1], "0", "1"), "one gateway, two workers"
    asked = sum(caller.answers.total() for caller in everyone(callers))
    assert answered.total() == asked
    for worker in (one, two):  # calls that travel together share what Triton did
        assert any({"triton", worker} <= seen_by for seen_by in traces.values())


def test_a_gateway_that_is_killed_leaves_neither_workers_nor_triton_behind(
    gateway: Gateway,
) -> None:
    assert gateway.process is not None
    below = psutil.Process(gateway.process.pid).children(recursive=True)
    assert len(below) > 3
    gateway.process.kill()
    _, alive = psutil.wait_procs(below, timeout=WAIT_S)
    assert not alive


def test_sigterm_lets_every_worker_answer_what_is_in_flight(
    gateway: Gateway, callers: dict[int, list[Caller]]
) -> None:
    for caller in everyone(callers):
        caller.done.set()
        caller.join(WAIT_S)
    calls = []
    for caller, *_ in callers.values():
        calls.append(DiagnoseServiceStub(caller.channel).Diagnose.future(SLOW, timeout=WAIT_S))
        # On one connection a worker takes calls in their order: it has taken the slow one.
        ModelServiceStub(caller.channel).ListModels(model.ListModelsRequest(), timeout=WAIT_S)
    assert not any(call.done() for call in calls)
    assert gateway.stop() == 0, "".join(gateway.log)
    assert [call.result().findings[0].label for call in calls] == ["big", "big"]


async def test_two_who_load_a_release_at_once_load_it_once(
    releases: ReleaseStore, tmp_path: Path
) -> None:
    name = releases.manifest("diagnose-measurements", "r1").ensemble
    log = tmp_path / "triton.log"
    triton = EmbeddedTriton(Path(releases.models_path), log_file=log)
    await asyncio.to_thread(triton.start)
    with contextlib.ExitStack() as stack:
        stack.callback(triton.stop)
        await asyncio.to_thread(triton.wait_ready)
        clients: list[Any] = [TritonClient(triton.target) for _ in range(3)]
        await asyncio.gather(*(client.load(name, WAIT_S) for client in clients))
        await clients[0].load(name, WAIT_S)
        assert await clients[1].is_loaded(name)
        for client in clients:
            await client.close()
    loads = [line for line in log.read_text().splitlines() if "loading: " in line]
    assert len(loads) == 3, "the ensemble and its two steps"
