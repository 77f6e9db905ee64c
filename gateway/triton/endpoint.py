"""One Triton, and what is known of each routed release there."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import grpc

from gateway.triton.client import TritonClient
from gateway.triton.doubts import Doubts
from gateway.triton.examining import Examiner, Vouch
from gateway.triton.loading import ConfigOf
from gateway.triton.release_tasks import ReleaseTasks
from gateway.triton.retries import Retries
from gateway.triton.routed import Key
from gateway.triton.variants import AUTO, Choice
from gateway.triton.verdicts import GONE, HANGS, MISFIT, UNREACHABLE, Kind
from triton_models.release import Manifest, Variant

_log = logging.getLogger(__name__)

_SILENCES = 3
"""Probes without an answer, after which the last Triton is gone; any other one after the first."""

_TRIAL_S = 2.0
"""For a trial of a release that has been left out."""

Wanted = Mapping[Key, Manifest]
"""The routed releases."""


class TritonEndpoint:
    """Keeps releases loaded on one Triton, and knows which of them fit.

    Args:
        client: Speaks to it.
        on_change: Called whenever what is known has changed.
        variant: The layout that answers; ``auto`` is decided for each release.
        load_timeout_s: Time that Triton has to load one release.
        config_of: Overrides the configuration of the models that are loaded.
        vouch: Is asked of each release before it is loaded, or taken as it is loaded.
        profile: What Triton was given as ``--model-config-name``; ``None``: that is not known.
        retry_s: Time until a release that does not fit, or could not be loaded, is tried again;
            doubled after each failure.
    """

    def __init__(
        self,
        client: TritonClient,
        on_change: Callable[[], None],
        *,
        variant: Choice = AUTO,
        load_timeout_s: float = 120,
        config_of: ConfigOf | None = None,
        vouch: Vouch | None = None,
        profile: str | None = None,
        retry_s: float = 1,
    ) -> None:
        self.client = client
        self._on_change = on_change
        self._examiner = Examiner(
            client,
            variant=variant,
            load_timeout_s=load_timeout_s,
            config_of=config_of,
            vouch=vouch,
            profile=profile,
        )
        self._load_timeout_s = load_timeout_s
        self._retries = Retries(retry_s)
        self._up: bool | None = None
        self._fitting: set[Key] = set()
        self._faults: dict[Key, str] = {}
        self._loading = ReleaseTasks()
        self._manifests: dict[Key, Manifest] = {}
        self._doubts = Doubts(self.leave_out, load_timeout_s)
        self._connections = self._silences = 0
        self.others_serve: Callable[[], bool] = lambda: False
        """Tells whether another Triton serves anything."""
        self.others_do_well: Callable[[Key], bool] = lambda key: False
        """Tells whether another Triton serves a release and is not doubted."""
        self.left_out: Counter[Kind] = Counter()
        """How often it was left out, or is to be for all that is known, and why."""

    @property
    def up(self) -> bool:
        """Whether Triton answers."""
        return bool(self._up)

    @property
    def serves_any(self) -> bool:
        """Whether any release can be asked here."""
        return bool(self._up and self._fitting)

    def serves(self, key: Key) -> bool:
        """Return whether a release can be asked here."""
        return bool(self._up) and key in self._fitting

    def does_well(self, key: Key) -> bool:
        """Return whether a release can be asked here, and nothing seems to be wrong with it."""
        return self.serves(key) and key not in self._doubts

    def lacks(self, key: Key) -> bool:
        """Return whether a release cannot be asked here, though Triton was there once."""
        return self._up is not None and not self.serves(key)

    def variant(self, key: Key) -> Variant | None:
        """Return the layout of a release that answers here, once that is known."""
        return self._examiner.variants.get(key)

    def fault(self, key: Key) -> str:
        """Return why a release cannot be asked here."""
        if self._up is None:
            return f"waiting for Triton at {self.client.target}"
        if not self._up:
            return f"Triton at {self.client.target} does not answer"
        return self._faults.get(key, "it is being loaded")

    async def look(self, wanted: Wanted) -> None:
        """See whether Triton is up, and begin to load what is wanted and not loaded.

        Loading goes on beside the next looks: a slow release hides nothing.
        """
        self._manifests = dict(wanted)
        answers = self.client.answers
        # One that is too busy to say so lives if it answers.
        up = await self.client.is_live() or self.client.answers > answers
        self._silences = 0 if up or not self.client.was_silent else self._silences + 1
        if 0 < self._silences < _SILENCES and self._up and not self.others_serve():
            return  # it may be busy, and nobody else could answer
        if up != bool(self._up):
            if up:
                _log.info("Triton at %s answers", self.client.target)
            elif self._up:
                _log.warning("Triton at %s is gone", self.client.target)
                self.left_out[GONE] += 1
            self._up = up
            if not up:
                self._forget()
                self.client.drop("Triton does not answer")
            self._on_change()
        if up:
            self._look_at_connections()
            await asyncio.gather(
                *(self._look_at(key, manifest) for key, manifest in wanted.items())
            )

    def doubt(self, key: Key, kind: Kind, why: str, within_s: float) -> None:
        """See at once whether a release still does what it should; leave it out if it does not.

        Args:
            key: The release.
            kind: What seems to be wrong.
            why: The same in words.
            within_s: Time that the trial has.
        """
        manifest = self._manifests.get(key)
        if manifest is not None and self.serves(key):
            check = partial(self._examiner.check, key, manifest)
            others_do_well = partial(self._others_do_well, key)
            self._doubts.try_out(key, kind, why, within_s, check, others_do_well)

    def compare(
        self, key: Key, others: Sequence[TritonEndpoint], why: str, may: Callable[[], bool]
    ) -> None:
        """See at once whether a trial takes much longer here than elsewhere; if so, leave it out.

        Args:
            key: The release.
            others: Where it can be asked as well.
            why: Why it seems to be slow.
            may: Tells whether enough others can be asked.
        """
        if self.serves(key):
            own, *elsewhere = (partial(one.trial_s, key) for one in (self, *others))
            self._doubts.compare(key, why, own, elsewhere, may)

    async def trial_s(self, key: Key) -> float | None:
        """Return what a trial of a release takes, ``None`` if that cannot be told."""
        manifest = self._manifests.get(key)
        return None if manifest is None else await self._examiner.trial_s(key, manifest)

    def leave_out(self, key: Key, kind: Kind, why: str) -> None:
        """Have a release asked here no more, until a trial says that it does well again.

        Args:
            key: The release.
            kind: What is wrong.
            why: The same in words.
        """
        if key not in self._fitting:
            return
        self._fitting.discard(key)
        self.left_out[kind] += 1
        rest_s = self._retries.left_out(key)
        self._faults[key] = f"Triton at {self.client.target} is left out: {why}"
        _log.warning("%s/%s: %s; next trial in %.2f s", *key, self._faults[key], rest_s)
        if kind in (HANGS, UNREACHABLE):
            self.client.drop(why)
        self._on_change()

    async def unload(self, key: Key, manifest: Manifest) -> None:
        """Unload a release that nobody asks any more; if that fails, it only takes up room."""
        await self._loading.end(key)
        variant = self._examiner.variants.pop(key, None)
        self._fitting.discard(key)
        self._faults.pop(key, None)
        self._retries.settled(key)
        self._doubts.forget(key)
        if variant is None or not self._up:
            return
        model = manifest.model_of(variant)
        try:
            await self._examiner.unload(model)
            _log.info("%s/%s is unloaded from Triton at %s", *key, self.client.target)
        except grpc.RpcError as error:
            if await self.client.is_loaded(model):
                _log.warning("%s/%s cannot be unloaded: %s", *key, error.details())

    async def close(self) -> None:
        """Look no more; what is loaded stays loaded."""
        self._loading.cancel()
        self._doubts.give_up()
        await self._loading.ended()
        await self._doubts.ended()
        await self.client.close()

    async def _look_at(self, key: Key, manifest: Manifest) -> None:
        if key in self._loading:
            return
        if key in self._fitting:
            answers = self.client.answers
            ready = await self.client.readiness(manifest.model_of(self._examiner.variants[key]))
            # One that is too busy to say so has it if it answers, or if nobody else could.
            busy = self.client.answers > answers or not self.others_do_well(key)
            if ready or (ready is None and busy) or key not in self._fitting:
                return
            # Triton was restarted between two looks, or somebody unloaded it.
            self._fitting.discard(key)
            self._retries.forgive(key)
            self.left_out[GONE] += 1
            _log.warning("%s/%s: Triton at %s has lost it", *key, self.client.target)
            self._on_change()
        if not self._retries.due(key):
            return
        self._loading.begin(key, self._bring(key, manifest))

    def _look_at_connections(self) -> None:
        """Look again at what is there if inferences had to make another connection."""
        before, self._connections = self._connections, self.client.connections
        if before and self._connections != before:
            for key in self._fitting:
                self.doubt(key, MISFIT, "its connection was made anew", self._load_timeout_s)

    def _others_do_well(self, key: Key) -> bool:
        return self.others_do_well(key)  # as it is then

    async def _bring(self, key: Key, manifest: Manifest) -> None:
        """Load a release if need be, and check it; the outcome is its fault or its fitness."""
        try:
            trial_s = await self._trial_s(key, manifest)
            new = trial_s is None  # else it was looked at when it came, and is still loaded
            fault: str | None = await self._examiner.vouched(manifest) if new else ""
            if not fault:
                async with asyncio.timeout(trial_s):
                    fault = await self._examiner.check(key, manifest, vouched=new)
                if fault and new and fault != self._faults.get(key):
                    self.left_out[MISFIT] += 1
            if fault is not None:
                self._settle(key, fault)
        except TimeoutError:
            fault = f"Triton at {self.client.target} does not answer a trial"
            self._settle(key, fault)
        except Exception:
            # Nothing may end the loop that brings service back.
            _log.exception("%s/%s: looking after it failed", *key)
            self._settle(key, "the gateway could not check it; its log says why")

    async def _trial_s(self, key: Key, manifest: Manifest) -> float | None:
        """Return within which time a release must do well; ``None``: it may have to be loaded."""
        variant = self._examiner.variants.get(key)
        if not self._retries.was_left_out(key) or variant is None:
            return None
        lost = await self.client.readiness(manifest.model_of(variant)) is False
        return None if lost else _TRIAL_S

    def _settle(self, key: Key, fault: str) -> None:
        if fault:
            if self._faults.get(key) != fault:
                _log.info("%s/%s: %s", *key, fault)
            self._faults[key] = fault
            self._retries.failed(key)
        else:
            self._faults.pop(key, None)
            self._retries.settled(key)
            self._fitting.add(key)
        self._on_change()

    def _forget(self) -> None:
        """Know nothing any more: what comes back may be another process."""
        self._loading.cancel()
        self._doubts.give_up()
        self._examiner.variants.clear()
        self._fitting.clear()
        self._faults.clear()
        self._retries.clear()
