"""What can go wrong when a network comes from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

from model_builder.errors import BuilderError


class ImportMismatch(BuilderError):
    """The network does not fit the place that it shall take; names every difference."""

    def __init__(self, what: str, differences: Sequence[str]) -> None:
        super().__init__(f"{what} does not fit:\n  " + "\n  ".join(differences))
        self.differences = tuple(differences)


class FrameworkMissing(BuilderError):
    """The interpreter that shall read the model lacks the framework."""

    def __init__(self, framework: str, python: str, advice: str) -> None:
        super().__init__(f"{framework} is not installed for {python}: {advice}")


class ConversionFailed(BuilderError):
    """The framework cannot read the model, or make ONNX of it."""

    def __init__(self, path: str, cause: str) -> None:
        super().__init__(f"{path} cannot be converted: {cause}")
