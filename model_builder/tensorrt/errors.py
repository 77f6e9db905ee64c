"""What keeps a network from becoming a plan."""

from __future__ import annotations

from collections.abc import Sequence

from model_builder.errors import BuilderError

INSTALL = (
    'pip install "trident[tensorrt]" with the package index of NVIDIA (docs/tensorrt.md), '
    "or use an image that has trtexec"
)


class ToolMissing(BuilderError):
    """Something that compiles, or what it needs, is not installed."""

    def __init__(self, what: str, how: str = INSTALL) -> None:
        super().__init__(f"{what}: {how}")
        self.what = what


class CompileFailed(BuilderError):
    """TensorRT does not make a plan of a network."""

    def __init__(self, step: str, reasons: Sequence[str]) -> None:
        lines = "\n".join(f"  {reason}" for reason in reasons) or "  it does not say why"
        super().__init__(f"step '{step}' does not become a plan:\n{lines}")
        self.step = step
        self.reasons = tuple(reasons)


class CannotCompile(BuilderError):
    """A release is not one that can be compiled so; names every reason."""

    exit_code = 2

    def __init__(self, release: str, reasons: Sequence[str]) -> None:
        super().__init__(f"{release} cannot be compiled: " + "; ".join(reasons))
        self.reasons = tuple(reasons)


class PlanDiffers(BuilderError):
    """A plan answers otherwise than the network that it was made of; names every output."""

    def __init__(self, step: str, faults: Sequence[str]) -> None:
        super().__init__(
            f"the plan of step '{step}' does not answer as its network: " + "; ".join(faults)
        )
        self.faults = tuple(faults)
