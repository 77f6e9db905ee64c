"""What this machine has: which GPU, and what compiles for it."""

from __future__ import annotations

import importlib
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from model_builder.tensorrt.errors import ToolMissing
from triton_models.plan_check import RunsOn
from triton_models.plans import TENSORRT

_TIMEOUT_S = 30
_IN_IMAGES = "/usr/src/tensorrt/bin/trtexec"


@dataclass(frozen=True)
class Gpu:
    """A GPU."""

    compute_capability: str
    """Such as ``9.0``."""
    name: str


def first_gpu() -> Gpu | None:
    """Return this machine's first GPU, as its driver says; ``None`` if there is none."""
    command = ["nvidia-smi", "--query-gpu=compute_cap,name", "--format=csv,noheader"]
    try:
        done = subprocess.run(
            command, capture_output=True, check=True, text=True, timeout=_TIMEOUT_S
        )
    except (OSError, subprocess.SubprocessError):
        return None
    capability, _, name = done.stdout.partition("\n")[0].partition(",")
    return Gpu(capability.strip(), name.strip()) if capability.strip() else None


def python_tensorrt(load: Callable[[str], ModuleType] = importlib.import_module) -> Any | None:
    """Return the module ``tensorrt``, if it is installed and its libraries load."""
    try:
        return load("tensorrt")
    except (ImportError, OSError):
        return None


def trtexec_path() -> str | None:
    """Return NVIDIA's command that compiles: on the PATH, or where NVIDIA's images have it."""
    return shutil.which("trtexec") or shutil.which(_IN_IMAGES)


def sees_gpu() -> bool:
    """Return whether torch can compute on a GPU, with which plans are tried out."""
    import torch

    return torch.cuda.is_available()


def this_machine(profile: str = TENSORRT) -> RunsOn:
    """Return what plans must fit that are run here, as far as it can be told."""
    gpu = first_gpu()
    module = python_tensorrt()
    return RunsOn(
        profile=profile,
        compute_capability=gpu.compute_capability if gpu is not None else None,
        tensorrt=str(module.__version__) if module is not None else None,
    )


def gpu_or_refusal() -> Gpu:
    """Return the GPU that a plan would be for.

    Raises:
        ToolMissing: If there is none.
    """
    gpu = first_gpu()
    if gpu is None:
        raise ToolMissing(
            "there is no GPU here (nvidia-smi shows none)",
            "a plan is compiled on the GPU that will run it",
        )
    return gpu
