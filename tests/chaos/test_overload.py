"""Ten times as much as can be answered, for a minute; and all Tritons gone for half of one."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import grpc
import psutil
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from served import Gateway, serving
from steady_load import METHOD, Noted, SteadyLoad, asking, codes, goodput, p99_ms
from waiting import wait_for

from triton_models.store import ReleaseStore

pytestmark = pytest.mark.chaos

SECONDS = float(os.environ.get("CHAOS_OVERLOAD_SECONDS", "60"))
MEASURED_S = 8.0
WORK = 40_000.0
"""What the model counts to: some tens of milliseconds, so that Triton is the limit and neither the
load nor the gateway is."""
ROWS = "4"
"""In a batch, which takes as long as one row."""
DEADLINE_S = 5.0


def workers(gateway: Gateway) -> list[psutil.Process]:
    assert gateway.process is not None
    children = psutil.Process(gateway.process.pid).children()
    return [one for one in children if not one.name().startswith("triton")]


def resident_mb(gateway: Gateway) -> float:
    return sum(one.memory_info().rss for one in workers(gateway)) / 1e6


def loaded(target: str, seconds: float, rate: float | None, callers: int = 1) -> list[Noted]:
    """The calls of a load, but for its first second."""
    with SteadyLoad(
        target, rate=rate, callers=callers, work=WORK, timeout_s=DEADLINE_S, connections=8
    ) as load:
        time.sleep(1)
        start = time.monotonic()
        time.sleep(seconds)
        end = time.monotonic()
    return load.between(start, end)


def test_of_ten_times_the_load_what_can_be_answered_is(
    transport: str,
    store: ReleaseStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("TRIDENT_MAX_BATCH_ROWS", ROWS)
    # The p99 of answers is to stay as it was: no second of waiting may pass until a queue stands.
    monkeypatch.setenv("TRIDENT_QUEUE_STANDS_S", "0")
    monkeypatch.setenv("PYTHONFAULTHANDLER", "1")
    how = ("--embedded", "--triton-instances", "1", "--transport", transport)
    with serving(store, tmp_path, *how) as gateway:
        capacity = goodput(loaded(gateway.target, MEASURED_S, None, callers=10), MEASURED_S)
        usual = loaded(gateway.target, MEASURED_S, 0.7 * capacity)
        before_mb = resident_mb(gateway)
        overload = loaded(gateway.target, SECONDS, 10 * capacity)
        after_mb = resident_mb(gateway)
        time.sleep(1)  # within two seconds after it
        after = loaded(gateway.target, MEASURED_S / 2, 0.7 * capacity)
        # Before and after, since other work on the machine comes and goes.
        again = goodput(loaded(gateway.target, MEASURED_S, None, callers=10), MEASURED_S)
        capacity = (capacity + again) / 2
    share = goodput(overload, SECONDS) / capacity
    times = p99_ms(overload) / p99_ms(usual)
    refused = [one.ms for one in overload if one.code == "RESOURCE_EXHAUSTED"]
    with capsys.disabled():
        print(
            f"\n{transport}, 10 times {capacity:.0f} calls/s for {SECONDS:g} s: goodput "
            f"{share:.1%} of capacity; p99 of answers {p99_ms(overload):.0f} ms, {times:.2f} times "
            f"the {p99_ms(usual):.0f} ms at 70 %; refusals p50 "
            f"{sorted(refused)[len(refused) // 2]:.1f} ms; {codes(overload)}; memory "
            f"{before_mb:.0f} -> {after_mb:.0f} MB; at 70 % after it {codes(after)}, p99 "
            f"{p99_ms(after):.0f} ms"
        )
        print("".join(line for line in gateway.log if "WARNING" in line or "Fatal" in line))
    assert all(one.right for one in (*usual, *overload, *after))
    assert set(codes(overload)) <= {"OK", "RESOURCE_EXHAUSTED"}
    assert share >= 0.9
    assert times <= 2
    assert after_mb <= 1.1 * before_mb + 5
    assert p99_ms(after) <= 2 * p99_ms(usual)


def _retry_ms(error: grpc.RpcError) -> int:
    status = rpc_status.from_call(error)
    assert status is not None
    for packed in status.details:
        if packed.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
            return int(
                error_details_pb2.RetryInfo.FromString(packed.value).retry_delay.ToMilliseconds()
            )
    return 0


def test_all_tritons_gone_is_said_at_once_and_service_returns(
    transport: str, store: ReleaseStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from triton_models.server import EmbeddedTriton

    seconds = 30 * min(1.0, SECONDS / 60)
    with EmbeddedTriton(Path(store.models_path), restart=True) as triton:
        triton.wait_ready(60)
        with serving(
            store, tmp_path, "--transport", transport, "--triton", triton.target
        ) as gateway:
            took, retries = _gone(gateway, triton.pid, seconds)
            back = time.monotonic()
            assert triton.pid is not None
            os.kill(triton.pid, signal.SIGCONT)
            triton.wait_ready(60)
            ready = time.monotonic()
            wait_for(lambda: _ok(gateway.target))
            returned_s = time.monotonic() - back
    with capsys.disabled():
        print(
            f"\n{transport}, all Tritons hang for {seconds:g} s: UNAVAILABLE with RetryInfo after "
            f"{1e3 * max(took):.1f} ms at most of {len(took)} calls; Triton answers after "
            f"{ready - back:.2f} s, service is back after {returned_s:.2f} s"
        )
    assert min(retries) > 0
    assert max(took) < 0.5
    assert returned_s <= 3


def _ok(target: str) -> bool:
    with grpc.insecure_channel(target) as channel:
        try:
            channel.unary_unary(METHOD)(asking(0), timeout=5)
        except grpc.RpcError:
            return False
        return True


def _gone(gateway: Gateway, pid: int | None, seconds: float) -> tuple[list[float], list[int]]:
    """Stop the one Triton; once that is known, note how calls fail: after how long, with what."""
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    wait_for(lambda: not gateway_serves(gateway))
    took, retries = [], []
    end = time.monotonic() + seconds
    with grpc.insecure_channel(gateway.target) as channel:
        while time.monotonic() < end:
            start = time.monotonic()
            with pytest.raises(grpc.RpcError) as caught:
                channel.unary_unary(METHOD)(asking(0), timeout=10)
            took.append(time.monotonic() - start)
            assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
            retries.append(_retry_ms(caught.value))
            time.sleep(0.1)
    return took, retries


def gateway_serves(gateway: Gateway) -> bool:
    return gateway.health() == 1
