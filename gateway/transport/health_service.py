"""``grpc.health.v1.Health``: answers with what it was told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from google.rpc import code_pb2, status_pb2

from gateway.transport.call import Call
from gateway.transport.infrastructure import HealthCheckResponse, HealthListResponse
from gateway.transport.rpc import RpcFailed


class HealthServicer:
    """Knows the health of each service by name; nothing is healthy before it was said so."""

    def __init__(self) -> None:
        self._statuses: dict[str, int] = {"": HealthCheckResponse.NOT_SERVING}
        self._watchers: set[asyncio.Event] = set()
        self._final = False

    def set(self, statuses: Mapping[str, int]) -> None:
        """Take the health of services; those that are not named stay as they are."""
        if not self._final:
            self._statuses.update(statuses)
            self._wake()

    def stop(self) -> None:
        """Say NOT_SERVING everywhere, for good."""
        self.set(dict.fromkeys(self._statuses, HealthCheckResponse.NOT_SERVING))
        self._final = True

    async def Check(self, request: Any, call: Call) -> Any:
        """Give the health of a service."""
        status = self._statuses.get(request.service)
        if status is None:
            text = f"No service '{request.service}' is served."
            raise RpcFailed(status_pb2.Status(code=code_pb2.NOT_FOUND, message=text))
        return HealthCheckResponse(status=status)

    async def List(self, request: Any, call: Call) -> Any:
        """Give the health of every service."""
        response = HealthListResponse()
        for service, status in self._statuses.items():
            response.statuses[service].status = status
        return response

    async def Watch(self, request: Any, call: Call) -> AsyncGenerator[Any]:
        """Give the health of a service, and again whenever it changes."""
        changed = asyncio.Event()
        self._watchers.add(changed)
        last = None
        try:
            while True:
                changed.clear()
                status = self._statuses.get(request.service, HealthCheckResponse.SERVICE_UNKNOWN)
                if status != last:
                    last = status
                    yield HealthCheckResponse(status=status)
                await changed.wait()
        finally:
            self._watchers.discard(changed)

    def _wake(self) -> None:
        for changed in self._watchers:
            changed.set()
