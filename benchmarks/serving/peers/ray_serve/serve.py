"""Serves a fused model with Ray Serve: ``serve.py MODEL PORT OUTPUTS``.

Over gRPC (docs.ray.io/en/latest/serve/advanced-guides/grpc-guide.html) with the messages of the
Open Inference Protocol, batched (…/dyn-req-batch.html), tuned as …/performance.html says: user
code on the replica's own loop, no access log. One replica: a second would share two cores with
proxy, controller and raylet.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
os.environ |= {
    "PYTHONPATH": f"{HERE}:{HERE.parent}",  # of proxy and replica too
    "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0",
    "RAY_SERVE_RUN_ROUTER_IN_SEPARATE_LOOP": "0",
    "RAY_SERVE_LOG_TO_STDERR": "0",
    "RAY_SERVE_REQUEST_PATH_LOG_BUFFER_SIZE": "1000",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "disabled",  # it listens on 127.0.0.1 only, and no token shall be left
}

import ray  # noqa: E402 - reads the environment when it is imported
from fused_model import MAX_BATCH_ROWS, FusedModel  # noqa: E402
from open_inference import to_inputs, to_response  # noqa: E402
from ray import serve  # noqa: E402
from ray.serve.config import HTTPOptions, gRPCOptions  # noqa: E402

BATCH_WAIT_S = 0.001


@serve.deployment(
    num_replicas=1, max_ongoing_requests=256, logging_config={"enable_access_log": False}
)
class ServedModel:
    """The model behind Ray Serve."""

    def __init__(self, path: str, outputs: str) -> None:
        self._model = FusedModel(path, outputs.split(","))

    async def ModelInfer(self, request: Any) -> Any:  # noqa: N802 - named by the protocol
        """Answer one request."""
        return to_response(await self._run(to_inputs(request)))

    @serve.batch(max_batch_size=MAX_BATCH_ROWS, batch_wait_timeout_s=BATCH_WAIT_S)
    async def _run(self, rows: list[Any]) -> list[Any]:
        return self._model.run_rows(rows)


def main() -> None:
    """Serve until SIGTERM."""
    path, port, outputs = sys.argv[1:]
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    servicer = "tritonclient.grpc.service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server"
    serve.start(
        proxy_location="HeadOnly",
        http_options=HTTPOptions(host="127.0.0.1", port=free_port()),
        grpc_options=gRPCOptions(port=int(port), grpc_servicer_functions=[servicer]),
    )
    serve.run(ServedModel.bind(path, outputs), name="model", route_prefix="/")
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    stopped.wait()
    serve.shutdown()
    ray.shutdown()


def free_port() -> int:
    """Return a port for its HTTP proxy, without which there is no gRPC proxy."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
