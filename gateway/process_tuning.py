"""How the process of a worker is set up for many short calls."""

from __future__ import annotations

import asyncio
import gc

_THRESHOLDS = (20_000, 20, 50)
"""Of the garbage collector: a call leaves few cycles, so it need not look so often."""


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Return an event loop: uvloop's where it is installed."""
    try:
        import uvloop
    except ImportError:  # not on every platform
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


def settle_garbage() -> None:
    """Let the garbage collector look at what is new only, once everything is built."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
