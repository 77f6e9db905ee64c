"""How a candidate becomes a release: what every build and every import is asked alike."""

from __future__ import annotations

from dataclasses import dataclass

from triton_models.store import Sign


@dataclass(frozen=True)
class Releasing:
    """What happens between a measured candidate and the store."""

    sign: Sign | None = None
    """Signs the manifest; ``None``: it is not signed."""
