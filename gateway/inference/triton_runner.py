"""Runs the routed releases on Triton."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Protocol

import numpy as np
import numpy.typing as npt

from gateway.errors import ModelUnavailable
from gateway.inference import router
from gateway.inference.admission import Admission, Visit
from gateway.inference.asking import Asker
from gateway.inference.exchange import Exchange
from gateway.inference.fleet import Fleet
from gateway.inference.priority import SHARED, Turn
from gateway.inference.runner import RouteState, ServedRelease, Tensors
from gateway.inference.shadowing import Shadowing
from gateway.telemetry.failed_requests import TellFailed
from gateway.telemetry.metrics.instruments import (
    ADMISSION_LIMIT,
    ADMITTED,
    REFUSED_CALLS,
    RELEASE_SERVING,
    RELEASE_WEIGHT,
    WAITING_CALLS,
    WAITING_LIMIT,
)
from gateway.telemetry.metrics.readings import Reading
from gateway.telemetry.tracing import InferenceTrace
from gateway.triton.client import TritonClient
from gateway.triton.states import ReleaseState
from gateway.triton.tensors import arrays_to_request, response_to_arrays
from gateway.triton.verdicts import Suspicion

_SHADOW_TIMEOUT_S = 10.0


class KnowsStates(Protocol):
    """What the runner needs of a :class:`~gateway.triton.lifecycle.Lifecycle`."""

    @property
    def states(self) -> tuple[ReleaseState, ...]:
        """Every routed release, by line and falling weight; replaced, never changed."""
        ...

    @property
    def shadows(self) -> Mapping[str, ReleaseState]:
        """By line: the release that is asked too; replaced, never changed."""
        ...

    def clients(self, line: str, release: str) -> tuple[TritonClient, ...]:
        """Return the Tritons where a release can be asked, also one that is routed no longer."""
        ...

    def suspect(self, suspicion: Suspicion) -> None:
        """Look closely at a Triton that does badly with a release, or leave it out at once."""
        ...


class TritonRunner:
    """A :class:`~gateway.inference.runner.ModelRunner` on one or more Tritons.

    Args:
        lifecycle: Knows what is loaded where.
        build_admission: Makes what bounds the calls of one line, given its name.
        call_timeout_s: Time that a call without a deadline has, so that none is held for ever;
            may be changed.
        hedging: Whether a second Triton is asked where the first is late.
        fleet: Chooses among the Tritons.
        tell_failed: Is told of each request that Triton traces and has failed.
    """

    def __init__(
        self,
        lifecycle: KnowsStates,
        build_admission: Callable[[str], Admission],
        *,
        call_timeout_s: float = 60,
        hedging: bool = False,
        fleet: Fleet | None = None,
        tell_failed: TellFailed = lambda request: None,
    ) -> None:
        self._lifecycle = lifecycle
        self._fleet = fleet or Fleet()
        self._asker = Asker(self._fleet, lifecycle.suspect, hedging=hedging)
        self._exchange = Exchange(self._asker, tell_failed)
        self._build_admission = build_admission
        self.call_timeout_s = call_timeout_s
        self.shadowing = Shadowing()
        self._in_flight: Counter[tuple[str, str]] = Counter()
        self._admissions: dict[str, Admission] = {}
        self._seen: tuple[ReleaseState, ...] | None = None
        self._routes: list[RouteState] = []
        self._clients: Mapping[tuple[str, str], tuple[TritonClient, ...]] = {}
        self._only: dict[str, ServedRelease | None] = {}

    def routes(self) -> Sequence[RouteState]:
        """Return every routed release, by line and falling weight."""
        states = self._lifecycle.states
        if states is not self._seen:
            self._only = {}
            self._routes = [_route(state) for state in states]
            self._clients = {(state.line, state.release): state.clients for state in states}
            self._exchange.forget()
            self._fleet.keep(dict(self._clients))
            self._seen = states
        return self._routes

    def readings(self) -> Iterator[Reading]:
        """Yield what is routed, and how busy the way to Triton is."""
        for state in self._lifecycle.states:
            labels = (state.line, state.release, state.variant)
            yield Reading(RELEASE_SERVING, labels, float(bool(state.clients)))
            yield Reading(RELEASE_WEIGHT, labels, state.weight)
        for line, admission in list(self._admissions.items()):
            yield Reading(ADMITTED, (line,), admission.active)
            yield Reading(ADMISSION_LIMIT, (line,), admission.in_flight)
            place = ("admission", line)
            yield Reading(WAITING_CALLS, place, admission.waiting)
            yield Reading(WAITING_LIMIT, place, admission.max_waiting)
            for reason, count in list(admission.refusals.items()):
                yield Reading(REFUSED_CALLS, (*place, reason), count)
        yield from self._asker.readings()
        yield from self.shadowing.readings()

    def suspicions(self) -> Iterator[Suspicion]:
        """Yield which Tritons are silent, or slower than the others; ask now and then."""
        self.routes()
        yield from self._fleet.suspicions()

    def busy(self, key: tuple[str, str]) -> bool:
        """Return whether calls of a release (line and name) are in flight."""
        return self._in_flight[key] > 0

    def places(self, line: str) -> int:
        """Return how many inferences of a line may be at Triton now."""
        return self._admission(line).in_flight

    def find(self, line: str, key: str) -> ServedRelease | None:
        """Return the release that answers for a key, if one does."""
        only = self.only(line)
        if only is not None:
            return only
        try:
            return router.choose(line, key, self._routes)
        except ModelUnavailable:
            return None

    def only(self, line: str) -> ServedRelease | None:
        """Return the release that answers for every key, if there is just one."""
        routes = self.routes()
        if line not in self._only:
            self._only[line] = router.only(line, routes)
        return self._only[line]

    def choose(self, line: str, key: str) -> ServedRelease:
        """Return the release that answers for a key."""
        return router.choose(line, key, self.routes())

    async def run(
        self,
        release: ServedRelease,
        tensors: Tensors,
        *,
        outputs: Sequence[str] | None = None,
        timeout_s: float | None,
        trace: InferenceTrace,
        turn: Turn = SHARED,
    ) -> dict[str, npt.NDArray[np.generic]]:
        """Ask the Triton that has least to do."""
        line = release.line
        key = (line, release.release)
        self._in_flight[key] += 1
        end = time.monotonic() + (self.call_timeout_s if timeout_s is None else timeout_s)
        admission = self._admission(line)
        try:
            visit: Visit | None = await admission.enter(end - time.monotonic(), turn)
            trace.admitted()
            try:
                answer = await self._exchange.ask(
                    release, tensors, outputs, end, trace, partial(self._serving, release)
                )
            except BaseException:
                visit = None  # what failed says nothing of how long answers take
                raise
            finally:
                admission.leave(visit, len(next(iter(tensors.values()))))
        except BaseException as error:
            trace.end(error)  # unless it has ended
            raise
        finally:
            self._in_flight[key] -= 1
        if line in self._lifecycle.shadows:
            self._offer_to_shadow(release, tensors, outputs, answer)
        return answer

    def _offer_to_shadow(
        self,
        release: ServedRelease,
        tensors: Tensors,
        outputs: Sequence[str] | None,
        answer: dict[str, npt.NDArray[np.generic]],
    ) -> None:
        """Have the line's shadow asked the same, once this answer is on its way."""
        state = self._lifecycle.shadows[release.line]
        if state.manifest is None or not state.clients:
            return
        if not self.shadowing.takes(release, state.manifest):
            return
        client = self._fleet.choose((state.line, state.release), state.clients)
        model = state.manifest.model_of(state.variant)
        rows = next(iter(tensors.values())).shape[0]

        async def ask() -> dict[str, npt.NDArray[np.generic]]:
            request = arrays_to_request(model, tensors, outputs)
            response = await client.infer(request, timeout_s=_SHADOW_TIMEOUT_S, headers={})
            return response_to_arrays(response, rows)

        self.shadowing.offer(release, state.manifest, answer, ask)

    def _admission(self, line: str) -> Admission:
        if line not in self._admissions:
            self._admissions[line] = self._build_admission(line)
        return self._admissions[line]

    def _serving(self, release: ServedRelease) -> Sequence[TritonClient]:
        """Return the Tritons that can be asked.

        Raises:
            ModelUnavailable: If there is none.
        """
        self.routes()
        key = (release.line, release.release)
        # What is routed no longer answers the calls that had chosen it.
        clients = self._clients.get(key) or self._lifecycle.clients(*key)
        if not clients:  # it went away while the call waited
            raise ModelUnavailable(release.line, f"release '{release.release}' is not loaded")
        return clients


def _route(state: ReleaseState) -> RouteState:
    return RouteState(
        line=state.line,
        release=state.release,
        weight=state.weight,
        serving=bool(state.clients),
        detail=state.detail,
        served=ServedRelease(state.manifest, state.variant) if state.manifest else None,
        partly=state.partly,
    )
