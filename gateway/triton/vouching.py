"""Looks at a release before it is loaded: whether it can run there, and at every byte of it."""

from __future__ import annotations

import asyncio
import logging
import time

from triton_models.note_tokenizers import TOKENIZERS, TokenizerUnusable
from triton_models.plan_check import RunsOn, plan_faults
from triton_models.release import Manifest
from triton_models.store import ReleaseStore
from triton_models.store_errors import StoreError

_log = logging.getLogger(__name__)


class Voucher:
    """Says whether a release can run where the Tritons are, and its files are as released.

    Looks once for all who ask at the same time, in a thread: calls go on meanwhile.

    Args:
        store: Where the files lie.
        where: What is known of the Tritons.
    """

    def __init__(self, store: ReleaseStore, where: RunsOn | None = None) -> None:
        self._store = store
        self._where = where or RunsOn()
        self._looking: dict[str, asyncio.Task[str]] = {}

    async def fault(self, manifest: Manifest) -> str:
        """Return what is wrong with a release's files, by name; ``""`` if nothing is."""
        name = manifest.ensemble
        looking = self._looking.get(name)
        if looking is None:
            looking = self._looking[name] = asyncio.create_task(self._look(manifest))
            looking.add_done_callback(lambda _: self._looking.pop(name, None))
        return await asyncio.shield(looking)

    async def _look(self, manifest: Manifest) -> str:
        start_s = time.monotonic()
        if faults := plan_faults(manifest, self._where):
            fault = "; ".join(faults)
            _log.error("%s/%s is not loaded: %s", manifest.line, manifest.release, fault)
            return fault
        try:
            await asyncio.to_thread(self._store.check_files, manifest)
            await asyncio.to_thread(TOKENIZERS.read, self._store, manifest)
        except (StoreError, OSError, TokenizerUnusable) as error:
            _log.error("%s/%s is not loaded: %s", manifest.line, manifest.release, error)
            return str(error).rstrip(".")
        took_s = time.monotonic() - start_s
        _log.info(
            "%s/%s: %d files are as released, checked in %.2f s",
            manifest.line,
            manifest.release,
            len(manifest.files),
            took_s,
        )
        return ""
