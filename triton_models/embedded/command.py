"""The command line and the environment of the embedded Triton."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from triton_models.embedded.installation import Installation

HOST = "127.0.0.1"

# Variables of the gateway's own process that would change Triton or its stubs.
_DROPPED_PREFIXES = ("PYTHON", "OTEL_", "LD_PRELOAD")


@dataclass(frozen=True)
class Ports:
    """Where Triton listens, on 127.0.0.1."""

    grpc: int
    http: int
    metrics: int


@dataclass(frozen=True)
class Launch:
    """What one embedded Triton is started with, every time."""

    installation: Installation
    backends: Path
    models: Path
    ports: Ports
    shared_memory_prefix: str
    otlp_traces_url: str | None = None
    trace_all: bool = True
    exit_timeout_s: int = 8

    def arguments(self) -> list[str]:
        """Return the command line: nothing loaded, nothing listening but on 127.0.0.1."""
        return [
            str(self.installation.server),
            f"--model-repository={self.models}",
            "--model-control-mode=explicit",
            # Completing a configuration would start the stub of every model twice.
            "--disable-auto-complete-config",
            f"--backend-directory={self.backends}",
            f"--backend-config=python,shm-region-prefix-name={self.shared_memory_prefix}",
            f"--exit-timeout-secs={self.exit_timeout_s}",
            f"--grpc-address={HOST}",
            f"--grpc-port={self.ports.grpc}",
            "--reuse-grpc-port=true",
            f"--http-address={HOST}",
            f"--http-port={self.ports.http}",
            "--reuse-http-port=true",
            "--allow-metrics=true",
            "--allow-gpu-metrics=false",
            f"--metrics-address={HOST}",
            f"--metrics-port={self.ports.metrics}",
            *self._trace_arguments(),
        ]

    def environment(self, base: Mapping[str, str]) -> dict[str, str]:
        """Return ``base`` changed so that the stubs run in this virtual environment."""
        kept = {
            name: value for name, value in base.items() if not name.startswith(_DROPPED_PREFIXES)
        }
        libraries = [str(self.installation.libraries), str(self.backends / "lib")]
        if inherited := base.get("LD_LIBRARY_PATH"):
            libraries.append(inherited)
        return kept | {
            "LD_LIBRARY_PATH": ":".join(libraries),
            # The stubs ignore PYTHONPATH, but look for `python3` here, and beside it
            # for the virtual environment whose packages they then have.
            "PATH": f"{self.installation.python_folder}:{base.get('PATH', '')}",
            # numpy in a stub only holds arrays; one thread is enough for that.
            "OPENBLAS_NUM_THREADS": "1",
            "CUDA_VISIBLE_DEVICES": "",
            # Spans go to this machine, whatever proxy the user has.
            "no_proxy": HOST,
        }

    def _trace_arguments(self) -> list[str]:
        if self.otlp_traces_url is None:
            return []
        settings = [
            "mode=opentelemetry",
            "level=TIMESTAMPS",
            # With rate 0 Triton traces only requests that carry a `traceparent`, and the others
            # cost it nothing. But over gRPC it overlooks about a tenth of them (it reads the
            # header's value on to the next zero byte), and those have no span of Triton at all.
            # Where it traces all, the spans say `triton.request_id`, by which the lost are found.
            "rate=1" if self.trace_all else "rate=0",
            f"opentelemetry,url={self.otlp_traces_url}",
            "opentelemetry,resource=service.name=triton",
            "opentelemetry,bsp_schedule_delay=200",
        ]
        return [f"--trace-config={setting}" for setting in settings]
