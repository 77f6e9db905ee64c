"""Serves a fused model with MLServer: ``serve.py MODEL PORT OUTPUTS``.

Over gRPC, with adaptive batching (docs.seldon.ai/mlserver/user-guide/adaptive-batching:
``max_batch_size`` and ``max_batch_time``), and without its pool of processes
(``parallel_workers: 0``, docs.seldon.ai/mlserver/user-guide/parallel-inference): every request
would be pickled to one, which costs more than such a model takes. Its metrics, which take their
share of every call, are off.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from fused_model import MAX_BATCH_ROWS  # noqa: E402 - its folder had to be known first

BATCH_TIME_S = 0.001


def main() -> None:
    """Write the settings and become ``mlserver start``."""
    path, port, outputs = sys.argv[1:]
    folder = Path(tempfile.mkdtemp(prefix="mlserver-"))
    settings = {
        "debug": False,
        "parallel_workers": 0,
        "host": "127.0.0.1",
        "grpc_port": int(port),
        "http_port": free_port(),
        "metrics_endpoint": None,
        "gzip_enabled": False,
    }
    model = {
        "name": "model",
        "implementation": "runtime.ServedModel",
        "max_batch_size": MAX_BATCH_ROWS,
        "max_batch_time": BATCH_TIME_S,
        "parameters": {"uri": path, "outputs": outputs},
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    (folder / "model-settings.json").write_text(json.dumps(model))
    mlserver = Path(sys.executable).with_name("mlserver")
    environment = os.environ | {"PYTHONPATH": f"{HERE}:{HERE.parent}"}
    os.chdir(folder)
    os.execve(mlserver, [str(mlserver), "start", str(folder)], environment)


def free_port() -> int:
    """Return a port for its HTTP server, which cannot be turned off."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
