"""Makes a gateway process slow in one place, for the calls that ask for it.

Python imports a module of this name by itself; a test puts this folder into PYTHONPATH.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
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


_WHERE = {"decode": _in_decode, "queue": _in_the_queue}

# Only the worker answers calls; its supervisor and Triton's processes read the same environment.
where = os.environ.get("PLANTED_DELAY")
if where and any(word.endswith("_worker") for word in sys.orig_argv):
    _WHERE[where]()
