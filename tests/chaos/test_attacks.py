"""A million frames and messages that no honest client would send."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from attackers import Attacker
from hostile_frames import connections
from hypothesis import HealthCheck, given, seed, settings
from served import Gateway, serving
from steady_load import Noted, SteadyLoad, codes
from three_tritons import Tritons

from triton_models.store import ReleaseStore

pytestmark = pytest.mark.chaos

FRAMES = int(os.environ.get("CHAOS_FRAMES", "1000000"))
_PART, _CALLS = 2_000, 200
PAUSE_S = 0.05
"""Between two connections of attackers: theirs is the same machine, and the load on it not ours."""


def percentile_ms(noted: list[Noted], percent: float) -> float:
    return float(np.percentile([one.ms for one in noted], percent))


WARM_S, CALLERS = 10.0, 512
"""Of an honest load before, as much as a worker lets wait: what that makes a new worker hold is not
laid to attackers."""
SETTLED_S = 10.0
"""After an attack, until what it left has been swept up: a sweep begins every five seconds."""


def resident_mb(gateway: Gateway) -> float:
    assert gateway.process is not None
    return sum(
        one.memory_info().rss for one in psutil.Process(gateway.process.pid).children()
    ) / 1e6  # fmt: skip


def processes(gateway: Gateway) -> set[int]:
    assert gateway.process is not None
    return {one.pid for one in psutil.Process(gateway.process.pid).children(recursive=True)}


def _thought_up() -> list[list[bytes]]:
    """Connections that Hypothesis thinks up, ever the same ones."""
    kept: list[list[bytes]] = []

    @seed(7)
    @settings(
        max_examples=200, database=None, deadline=None, suppress_health_check=list(HealthCheck)
    )
    @given(connections)
    def keep(frames: list[bytes]) -> None:
        kept.append(frames)

    keep()
    return kept


def attack(attacker: Attacker, frames: int, thought_up: Iterator[list[bytes]]) -> None:
    """Send so many frames, in every way in turns."""
    ways = (
        lambda: [attacker.send(frames) for frames in itertools.islice(thought_up, 50)],
        lambda: attacker.garbage(_PART),
        lambda: attacker.messages(_PART),
        lambda: attacker.rapid_reset(_PART),
        lambda: attacker.header_bomb(_PART),
        lambda: attacker.no_text(_CALLS),
        attacker.no_http,
    )
    turn = 0
    loris = threading.Thread(target=attacker.slow_loris, args=(100, 20), daemon=True)
    loris.start()
    end = time.monotonic() + 600
    while attacker.frames < frames and time.monotonic() < end:
        ways[turn % len(ways)]()
        turn += 1
        time.sleep(PAUSE_S)
    loris.join()
    assert attacker.frames >= frames


def test_attackers_crash_nothing_and_honest_clients_are_served(
    transport: str,
    store: ReleaseStore,
    tritons: Tritons,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    how = ("--transport", transport, "--triton", tritons.bare.target)
    with serving(store, tmp_path, *how) as gateway:
        attacker, started = Attacker(gateway.target), processes(gateway)
        thought_up = itertools.cycle(_thought_up())
        with SteadyLoad(gateway.target, callers=CALLERS):
            time.sleep(WARM_S)
        with SteadyLoad(gateway.target, rate=50) as load:
            time.sleep(5)
            before_mb, begun = resident_mb(gateway), time.monotonic()
            time.sleep(4)
            attacked = time.monotonic()
            attack(attacker, FRAMES, thought_up)
            ended, most_mb = time.monotonic(), resident_mb(gateway)
            time.sleep(SETTLED_S)
            after_mb = resident_mb(gateway)
        before, during = load.between(begun, attacked), load.between(attacked, ended)
        left = processes(gateway)
    p50_ms, p99_ms = (
        [percentile_ms(some, percent) for some in (before, during)] for percent in (50, 99)
    )
    with capsys.disabled():
        print(
            f"\n{transport}, {attacker.frames:,} frames in {ended - attacked:.0f} s: honest calls "
            f"{codes(during)}, p50 {p50_ms[0]:.1f} -> {p50_ms[1]:.1f} ms "
            f"({p50_ms[1] / p50_ms[0]:.2f} times), p99 {p99_ms[0]:.1f} -> {p99_ms[1]:.1f} ms; "
            f"memory {before_mb:.0f} -> {after_mb:.0f} MB ({most_mb:.0f} MB at its end)"
        )
    assert gateway.restarts == []
    assert left == started
    assert codes(during).keys() == {"OK"}
    assert all(one.right for one in load.noted)
    assert after_mb <= 1.1 * before_mb
    assert p50_ms[1] <= 2 * p50_ms[0]
