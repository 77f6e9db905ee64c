"""Keeps the routed releases loaded on every Triton, and knows which of them fit.

Whatever it finds, a Triton that is away, one that has come back empty, a new route file, a
release that does not fit, becomes the state of single releases; the others serve on.

Traffic moves to what a new route file says in one step, when every Triton that is up has all of
it; until then what answered before goes on, in its shares. What nobody is sent to any more stays
loaded for a while, for the calls that are on their way and for a change of mind.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial

from gateway.telemetry.metrics.readings import Reading
from gateway.triton.client import TritonClient
from gateway.triton.endpoint import TritonEndpoint
from gateway.triton.loading import ConfigOf
from gateway.triton.routed import Key, RoutedReleases
from gateway.triton.states import ReleaseState, StatesOf
from gateway.triton.tritons import Tritons
from gateway.triton.variants import AUTO, Choice
from gateway.triton.verdicts import Suspicion
from gateway.triton.vouching import Voucher
from triton_models.note_tokenizers import TOKENIZERS
from triton_models.plan_check import RunsOn
from triton_models.release import RouteTarget
from triton_models.store import ReleaseStore
from triton_models.trust import Trust

_log = logging.getLogger(__name__)

_JUDGE_S = 0.25
_DISCOVER_S = 5.0

Discover = Callable[[], Awaitable[Sequence[TritonClient]]]


class Lifecycle:
    """Loads what is routed, checks it, and loads it again where it was lost.

    Args:
        store: Has the routes and the manifests.
        clients: Every Triton; all read the same store.
        variant: The layout that answers. ``auto``: ``fused`` where the release runs on a CPU and
            has it, else ``ensemble``; where Tritons differ, those with a GPU are asked.
        poll_s: Time between two looks at a Triton.
        store_poll_s: Time between two looks at the store.
        load_timeout_s: Time that Triton has to load one release.
        config_of: Overrides the configuration of the models that are loaded.
        trust: What is asked of a release before it is loaded.
        unload_after_s: Time that a release stays loaded when it is routed no longer.
        discover: Tells which Tritons there are now, where they come and go.
        where: What is known of the Tritons; ``None``: nothing.
        on_change: Called whenever the state of a release has changed.
    """

    def __init__(
        self,
        store: ReleaseStore,
        clients: Sequence[TritonClient],
        *,
        variant: Choice = AUTO,
        poll_s: float = 0.5,
        store_poll_s: float = 1,
        load_timeout_s: float = 120,
        config_of: ConfigOf | None = None,
        trust: Trust | None = None,
        unload_after_s: float = 30,
        discover: Discover | None = None,
        where: RunsOn | None = None,
        on_change: Callable[[Sequence[ReleaseState]], None] = lambda states: None,
    ) -> None:
        self._routed = RoutedReleases(store, trust)
        voucher = Voucher(store, where)
        self._tritons = Tritons(
            lambda client: TritonEndpoint(
                client,
                self._settle,
                variant=variant,
                load_timeout_s=load_timeout_s,
                config_of=config_of,
                vouch=voucher.fault,
                profile=where.profile if where is not None else None,
            ),
            load_timeout_s,
        )
        self._states_of = StatesOf(self._routed, self._tritons, variant)
        self._discover = discover
        self._tritons.take(clients)
        self._poll_s = poll_s
        self._store_poll_s = store_poll_s
        self._on_change = on_change
        self._unload_after_s = unload_after_s
        self._in_force: dict[str, tuple[RouteTarget, ...]] = {}
        self._kept: set[Key] = set()
        self._left: dict[Key, float] = {}
        self._busy: Callable[[Key], bool] = lambda key: False
        self._judge: Callable[[], Iterable[Suspicion]] = tuple
        self._tasks: list[asyncio.Task[None]] = []
        self._looks: dict[TritonClient, asyncio.Task[None]] = {}
        self._states: tuple[ReleaseState, ...] = ()
        self._shadows: dict[str, ReleaseState] = {}

    @property
    def states(self) -> tuple[ReleaseState, ...]:
        """Every routed release, by line and falling weight; replaced, never changed."""
        return self._states

    @property
    def shadows(self) -> Mapping[str, ReleaseState]:
        """By line: the release that is asked too; replaced, never changed."""
        return self._shadows

    def clients(self, line: str, release: str) -> tuple[TritonClient, ...]:
        """Return the Tritons where a release can be asked, also one that is routed no longer."""
        return self._states_of.clients((line, release))

    def ask_before_unloading(self, busy: Callable[[Key], bool]) -> None:
        """Unload no release of which ``busy`` says that calls are in flight."""
        self._busy = busy

    async def start(self) -> None:
        """Read the store, and begin to load.

        Raises:
            StoreError: If the routes cannot be understood.
            OSError: If the store cannot be reached.
        """
        await self._routed.read()
        self._settle()
        self._repeat(self._look_at_store, self._store_poll_s)
        self._repeat(self._look_at_judgement, _JUDGE_S)
        for endpoint in self._tritons:
            self._look_after(endpoint)
        if self._discover is not None:
            self._repeat(self._look_for_tritons, _DISCOVER_S)

    async def stop(self) -> None:
        """Look no more; what is loaded stays loaded."""
        tasks = [*self._tasks, *self._looks.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(endpoint.close() for endpoint in self._tritons))

    def judge_with(self, judge: Callable[[], Iterable[Suspicion]]) -> None:
        """Ask ``judge`` now and then which Tritons do badly."""
        self._judge = judge

    def suspect(self, suspicion: Suspicion) -> None:
        """Leave a Triton out that does badly with a release, or look at it closely."""
        self._tritons.suspect(suspicion)

    def readings(self) -> Iterator[Reading]:
        """Yield who is asked for what, and who was left out."""
        return self._tritons.readings((one.line, one.release) for one in self._states)

    def _repeat(self, look: Callable[[], Awaitable[None]], pause_s: float) -> None:
        self._tasks.append(self._repeating(look, pause_s))

    def _repeating(self, look: Callable[[], Awaitable[None]], pause_s: float) -> asyncio.Task[None]:
        async def loop() -> None:
            while True:
                try:
                    await look()
                except Exception:
                    # This loop is what brings service back: nothing may end it.
                    _log.exception("Looking after the releases failed; trying again")
                await asyncio.sleep(pause_s)

        return asyncio.create_task(loop())

    def _look_after(self, endpoint: TritonEndpoint) -> None:
        look = partial(self._look_at, endpoint)
        self._looks[endpoint.client] = self._repeating(look, self._poll_s)

    async def _look_at_judgement(self) -> None:
        self._tritons.suspect_all(self._judge())

    async def _look_for_tritons(self) -> None:
        """Look after those that came, and no more after those that went."""
        assert self._discover is not None
        new, gone = self._tritons.take(await self._discover())
        for endpoint in new:
            self._look_after(endpoint)
        if gone:
            self._settle()
        for endpoint in gone:
            _log.info("Triton at %s has left", endpoint.client.target)
            look = self._looks.pop(endpoint.client)
            look.cancel()
            await asyncio.gather(look, return_exceptions=True)
            await endpoint.close()

    async def _look_at_store(self) -> None:
        await self._routed.read_again()
        self._settle()
        await self._unload_what_left()

    async def _look_at(self, endpoint: TritonEndpoint) -> None:
        wanted = {}
        for key in self._kept:
            manifest = self._routed.manifest(key)
            if manifest is not None and not self._states_of.unfit(manifest):
                wanted[key] = manifest
        await endpoint.look(wanted)

    async def _unload_what_left(self) -> None:
        """Unload what is routed no longer, is asked by nobody, and had its time.

        Right after the routes were read: between this look and the last, somebody may have
        brought it back.
        """
        now = time.monotonic()
        for key, since in list(self._left.items()):
            if now - since < self._unload_after_s or self._busy(key):
                continue
            del self._left[key]
            self._states_of.served.discard(key)
            manifest = self._routed.manifest(key)
            if manifest is not None:
                TOKENIZERS.forget(manifest)
                await asyncio.gather(*(one.unload(key, manifest) for one in self._tritons))
            self._routed.forget(key)

    def _settle(self) -> None:
        """Make the states anew from what is known."""
        routed = self._routed.lines
        self._in_force = {
            line: targets if self._may_move(line, targets) else self._in_force[line]
            for line, targets in routed.items()
        }
        self._keep()
        states = tuple(
            self._states_of.state(line, target.release, target.weight)
            for line in sorted(routed)
            for target in sorted(self._targets_of(line), key=lambda target: -target.weight)
        )
        shadows = {
            line: self._states_of.state(line, release, 0.0)
            for line, release in self._routed.shadows.items()
        }
        if shadows != self._shadows:
            self._tell_of(shadows)
            self._shadows = shadows
        if states != self._states:
            self._states = states
            self._on_change(states)

    def _tell_of(self, shadows: Mapping[str, ReleaseState]) -> None:
        """Log what became of a shadow: nobody else would notice that it is not asked."""
        for line, shadow in shadows.items():
            if shadow == self._shadows.get(line):
                continue
            if shadow.clients:
                _log.info("%s/%s is asked in the shadow", line, shadow.release)
            else:
                text = "%s/%s is not asked in the shadow: %s"
                _log.info(text, line, shadow.release, shadow.detail)

    def _may_move(self, line: str, routed: tuple[RouteTarget, ...]) -> bool:
        """Return whether calls may go where the routes say: all of it is ready, everywhere."""
        before = self._in_force.get(line)
        if before is None or before == routed:
            return True
        if not any((line, target.release) in self._states_of.served for target in before):
            return True  # there is nothing to hold on to
        wanted = [(line, target.release) for target in routed if target.weight > 0]
        up = [one for one in self._tritons if one.up]
        return bool(up and wanted) and all(one.serves(key) for one in up for key in wanted)

    def _targets_of(self, line: str) -> tuple[RouteTarget, ...]:
        """Return what answers, and what will when it is ready."""
        in_force = self._in_force[line]
        known = {target.release for target in in_force}
        waiting = [one for one in self._routed.lines[line] if one.release not in known]
        if any(self._states_of.clients((line, one.release)) for one in in_force if one.weight > 0):
            waiting = [one.model_copy(update={"weight": 0.0}) for one in waiting]
        return (*in_force, *waiting)

    def _keep(self) -> None:
        """Note what must be loaded, and since when the rest need not be."""
        kept = {(line, one.release) for line in self._in_force for one in self._targets_of(line)}
        kept |= set(self._routed.shadows.items())
        for key in self._kept - kept:
            self._left[key] = time.monotonic()
        for key in kept:
            self._left.pop(key, None)
        self._kept = kept
