"""Serves a fused model with KServe's Python server: ``serve.py MODEL PORT OUTPUTS``.

Over gRPC, with ``predict`` as a coroutine, so that no thread pool stands between. KServe batches
in a sidecar of its agent only (kserve.github.io/website/docs/model-serving/predictive-inference/
batcher), not in this server. ``workers`` are of the HTTP server: its gRPC server is one process.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer
from kserve.logging import KSERVE_LOG_CONFIG
from kserve.utils.numpy_codec import from_np_dtype

sys.path.insert(0, str(Path(__file__).parents[1]))
from fused_model import FusedModel, raw, text


class ServedModel(Model):
    """The model behind KServe."""

    def __init__(self, path: str, outputs: str) -> None:
        super().__init__("model")
        self._model = FusedModel(path, outputs.split(","))
        self.ready = True

    async def predict(
        self, payload: InferRequest, headers: Any = None, response_headers: Any = None
    ) -> InferResponse:
        """Run one request."""
        inputs = {one.name: text(one.as_numpy()) for one in payload.inputs}
        outputs = []
        for name, array in self._model.run(inputs).items():
            array = raw(array)
            output = InferOutput(name, list(array.shape), from_np_dtype(array.dtype))
            output.set_data_from_numpy(array, binary_data=True)
            outputs.append(output)
        return InferResponse(payload.id, self.name, outputs, use_binary_outputs=True)


def main() -> None:
    """Serve until the end of the process."""
    path, port, outputs = sys.argv[1:]
    KSERVE_LOG_CONFIG["loggers"]["kserve"]["level"] = "WARNING"  # else a line for every call
    server = ModelServer(
        http_port=0, grpc_port=int(port), workers=1, event_loop="uvloop",
        enable_latency_logging=False,
    )  # fmt: skip
    server.start([ServedModel(path, outputs)])


if __name__ == "__main__":
    main()
