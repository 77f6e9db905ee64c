"""Loads a release on one Triton and sees whether it is what it says: with all its differences."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import grpc

from gateway.triton.check import differences
from gateway.triton.client import TritonClient
from gateway.triton.loading import ConfigOf, Loader
from gateway.triton.routed import Key
from gateway.triton.trial import quickest_s, try_out
from gateway.triton.variants import Choice, choose_variant
from triton_models.release import Manifest, Variant

_ASK_AGAIN_S = 0.1
"""Until a Triton that is too busy to say what is loaded is asked again."""

Vouch = Callable[[Manifest], Awaitable[str]]
"""Returns why a release must not be loaded, ``""`` if it may."""


class Examiner:
    """Looks closely at releases on one Triton.

    Args:
        client: Speaks to it.
        variant: The layout that answers; ``auto`` is decided for each release.
        load_timeout_s: Time that Triton has to load one release.
        config_of: Overrides the configuration of the models that are loaded.
        vouch: Is asked of each release before it is loaded, or taken as it is loaded.
        profile: What Triton was given as ``--model-config-name``; ``None``: that is not known.

    Attributes:
        variants: The layout of each release that answers here, once that is known.
    """

    def __init__(
        self,
        client: TritonClient,
        *,
        variant: Choice,
        load_timeout_s: float,
        config_of: ConfigOf | None,
        vouch: Vouch | None,
        profile: str | None,
    ) -> None:
        self.variants: dict[Key, Variant] = {}
        self._client = client
        self._asked = variant
        self._loader = Loader(client, load_timeout_s, config_of)
        self._load_timeout_s = load_timeout_s
        self._vouch = vouch
        self._profile = profile

    async def vouched(self, manifest: Manifest) -> str:
        """Return why a release must not be loaded, ``""`` if it may."""
        return await self._vouch(manifest) if self._vouch is not None else ""

    async def check(self, key: Key, manifest: Manifest, *, vouched: bool = False) -> str | None:
        """Load a release if need be, and compare what is served with what it says.

        Args:
            key: The release.
            manifest: The same.
            vouched: Whether its files were looked at just now.

        Returns:
            What is wrong, ``""`` if nothing is; ``None`` if Triton went away meanwhile.
        """
        client = self._client
        try:
            if key not in self.variants:
                self.variants[key] = await choose_variant(
                    self._asked, manifest, self._loader, self._profile
                )
            model = manifest.model_of(self.variants[key])
            if not await self._is_loaded(model):
                if not vouched and (fault := await self.vouched(manifest)):
                    return fault
                await self._loader.load(model, manifest)
            metadata = await client.metadata(model)
            config = await client.config(model)
            found = differences(manifest, metadata, config)
            found = found or await try_out(client, model, manifest, self._load_timeout_s)
        except grpc.RpcError as error:
            if not await client.is_live():
                return None
            details = " ".join((error.details() or error.code().name).split())
            return f"Triton at {client.target} cannot load it: {details.rstrip('.')}"
        return "; ".join(found)

    async def trial_s(self, key: Key, manifest: Manifest) -> float | None:
        """Return what a trial of a release takes, ``None`` if that cannot be told."""
        variant = self.variants.get(key)
        if variant is None:
            return None
        model = manifest.model_of(variant)
        try:
            return await quickest_s(self._client, model, manifest, self._load_timeout_s)
        except grpc.RpcError:
            return None

    async def unload(self, model: str) -> None:
        """Unload a model; an ensemble with its steps."""
        await self._loader.unload(model)

    async def _is_loaded(self, model: str) -> bool:
        """Return whether a model is loaded, once Triton says so: a busy one is not to load it anew.

        Raises:
            TimeoutError: If it does not say.
        """
        async with asyncio.timeout(self._load_timeout_s):
            while (ready := await self._client.readiness(model)) is None:
                await asyncio.sleep(_ASK_AGAIN_S)
            return ready
