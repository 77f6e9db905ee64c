"""A release that a build goes on from: ``build --from LINE/RELEASE``."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from model_builder.errors import CannotGoOn
from triton_models.release import FUSED, Manifest, network_path
from triton_models.store import ReleaseStore

WEIGHTS = "network.safetensors"
"""Among a release's reports: the weights that a later build can start from."""


@dataclass(frozen=True)
class Previous:
    """A release, with what a task needs to start from it and to be compared with it."""

    manifest: Manifest
    weights: bytes
    """``network.safetensors``, as it was released."""
    fused: Path
    """Its fused model, which answers a request as the release does."""

    @property
    def name(self) -> str:
        """Return ``LINE/RELEASE``."""
        return f"{self.manifest.line}/{self.manifest.release}"


@contextmanager
def previous_release(store: ReleaseStore, line: str, release: str) -> Iterator[Previous]:
    """Give a release of the store, checked byte by byte.

    Raises:
        StoreError: If there is no such release, or its models are not those that were released.
        CannotGoOn: If it has no weights, or not those that were released, or no fused model.
    """
    manifest = store.manifest(line, release)
    name = f"{line}/{release}"
    store.check_files(manifest)
    weights = store.report(line, release, WEIGHTS)
    if weights is None or WEIGHTS not in manifest.recorded:
        raise CannotGoOn(name, f"it has no {WEIGHTS}; build it anew")
    if hashlib.sha256(weights).hexdigest() != manifest.recorded[WEIGHTS]:
        raise CannotGoOn(name, f"its {WEIGHTS} was changed since it was released")
    if FUSED not in manifest.variants:
        raise CannotGoOn(name, "it has no fused model to be compared with")
    with TemporaryDirectory(prefix="model-builder-from-") as scratch:
        models = Path(scratch) / "models"
        store.fetch_models(manifest, models)
        fused = models / network_path(manifest.model_of(FUSED))
        yield Previous(manifest, weights, fused)
