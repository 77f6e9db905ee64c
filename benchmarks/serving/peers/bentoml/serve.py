"""Serves a fused model with BentoML: ``serve.py MODEL PORT OUTPUTS``.

BentoML's services of today speak HTTP (its ``serve-grpc`` takes those of the old kind only).
Batching is adaptive (docs.bentoml.com/en/latest/get-started/adaptive-batching.html):
``batchable=True`` with ``max_batch_size`` and ``max_latency_ms``, which is what a call may take
in all before it is refused, so it is generous. One worker a core, as
docs.bentoml.com/en/latest/build-with-bentoml/parallelize-requests.html has it for the CPU.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve()


def main() -> None:
    """Become ``bentoml serve``."""
    path, port, outputs = sys.argv[1:]
    environment = os.environ | {
        "MODEL_PATH": path,
        "MODEL_OUTPUTS": outputs,
        "BENTOML_DO_NOT_TRACK": "True",
    }
    bentoml = Path(sys.executable).with_name("bentoml")
    os.execve(
        bentoml,
        [str(bentoml), "serve", "service:ServedModel", "--working-dir", str(HERE.parent),
         "--host", "127.0.0.1", "--port", port, "--quiet"],
        environment,
    )  # fmt: skip


if __name__ == "__main__":
    main()
