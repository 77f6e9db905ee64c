"""Which command runs a worker."""

from __future__ import annotations

import sys

from gateway.settings import Settings


def worker_command(settings: Settings) -> list[str]:
    """Return the program of a worker and its arguments; see :mod:`gateway.worker`."""
    # -P: a folder "gateway" where this was started is not ours.
    return [sys.executable, "-P", "-m", "gateway.grpc_worker"]
