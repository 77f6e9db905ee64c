"""What the store says is routed, and what those releases are."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from triton_models.release import Manifest, Routes, RouteTarget
from triton_models.store import ReleaseStore
from triton_models.store_errors import StoreError, Untrusted
from triton_models.trust import Trust

_log = logging.getLogger(__name__)

Key = tuple[str, str]
"""Line and release."""


class RoutedReleases:
    """The routes in force and the manifests of what is in them.

    Args:
        store: Where both are read.
        trust: What is asked of a manifest.
    """

    def __init__(self, store: ReleaseStore, trust: Trust | None = None) -> None:
        self._store = store
        self._trust = trust or Trust()
        self._number = 0
        self._routes = Routes()
        self._manifests: dict[Key, Manifest] = {}
        self._faults: dict[Key, str] = {}
        self._last_error = ""

    @property
    def lines(self) -> Mapping[str, tuple[RouteTarget, ...]]:
        """The targets of each line."""
        return self._routes.lines

    @property
    def shadows(self) -> Mapping[str, str]:
        """By line: the release that is asked too."""
        return self._routes.shadows

    def manifest(self, key: Key) -> Manifest | None:
        """Return a release's manifest if it could be read."""
        return self._manifests.get(key)

    def fault(self, key: Key) -> str:
        """Return why a manifest could not be read."""
        return self._faults.get(key, "its manifest is not read yet")

    def forget(self, key: Key) -> None:
        """Forget a release that is routed no longer: its name may come back as another."""
        self._manifests.pop(key, None)
        self._faults.pop(key, None)

    async def read(self) -> None:
        """Read the routes, and the manifests that are new in them.

        Raises:
            StoreError: If the routes cannot be understood.
            OSError: If the store cannot be reached.
        """
        number, routes = await asyncio.to_thread(self._store.routes)
        for line, targets in routes.lines.items():
            for target in targets:
                await self._read_manifest((line, target.release))
        for shadow in routes.shadows.items():
            await self._read_manifest(shadow)
        if number != self._number:
            _log.info("Route file %d is in force", number)
        self._number, self._routes = number, routes

    async def read_again(self) -> None:
        """Read what is new; if that is impossible, what was read stays in force."""
        try:
            await self.read()
            self._last_error = ""
        except (StoreError, OSError) as error:
            if str(error) != self._last_error:
                _log.error("The routes cannot be read, the last ones stay in force: %s", error)
            self._last_error = str(error)

    async def _read_manifest(self, key: Key) -> None:
        """Read a manifest that is not read yet; one that is unreadable harms no other."""
        if key in self._manifests:
            return
        try:
            manifest = await asyncio.to_thread(self._trust.manifest, self._store, *key)
            self._manifests[key] = manifest
            self._faults.pop(key, None)
        except (StoreError, OSError) as error:
            fault = str(error).rstrip(".")
            if isinstance(error, Untrusted) and self._faults.get(key) != fault:
                _log.error("%s/%s is not loaded: %s", *key, fault)
            self._faults[key] = fault
