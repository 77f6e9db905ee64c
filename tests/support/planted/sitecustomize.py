"""Makes a gateway, or the step `work` of a model, slow in one place, for the calls that ask for it.

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


def _in_the_step() -> None:
    from triton_models.embedded import installation

    installation.BACKEND_MODEL = Path(__file__).parent / "slow_backend" / "model.py"


_IN_THE_GATEWAY = {"decode": _in_decode, "queue": _in_the_queue}


def _answers_calls() -> bool:
    """Return whether this is a worker: a program of its own, or the Python in an Envoy."""
    first, *rest = Path("/proc/self/cmdline").read_bytes().split(b"\0")
    return first.endswith(b"envoy") or any(word.endswith(b"_worker") for word in rest)


# Only the worker answers calls, and only its supervisor starts Triton; all read one environment.
where = os.environ.get("PLANTED_DELAY")
if where in _IN_THE_GATEWAY and _answers_calls():
    _IN_THE_GATEWAY[where]()
elif where == "step" and "serve" in sys.orig_argv:
    _in_the_step()
