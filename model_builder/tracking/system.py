"""How loaded the machine is."""

from __future__ import annotations

import psutil

SYSTEM = ("cpu_percent", "memory_mb", "gpu_memory_mb")
_MB = 1e6


def system_values() -> dict[str, float]:
    """Return this process's load.

    ``cpu_percent`` since the last call, 100 a core; ``memory_mb`` resident; ``gpu_memory_mb`` at
    its highest, where there is a GPU.
    """
    import torch

    process = _PROCESS
    values = {
        "cpu_percent": process.cpu_percent(),
        "memory_mb": process.memory_info().rss / _MB,
    }
    if torch.cuda.is_available():
        values["gpu_memory_mb"] = torch.cuda.max_memory_allocated() / _MB
    return values


_PROCESS = psutil.Process()
