"""What this machine can do, and which variants fit it."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path

import onnxruntime as ort

from model_builder.variants.kinds import Variant

_WHOLE_NUMBERS = frozenset({"avx512_vnni", "avx_vnni", "amx_int8", "asimddp"})
"""Flags of processors that multiply 8-bit numbers faster than floats."""
_TOLD = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8", "asimddp")
_ON_GPUS = frozenset({"CUDAExecutionProvider", "TensorrtExecutionProvider"})
GPU_VARIANTS = ("tensorrt-fp32", "tensorrt-fp16", "tensorrt-bf16", "tensorrt-int8", "tensorrt-fp8")


@dataclass(frozen=True)
class Machine:
    """The machine that measures."""

    processor: str
    flags: tuple[str, ...]
    """Those of its processor that matter; none where the system does not tell."""
    cores: int
    gpu: bool
    """Whether ONNX Runtime sees one."""

    def unfit(self, variant: Variant) -> str | None:
        """Return why a variant does not fit, if it does not."""
        if variant.whole_numbers and self.flags and not _WHOLE_NUMBERS.intersection(self.flags):
            return "the processor has no fast 8-bit products (VNNI, AMX or dot product)"
        return None

    def not_tried(self) -> dict[str, str]:
        """Return the variants that are made elsewhere, and why."""
        why = "there is no GPU on this machine" if not self.gpu else "they are compiled"
        return dict.fromkeys(GPU_VARIANTS, f"{why}; `model-builder compile` makes it")


def this_machine(cpuinfo: Path = Path("/proc/cpuinfo")) -> Machine:
    """Look at this machine."""
    name, flags = platform.processor() or platform.machine(), set()
    try:
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                name = value.strip()
            elif key.strip() in ("flags", "Features"):
                flags |= set(value.split())
    except OSError:
        pass
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    gpu = bool(_ON_GPUS.intersection(ort.get_available_providers()))
    return Machine(name, tuple(flag for flag in _TOLD if flag in flags), cores, gpu)
