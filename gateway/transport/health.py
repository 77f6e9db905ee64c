"""``grpc.health.v1`` for each domain, following what the runner can serve."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence

from gateway.inference.runner import ModelRunner, RouteState
from gateway.transport.health_service import HealthServicer
from gateway.transport.infrastructure import HealthCheckResponse
from triton_models.signatures import DOMAIN_LINES

_log = logging.getLogger(__name__)

DOMAIN_SERVICES: Mapping[str, str] = {
    "recommend": "trident.recommend.v1.RecommendService",
    "diagnose": "trident.diagnose.v1.DiagnoseService",
    "risk": "trident.risk.v1.RiskService",
}
MODEL_SERVICE = "trident.model.v1.ModelService"
DEFAULT_POLL_S = 0.25

_SERVING: int = HealthCheckResponse.SERVING
_NOT_SERVING: int = HealthCheckResponse.NOT_SERVING

Statuses = dict[str, int]


def statuses(routes: Sequence[RouteState]) -> Statuses:
    """Return the health of each service, and under ``""`` that of the whole.

    A domain serves if one of its lines does; the whole serves if every routed domain does, and
    there is one. Once it did, a follower is content with any (`HealthFollower`).
    """
    routed = {route.line for route in routes}
    serving = {route.line for route in routes if route.serving}
    health: Statuses = {MODEL_SERVICE: _SERVING}
    whole = bool(routed)
    for domain, service in DOMAIN_SERVICES.items():
        lines = set(DOMAIN_LINES[domain])
        health[service] = _SERVING if lines & serving else _NOT_SERVING
        if lines & routed and not lines & serving:
            whole = False
    health[""] = _SERVING if whole else _NOT_SERVING
    return health


class HealthFollower:
    """Keeps a health servicer at what the runner says.

    The whole begins to serve when every routed domain does, and from then on serves as long as any
    does: balancers take a gateway that does not out of use for all calls, so one line that cannot
    be asked would take the others with it, on every gateway at once. The domains' own names tell.

    Args:
        runner: Knows the routes.
        poll_s: How often it is asked.
    """

    def __init__(self, runner: ModelRunner, poll_s: float = DEFAULT_POLL_S) -> None:
        self.servicer = HealthServicer()
        self._runner = runner
        self._poll_s = poll_s
        self._known: Statuses = {}
        self._was_whole = False
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Set the health as it is now, and follow it."""
        self._update()
        self._task = asyncio.create_task(self._follow())

    async def stop(self) -> None:
        """Say NOT_SERVING from now on, everywhere."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self.servicer.stop()

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(self._poll_s)
            try:
                self._update()
            except Exception:
                # A health that no longer moves would be worse than one that is late.
                _log.exception("Cannot tell the health")

    def _update(self) -> None:
        now = statuses(self._runner.routes())
        self._was_whole = self._was_whole or now[""] == _SERVING
        if self._was_whole and any(now[one] == _SERVING for one in DOMAIN_SERVICES.values()):
            now[""] = _SERVING
        if now != self._known:
            self._known = now
            self.servicer.set(now)
