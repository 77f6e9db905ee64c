"""Ten times as much as can be answered, for a minute."""

from __future__ import annotations

import os
import time
from pathlib import Path

import psutil
import pytest
from served import Gateway, serving
from steady_load import Noted, SteadyLoad, codes, failed, goodput, p99_ms

from triton_models.store import ReleaseStore

pytestmark = pytest.mark.chaos

SECONDS = float(os.environ.get("CHAOS_OVERLOAD_SECONDS", "60"))
MEASURED_S = 8.0
WORK = 120_000.0
"""What the model counts to: more than a hundred milliseconds, so that Triton is the limit, and not
the processors that the load, ten times as much, takes from it."""
CALLERS = 8
ENOUGH = 2.0
"""Callers that ask one after the other find less than there is, as they wait for each other; so
many times what they find is surely enough to find all of it, and no overload to speak of."""
ROWS = "4"
"""In a batch, which takes as long as one row."""
DEADLINE_S = 5.0
CHANCE = 0.1
"""Of the calls at 70 % of the capacity. They come at random, and with no time for a queue to stand
some are refused before the overload as after it; so much may differ by chance."""


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
        rough = goodput(loaded(gateway.target, MEASURED_S, None, callers=CALLERS), MEASURED_S)
        enough = ENOUGH * rough
        capacity = goodput(loaded(gateway.target, MEASURED_S, enough), MEASURED_S)
        usual = loaded(gateway.target, MEASURED_S, 0.7 * capacity)
        before_mb = resident_mb(gateway)
        overload = loaded(gateway.target, SECONDS, 10 * capacity)
        after_mb = resident_mb(gateway)
        time.sleep(1)  # within two seconds after it
        after = loaded(gateway.target, MEASURED_S / 2, 0.7 * capacity)
        # Before and after, since other work on the machine comes and goes.
        again = goodput(loaded(gateway.target, MEASURED_S, enough), MEASURED_S)
        capacity = (capacity + again) / 2
    share = goodput(overload, SECONDS) / capacity
    times = p99_ms(overload) / p99_ms(usual)
    refused = [one.ms for one in overload if one.code == "RESOURCE_EXHAUSTED"]
    with capsys.disabled():
        print(
            f"\n{transport}, 10 times {capacity:.0f} calls/s for {SECONDS:g} s: goodput "
            f"{share:.1%} of capacity; p99 of answers {p99_ms(overload):.0f} ms, {times:.2f} times "
            f"the {p99_ms(usual):.0f} ms at 70 % {codes(usual)}; refusals p50 "
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
    # Those that were refused have no time, so they must be as few as before.
    assert failed(after) / len(after) <= failed(usual) / len(usual) + CHANCE
