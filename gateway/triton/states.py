"""How routed releases are, put together from what each Triton makes of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gateway.triton.client import TritonClient
from gateway.triton.endpoint import TritonEndpoint
from gateway.triton.routed import Key, RoutedReleases
from gateway.triton.tritons import Tritons
from gateway.triton.variants import AUTO, Choice, lacks
from triton_models.release import ENSEMBLE, FUSED, Manifest, Variant
from triton_models.signatures import SIGNATURES


@dataclass(frozen=True)
class ReleaseState:
    """A routed release."""

    line: str
    release: str
    weight: float
    """Its share of the calls; 0 as long as it waits for the others of its route file."""
    variant: Variant
    """The layout that answers, or that is first tried."""
    manifest: Manifest | None
    clients: tuple[TritonClient, ...]
    """The Tritons that can be asked for that variant now."""
    detail: str
    """Why none can, else ``""``."""
    partly: str = ""
    """Which Tritons cannot, and why, though others can."""


class StatesOf:
    """Knows the states of releases as they are now.

    Args:
        routed: What is routed.
        tritons: Know what can be asked there.
        variant: The layout that answers.

    Attributes:
        served: The releases that could be asked at any time.
    """

    def __init__(self, routed: RoutedReleases, tritons: Tritons, variant: Choice) -> None:
        self.served: set[Key] = set()
        self._routed = routed
        self._tritons = tritons
        self._variant = variant

    def unfit(self, manifest: Manifest) -> str:
        """Return why a release is not even loaded, or ``""``."""
        if manifest.line not in SIGNATURES:
            return f"line '{manifest.line}' has no declared tensors in this gateway"
        if lacks(self._variant, manifest):
            return f"it has no variant '{self._variant}', only {', '.join(manifest.variants)}"
        return ""

    def clients(self, key: Key) -> tuple[TritonClient, ...]:
        """Return the Tritons where a release can be asked for its variant."""
        serving = [one for one in self._tritons if one.serves(key)]
        variant = _first_of(one.variant(key) for one in serving)
        if serving:
            self.served.add(key)
        return tuple(one.client for one in serving if one.variant(key) == variant)

    def _variant_of(self, key: Key, manifest: Manifest | None) -> Variant:
        """Return the layout that answers for a release, or that is first tried."""
        serving = _first_of(one.variant(key) for one in self._tritons if one.serves(key))
        if serving is not None:
            return serving
        if self._variant != AUTO:
            return self._variant
        return FUSED if manifest is not None and FUSED in manifest.variants else ENSEMBLE

    def state(self, line: str, release: str, weight: float) -> ReleaseState:
        """Return the state of a release.

        Args:
            line: Its line.
            release: Its name.
            weight: Its share of the calls.
        """
        key: Key = (line, release)
        manifest = self._routed.manifest(key)
        clients: tuple[TritonClient, ...] = ()
        partly = ""
        if manifest is None:
            detail = self._routed.fault(key)
        elif not (detail := self.unfit(manifest)):
            clients = self.clients(key)
            faults = dict.fromkeys(one.fault(key) for one in self._tritons)
            detail = "" if clients else "; ".join(faults)
            if clients:
                partly = "; ".join(_named(one, key) for one in self._tritons if one.lacks(key))
        variant = self._variant_of(key, manifest)
        return ReleaseState(line, release, weight, variant, manifest, clients, detail, partly)


def _named(triton: TritonEndpoint, key: Key) -> str:
    """Return why a release cannot be asked on one of several Tritons, and on which."""
    fault, target = triton.fault(key), triton.client.target
    return fault if target in fault else f"Triton at {target}: {fault}"


def _first_of(variants: Iterable[Variant | None]) -> Variant | None:
    """Return the variant that is asked where Tritons differ: the ensemble, which has a GPU."""
    known = set(variants)
    return next((variant for variant in (ENSEMBLE, FUSED) if variant in known), None)
