"""What becomes of a doubt: a trial says whether a Triton does well, and how fast."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from statistics import median
from typing import Any

from gateway.triton.routed import Key
from gateway.triton.verdicts import is_slow

_log = logging.getLogger(__name__)

_LOOK_AGAIN_S = 0.1
"""Until a trial that is late is looked at again."""

_COMPARED_WITHIN_S = 6.0
"""For a comparison with other Tritons."""


async def fault_of(
    key: Key,
    check: Coroutine[Any, Any, str | None],
    why: str,
    *,
    within_s: float,
    longest_s: float,
    others_do_well: Callable[[], bool],
) -> str:
    """Return what is wrong with a release, ``""`` if nothing is.

    It has more time for as long as no other Triton does well with it: several that are busy for
    long at once must not all be left out for that.

    Args:
        key: The release.
        check: Returns what is wrong; ``None`` if Triton went away meanwhile.
        why: What seems to be wrong.
        within_s: Time that the check has.
        longest_s: The same, where no other Triton does well.
        others_do_well: Tells whether another does.
    """
    checking = asyncio.ensure_future(check)
    end, wait_s = time.monotonic() + longest_s, within_s
    try:
        while not (await asyncio.wait([checking], timeout=wait_s))[0]:
            if others_do_well() or time.monotonic() >= end:
                return f"{why}, nor one to a trial within {within_s:.1f} s"
            wait_s = _LOOK_AGAIN_S
        fault = checking.result()
    except TimeoutError:
        return f"{why}, nor one to a trial within {within_s:.1f} s"
    except Exception:
        _log.exception("%s/%s: looking at it closely failed", *key)
        return why
    finally:
        checking.cancel()
    return why if fault is None else fault


async def slowness_of(
    key: Key, own: Awaitable[float | None], others: Sequence[Awaitable[float | None]]
) -> str:
    """Return how much longer a trial takes on one Triton than on others.

    Args:
        key: The release.
        own: Returns what a trial takes there, in seconds; ``None`` if that cannot be told.
        others: The same of others.

    Returns:
        ``""`` if it is not slow, or if that cannot be told: one that hangs says so by its silence.
    """
    try:
        async with asyncio.timeout(_COMPARED_WITHIN_S):
            own_s, *others_s = await asyncio.gather(own, *others)
    except TimeoutError:
        return ""
    except Exception:
        _log.exception("%s/%s: comparing it failed", *key)
        return ""
    known_s = [time_s for time_s in others_s if time_s is not None]
    if own_s is None or not known_s or not is_slow(own_s, median(known_s)):
        return ""
    return f"a trial takes {1e3 * own_s:.0f} ms, elsewhere {1e3 * median(known_s):.0f} ms"
