"""Three Tritons that are well: none is left out, however little or unequal what they are asked."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
import pytest
import tiny_releases as tiny
from served import Gateway
from steady_load import Noted, SteadyLoad, codes
from three_tritons import Tritons, all_serve
from waiting import wait_for

from trident.diagnose.v1 import diagnose_service_pb2 as diagnose
from trident.diagnose.v1.diagnose_service_pb2_grpc import DiagnoseServiceStub

pytestmark = pytest.mark.chaos

SECONDS = 20.0
ROWS = 1000
LONG = 200_000.0
"""What the model counts to for a batch: about half a second, beside single calls of a few ms."""


def load(gateway: Gateway, rate: float) -> list[Noted]:
    with SteadyLoad(gateway.target, rate=rate) as calls:
        time.sleep(SECONDS)
    return calls.noted


@contextmanager
def large_batches(gateway: Gateway, at_a_time: int) -> Iterator[list[int]]:
    """Ask for large batches meanwhile; how many rows each answer had."""
    request = diagnose.BatchDiagnoseRequest()
    for _ in range(ROWS):
        request.requests.add().measurements.values.update({tiny.WORK: LONG, tiny.SIZE: 1.0})
    done, rows = threading.Event(), []

    def ask() -> None:
        with grpc.insecure_channel(gateway.target) as channel:
            stub = DiagnoseServiceStub(channel)
            while not done.is_set():
                rows.append(len(stub.BatchDiagnose(request, timeout=60).responses))
                done.wait(0.5)

    threads = [threading.Thread(target=ask, daemon=True) for _ in range(at_a_time)]
    for thread in threads:
        thread.start()
    try:
        yield rows
    finally:
        done.set()
        for thread in threads:
            thread.join()


def left_out(gateway: Gateway, since: int) -> list[str]:
    words = ("is left out", "is gone", "has lost it")
    return [line for line in gateway.log[since:] if any(word in line for word in words)]


def test_with_little_to_do(
    gateway: Gateway, tritons: Tritons, transport: str, capsys: pytest.CaptureFixture[str]
) -> None:
    wait_for(lambda: all_serve(gateway.target))
    said = len(gateway.log)
    noted = load(gateway, rate=6)
    out = left_out(gateway, said)
    with capsys.disabled():
        print(f"\n{transport}, three that are well, 6 calls/s: {codes(noted)}; left out: {out}")
    assert codes(noted).keys() == {"OK"}
    assert out == []


def test_with_large_batches_beside_single_calls(
    gateway: Gateway, tritons: Tritons, transport: str, capsys: pytest.CaptureFixture[str]
) -> None:
    wait_for(lambda: all_serve(gateway.target))
    said = len(gateway.log)
    with large_batches(gateway, at_a_time=2) as rows:
        noted = load(gateway, rate=20)
    out = left_out(gateway, said)
    with capsys.disabled():
        print(
            f"\n{transport}, three that are well, 20 calls/s beside {len(rows)} batches of {ROWS} "
            f"rows: {codes(noted)}; left out: {out}"
        )
    assert codes(noted).keys() == {"OK"}
    assert all(one.right for one in noted)
    assert rows
    assert set(rows) == {ROWS}
    assert out == []
