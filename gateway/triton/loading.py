"""Loads the models of a release, with another configuration than the store's if need be."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gateway.triton.client import TritonClient
from triton_models.release import Manifest

ConfigOf = Callable[[str], str]
"""Returns the configuration (JSON) to load a model with, given its name; reads a file."""


class Loader:
    """Loads and unloads on one Triton.

    Args:
        client: Speaks to it.
        timeout_s: Time that Triton has for one model.
        config_of: Overrides what the store says of every model but ensembles; ``None``: nothing.
    """

    def __init__(
        self, client: TritonClient, timeout_s: float, config_of: ConfigOf | None = None
    ) -> None:
        self.client = client
        self._timeout_s = timeout_s
        self._config_of = config_of

    async def load(self, model: str, manifest: Manifest) -> None:
        """Load a model of a release; an ensemble with its steps."""
        if self._config_of is None:
            await self.client.load(model, self._timeout_s)
        elif model != manifest.ensemble:
            config = await asyncio.to_thread(self._config_of, model)
            await self.client.load(model, self._timeout_s, config)
        else:
            # The steps first, or the ensemble would bring them as the store has them.
            steps = [step.model for step in manifest.steps]
            loaded = await asyncio.gather(*map(self.client.is_loaded, steps))
            missing = [step for step, there in zip(steps, loaded, strict=True) if not there]
            await asyncio.gather(*(self.load(step, manifest) for step in missing))
            await self.client.load(model, self._timeout_s)

    async def unload(self, model: str) -> None:
        """Unload a model; an ensemble with its steps."""
        await self.client.unload(model, self._timeout_s)
