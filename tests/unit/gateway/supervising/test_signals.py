from __future__ import annotations

import asyncio
import os
import signal

import pytest

from gateway.supervising.signals import StopSignals


def test_the_first_signal_asks_and_the_second_forces() -> None:
    signals = StopSignals()
    assert not signals.asked.is_set()
    signals.receive()
    assert signals.asked.is_set()
    assert not signals.forced.is_set()
    signals.receive()
    signals.receive()
    assert signals.forced.is_set()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_are_taken_while_the_loop_runs_and_not_after(number: signal.Signals) -> None:
    before = signal.getsignal(number)

    async def wait() -> None:
        signals = StopSignals()
        signals.listen()
        os.kill(os.getpid(), number)
        await asyncio.wait_for(signals.asked.wait(), 20)

    asyncio.run(wait())
    assert signal.getsignal(number) == before
