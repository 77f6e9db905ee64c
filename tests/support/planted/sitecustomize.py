"""Makes a gateway process slow in one place, for the calls that ask for it, or its clock jump.

Python imports a module of this name by itself; a test puts this folder into PYTHONPATH.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path
from typing import Any

DELAY_S = 0.01
ASKING = 7.0
"""The measurement `size` of a call that is to be slow."""


def _asks(request: Any) -> bool:
    return bool(request.measurements.values.get("size") == ASKING)


def _in_decode() -> None:
    from gateway.domains import diagnose

    read = diagnose.read

    def slowly(request: Any, manifest: Any) -> Any:
        if _asks(request):
            time.sleep(DELAY_S)
        return read(request, manifest)

    diagnose.read = slowly


def _in_the_queue() -> None:
    from gateway.inference.batcher import Batcher

    answer = Batcher._answer

    async def slowly(self: Any, batch: Any) -> None:
        if any(_asks(entry.item.request) for entry in batch):
            await asyncio.sleep(DELAY_S)
        await answer(self, batch)

    Batcher._answer = slowly  # type: ignore[method-assign]


def _jump(file: str) -> None:
    """Have the clock tell as many seconds more as stand in a file."""
    real, real_ns = time.time, time.time_ns

    def off_s() -> float:
        try:
            return float(Path(file).read_text() or 0)
        except OSError:
            return 0.0

    time.time = lambda: real() + off_s()
    time.time_ns = lambda: real_ns() + int(off_s() * 1e9)


_WHERE = {"decode": _in_decode, "queue": _in_the_queue}

# Only the worker answers calls; its supervisor and Triton's processes read the same environment.
is_worker = any(word.endswith("_worker") for word in sys.orig_argv)
where, clock = os.environ.get("PLANTED_DELAY"), os.environ.get("PLANTED_CLOCK")
if where and is_worker:
    _WHERE[where]()
if clock and is_worker:
    _jump(clock)
