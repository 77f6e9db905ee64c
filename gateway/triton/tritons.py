"""The Tritons of a gateway: who is looked after, who comes and goes, who is doubted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

from gateway.telemetry.metrics.instruments import LEFT_OUT, TRITON_SERVING
from gateway.telemetry.metrics.readings import Reading
from gateway.triton.client import TritonClient
from gateway.triton.endpoint import TritonEndpoint
from gateway.triton.routed import Key
from gateway.triton.verdicts import REFUSES, SLOW, UNREACHABLE, WRONG, Suspicion

TRIAL_S = 0.8
_USUAL_TIMES = 10.0
"""Time that a silent Triton has for a trial, if others can be asked meanwhile."""

Build = Callable[[TritonClient], TritonEndpoint]


class Tritons:
    """Every Triton that there is now.

    Args:
        build: Makes what looks after one.
        load_timeout_s: Time that a trial has where there is no other Triton.
    """

    def __init__(self, build: Build, load_timeout_s: float) -> None:
        self._build = build
        self._load_timeout_s = load_timeout_s
        self._endpoints: dict[TritonClient, TritonEndpoint] = {}

    def __iter__(self) -> Iterator[TritonEndpoint]:
        """Yield each, in the order in which they came."""
        return iter(tuple(self._endpoints.values()))

    def take(
        self, clients: Sequence[TritonClient]
    ) -> tuple[list[TritonEndpoint], list[TritonEndpoint]]:
        """Take those that there are now; return those that are new, and those that are gone."""
        come = [client for client in clients if client not in self._endpoints]
        gone = [client for client in self._endpoints if client not in clients]
        left = [self._endpoints.pop(client) for client in gone]
        new = []
        for client in come:
            endpoint = self._endpoints[client] = self._build(client)
            endpoint.others_serve = partial(self._others_serve, endpoint)
            endpoint.others_do_well = partial(self._others_do_well, endpoint)
            new.append(endpoint)
        return new, left

    def _others_serve(self, endpoint: TritonEndpoint) -> bool:
        return any(one.serves_any for one in self if one is not endpoint)

    def _others_do_well(self, endpoint: TritonEndpoint, key: Key) -> bool:
        return any(one.does_well(key) for one in self if one is not endpoint)

    def _enough_go_on(self, endpoint: TritonEndpoint, key: Key) -> bool:
        """Return whether at least half can be asked without one, and one of them does well."""
        others = sum(one is not endpoint and one.serves(key) for one in self)
        half = 2 * others >= sum(one.up for one in self)
        return half and self._others_do_well(endpoint, key)

    def suspect(self, suspicion: Suspicion) -> None:
        """Leave a Triton out that does badly, or have it tried at once.

        Whether one is slow, trials of it and of the others say: its calls may be larger.

        The last one that can be asked is left out only for a trial that failed, or for answers
        that are none: a bad Triton may be better than no Triton, a wrong answer is not.
        """
        _, key, kind, why, usual_s, sure = suspicion
        endpoint = next((one for one in self if one.client is suspicion.client), None)
        if endpoint is None:
            return
        others = [one for one in self if one is not endpoint and one.serves(key)]
        if sure and (kind == WRONG or (kind == UNREACHABLE and others)):
            endpoint.leave_out(key, kind, why)
        elif kind == SLOW:
            enough = partial(self._enough_go_on, endpoint, key)
            if enough():
                endpoint.compare(key, others, why, enough)
        elif kind != REFUSES and others:
            endpoint.doubt(key, kind, why, max(TRIAL_S, _USUAL_TIMES * usual_s))
        else:
            endpoint.doubt(key, kind, why, self._load_timeout_s)

    def suspect_all(self, suspicions: Iterable[Suspicion]) -> None:
        """Take all of these."""
        for suspicion in list(suspicions):
            self.suspect(suspicion)

    def readings(self, keys: Iterable[Key]) -> Iterator[Reading]:
        """Yield who is asked for what, and how often each was left out.

        Args:
            keys: The routed releases.
        """
        keys = tuple(keys)
        for endpoint in self:
            target = endpoint.client.target
            for key in keys:
                labels = (target, *key)
                yield Reading(TRITON_SERVING, labels, float(endpoint.serves(key)))
            for kind, count in list(endpoint.left_out.items()):
                yield Reading(LEFT_OUT, (target, kind), count)
