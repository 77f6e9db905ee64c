"""What the transports ask of inference: choose a release, run it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from gateway.inference.priority import SHARED, Turn
from gateway.telemetry.tracing import InferenceTrace
from triton_models.release import Manifest

Tensors = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class ServedRelease:
    """A release that can be asked."""

    manifest: Manifest
    variant: str = "ensemble"
    # Found once, because every call asks for them.
    line: str = field(init=False, repr=False, compare=False)
    """The line that it belongs to."""
    release: str = field(init=False, repr=False, compare=False)
    """Its name within the line."""
    model_name: str = field(init=False, repr=False, compare=False)
    """The Triton model that answers for it."""

    def __post_init__(self) -> None:
        """Find what follows from the rest."""
        found = self.manifest.line, self.manifest.release, self.manifest.model_of(self.variant)
        for name, value in zip(("line", "release", "model_name"), found, strict=True):
            object.__setattr__(self, name, value)  # as of a frozen one it must be


@dataclass(frozen=True)
class RouteState:
    """A routed release, whether it answers or not."""

    line: str
    release: str
    weight: float
    serving: bool
    detail: str = ""
    """Why it does not serve: the exact difference, or what is missing."""
    served: ServedRelease | None = None
    """Set whenever the manifest could be read."""
    partly: str = ""
    """Which Tritons do not serve it, and why, though others do."""


class ModelRunner(Protocol):
    """Runs the releases that are routed."""

    def only(self, line: str) -> ServedRelease | None:
        """Return the release that answers for every key, if there is just one."""
        ...

    def find(self, line: str, key: str) -> ServedRelease | None:
        """Return what :meth:`choose` would, or ``None`` where that would raise."""
        ...

    def choose(self, line: str, key: str) -> ServedRelease:
        """Return the release that answers for ``key`` (sticky: the same key, the same release).

        Raises:
            ModelUnavailable: If no release of the line serves; ``detail`` says why.
        """
        ...

    async def run(
        self,
        release: ServedRelease,
        tensors: Tensors,
        *,
        outputs: Sequence[str] | None = None,
        timeout_s: float | None,
        trace: InferenceTrace,
        turn: Turn = SHARED,
    ) -> dict[str, npt.NDArray[np.generic]]:
        """Return the outputs of one inference, each ``(B, …)`` as its signature says.

        Args:
            release: What to ask; from ``choose``.
            tensors: Every input of the line's signature that the release has, ``(B, …)``, at most
                1,000 rows.
            outputs: The names of the outputs wanted; all if ``None``.
            timeout_s: Time left, or ``None`` for no deadline.
            trace: Records it, and is ended here.
            turn: Whose turn it is, where not all can be at Triton.

        Raises:
            ModelUnavailable: If Triton or the model is away.
            Overloaded: If too many calls wait.
            DeadlineExceeded: If ``timeout_s`` passes.
            ModelContractBroken: If Triton refuses the tensors or answers with others.
        """
        ...

    def places(self, line: str) -> int:
        """Return how many inferences of a line may be at Triton now."""
        ...

    def routes(self) -> Sequence[RouteState]:
        """Return every routed release, ordered by line and falling weight."""
        ...
