"""How many requests a Triton has answered, by its own count."""

from __future__ import annotations

from tritonclient.grpc import InferenceServerClient


class TritonRequests:
    """Counts the requests that reached a Triton, of steps of an ensemble too.

    Args:
        target: Its gRPC address.
    """

    def __init__(self, target: str) -> None:
        self._client = InferenceServerClient(target)

    def count(self) -> int:
        """Return how many it has answered since it started."""
        found = self._client.get_inference_statistics().model_stats
        return sum(model.inference_stats.success.count for model in found)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()
