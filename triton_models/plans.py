"""What a release says of GPUs: whether its cores fit TensorRT, and the plans it has.

A *plan* is a network that TensorRT compiled, for one kind of GPU and one version of TensorRT.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Profile = Literal["onnx-cuda", "onnx-tensorrt", "tensorrt"]
"""How Triton runs a network on a GPU; ``configs/<profile>.pbtxt`` says it, and Triton's
``--model-config-name`` chooses it."""

ONNX_CUDA: Profile = "onnx-cuda"
ONNX_TENSORRT: Profile = "onnx-tensorrt"
TENSORRT: Profile = "tensorrt"
PROFILES: tuple[Profile, ...] = (ONNX_CUDA, ONNX_TENSORRT, TENSORRT)

Precision = Literal["fp32", "fp16", "bf16", "int8", "fp8"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Readiness(_Frozen):
    """Whether TensorRT is said to take a network; nobody has tried by this."""

    ready: bool
    because: tuple[str, ...] = ()
    """What it does not take: each node with its operator and the exact reason."""
    checked_against: str
    """Whose operator support, such as ``TensorRT 10.15``."""


class Shapes(_Frozen):
    """The sizes of one input that a plan is made for, each with the batch axis."""

    least: tuple[int, ...]
    usual: tuple[int, ...]
    """That it is tuned for."""
    most: tuple[int, ...]


class Plan(_Frozen):
    """A network that was compiled for one kind of GPU."""

    step: str
    file: str
    """Its path below ``models/``."""
    compute_capability: str
    """Of the GPU that compiled it, such as ``9.0``."""
    gpu: str = ""
    """That GPU's name, for people."""
    tensorrt: str
    """The version that compiled it, such as ``10.13.3.9``."""
    precision: Precision
    hardware_compatible: bool = False
    """Whether it runs on any GPU of Ampere or later, too."""
    version_compatible: bool = False
    """Whether later versions of TensorRT run it, too."""
    compiled_by: Literal["python", "trtexec"] = "python"
    shapes: dict[str, Shapes] = Field(default_factory=dict)
    """By input."""
    difference: dict[str, float] = Field(default_factory=dict)
    """By output of the step: the largest difference from ONNX Runtime, on that GPU's machine, for
    the recorded questions."""


def architecture(compute_capability: str) -> str:
    """Return a compute capability as compilers write it: ``sm_90`` of ``9.0``."""
    return "sm_" + compute_capability.replace(".", "")


def plan_file(compute_capability: str, tensorrt: str) -> str:
    """Return the name of a plan's file: which GPU and which TensorRT can run it.

    Args:
        compute_capability: Such as ``9.0``.
        tensorrt: Such as ``10.13.3.9``.
    """
    return f"{architecture(compute_capability)}-trt{tensorrt}.plan"


def config_file(model: str, profile: str) -> str:
    """Return the path below ``models/`` of what a profile says of a Triton model."""
    return f"{model}/configs/{profile}.pbtxt"
