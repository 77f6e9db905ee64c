"""What becomes of a doubt: a trial says whether a Triton does well, and how fast."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from statistics import median
from typing import Any

from gateway.triton.release_tasks import ReleaseTasks
from gateway.triton.routed import Key
from gateway.triton.verdicts import SLOW, Kind, is_slow

_log = logging.getLogger(__name__)

_LOOK_AGAIN_S = 0.1
"""Until a trial that is late is looked at again."""

_COMPARED_WITHIN_S = 6.0
"""For a comparison with other Tritons."""

_COMPARED_EVERY_S = 2.0
"""Between two of them."""

Check = Callable[[], Coroutine[Any, Any, str | None]]
"""Returns what is wrong with a release, ``""`` if nothing is; ``None`` if Triton went away."""

TrialS = Callable[[], Awaitable[float | None]]
"""Returns what a trial of a release takes, in seconds; ``None`` if that cannot be told."""


class Doubts:
    """Looks closely at releases that seem to do badly on one Triton.

    Args:
        leave_out: Has a release left out, as it does badly.
        longest_s: Time that a trial has where no other Triton does well, in seconds.
    """

    def __init__(self, leave_out: Callable[[Key, Kind, str], None], longest_s: float) -> None:
        self._leave_out = leave_out
        self._longest_s = longest_s
        self._compare_at: dict[Key, float] = {}
        self._trials = ReleaseTasks()
        self._comparisons = ReleaseTasks()

    def __contains__(self, key: Key) -> bool:
        """Return whether a release is being tried."""
        return key in self._trials

    def forget(self, key: Key) -> None:
        """Let a release be compared again at once: it is wanted no more, or anew."""
        self._compare_at.pop(key, None)

    def give_up(self) -> None:
        """Cancel what is under way: what comes back may be another Triton."""
        self._compare_at.clear()
        self._trials.cancel()
        self._comparisons.cancel()

    async def ended(self) -> None:
        """Return when nothing is under way."""
        await self._trials.ended()
        await self._comparisons.ended()

    def try_out(
        self,
        key: Key,
        kind: Kind,
        why: str,
        within_s: float,
        check: Check,
        others_do_well: Callable[[], bool],
    ) -> None:
        """See at once whether a release does what it should, unless that is under way.

        Args:
            key: The release.
            kind: What seems to be wrong.
            why: The same in words.
            within_s: Time that the trial has.
            check: Is the trial.
            others_do_well: Tells whether another Triton does well with it.
        """

        def fault() -> Awaitable[str]:
            return fault_of(
                key,
                check(),
                why,
                within_s=within_s,
                longest_s=max(within_s, self._longest_s),
                others_do_well=others_do_well,
            )

        if key not in self._trials:
            self._trials.begin(key, self._tried(key, kind, fault))

    def compare(
        self, key: Key, why: str, own: TrialS, others: Sequence[TrialS], may: Callable[[], bool]
    ) -> None:
        """See at once whether a trial takes much longer here than elsewhere, now and then.

        Args:
            key: The release.
            why: Why it seems to be slow.
            own: A trial here.
            others: Trials elsewhere.
            may: Tells whether enough others can be asked.
        """

        def slowness() -> Awaitable[str]:
            return slowness_of(key, own(), [trial_s() for trial_s in others])

        now = time.monotonic()
        if key not in self._comparisons and now >= self._compare_at.get(key, 0):
            self._compare_at[key] = now + _COMPARED_EVERY_S
            self._comparisons.begin(key, self._compared(key, why, slowness, may))

    async def _tried(self, key: Key, kind: Kind, look: Callable[[], Awaitable[str]]) -> None:
        if fault := await look():
            self._leave_out(key, kind, fault)

    async def _compared(
        self, key: Key, why: str, look: Callable[[], Awaitable[str]], may: Callable[[], bool]
    ) -> None:
        if (slowness := await look()) and may():  # the others may be gone by now
            self._leave_out(key, SLOW, f"{why}; {slowness}")


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
