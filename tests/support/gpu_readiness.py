"""What is said of the cores of a candidate for GPUs."""

from __future__ import annotations

from model_builder.export.profiles import Profiles
from model_builder.task import Candidate


def reasons(built: Candidate) -> dict[str, tuple[str, ...]]:
    """By core: why TensorRT does not take it; empty if it does."""
    ready = Profiles.of(built.line, built.steps, built.recorded, built.details.get("note")).ready
    return {name: found.because for name, found in ready.items()}
