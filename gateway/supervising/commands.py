"""Which command runs a worker."""

from __future__ import annotations

import sys

from gateway.settings import Settings
from gateway.starting import StartFailed
from gateway.transport.envoy_process import EnvoyMissing, check_envoy


def worker_command(settings: Settings) -> list[str]:
    """Return the program of a worker and its arguments; see :mod:`gateway.worker`.

    Raises:
        StartFailed: If the transport that was asked for cannot run here.
    """
    # -P: a folder "gateway" where this was started is not ours.
    return [sys.executable, "-P", "-m", f"gateway.{_transport(settings)}_worker"]


def _transport(settings: Settings) -> str:
    if settings.transport != "grpc":
        try:
            check_envoy()
        except EnvoyMissing as error:
            if settings.transport == "envoy":
                raise StartFailed(f"--transport envoy: {error}") from error
            return "grpc"
        return "envoy"
    return "grpc"
