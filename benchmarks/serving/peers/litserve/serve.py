"""Serves a fused model with LitServe: ``serve.py MODEL PORT OUTPUTS``.

LitServe speaks HTTP. Its guide to speed (lightning.ai/docs/litserve/speed-up-serving-by-200x)
batches (``max_batch_size``, ``batch_timeout``) and adds workers; ``fast_queue`` moves requests
over ZeroMQ (api-reference/litserver). One API server and one worker fill two cores.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import litserve

sys.path.insert(0, str(Path(__file__).parents[1]))
from fused_model import MAX_BATCH_ROWS, FusedModel, plain

BATCH_TIMEOUT_S = 0.001


class ServedModel(litserve.LitAPI):
    """The model behind LitServe."""

    def __init__(self, path: str, outputs: str, **options: Any) -> None:
        super().__init__(**options)
        self._path, self._outputs = path, outputs.split(",")

    def setup(self, device: str) -> None:
        """Load the model in the worker."""
        self._model = FusedModel(self._path, self._outputs)

    def decode_request(self, request):  # type: ignore[no-untyped-def] # LitServe reads hints
        """Parse a body."""
        return self._model.parse(request)

    def batch(self, inputs: Any) -> Any:
        """Leave the rows as they are: the model stacks them."""
        return inputs

    def predict(self, x: Any) -> Any:
        """Run a batch."""
        return self._model.run_rows(x)

    def unbatch(self, output: Any) -> Any:
        """Leave the rows as they are."""
        return output

    def encode_response(self, output: Any) -> Any:
        """Return what becomes JSON."""
        return plain(output)


def main() -> None:
    """Serve until the end of the process."""
    path, port, outputs = sys.argv[1:]
    api = ServedModel(path, outputs, max_batch_size=MAX_BATCH_ROWS, batch_timeout=BATCH_TIMEOUT_S)
    server = litserve.LitServer(
        api, accelerator="cpu", workers_per_device=1, fast_queue=True, disable_openapi_url=True
    )
    server.run(
        host="127.0.0.1", port=int(port), num_api_servers=1, generate_client_file=False,
        log_level="warning", access_log=False,
    )  # fmt: skip


if __name__ == "__main__":
    main()
