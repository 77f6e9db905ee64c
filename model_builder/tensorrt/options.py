"""What is asked of a plan."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from model_builder.export.shapes import BATCH_RANGE, Range
from triton_models.plans import Precision

WORKSPACE_MIB = 4096


@dataclass(frozen=True)
class CompileOptions:
    """As of ``model-builder compile``."""

    precision: Precision = "fp32"
    batch: Range = BATCH_RANGE
    """Rows: least, tuned for, most."""
    hardware_compatible: bool = False
    version_compatible: bool = False
    workspace_mib: int = WORKSPACE_MIB
    """Memory that TensorRT may try out kernels with."""
    timing_cache: Path | None = None
    """A file that is read, if there is one, and written."""
    calibration: Path | None = None
    """Inputs of the release, of the training split, as NPZ: what INT8 and FP8 are scaled by."""
    tolerance: float | None = None
    """How far a plan may be from its network; by default as the precision is."""
