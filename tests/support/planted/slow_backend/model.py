"""The embedded backend, with a step that takes ten milliseconds longer where a call asks for it."""

from __future__ import annotations

import time
from typing import Any

from triton_models.backends.onnxruntime.model import TritonPythonModel as Backend

DELAY_S = 0.01
ASKING = 7.0


class TritonPythonModel(Backend):
    """Sleeps before it runs the step `work`, the only one with this input."""

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer requests."""
        inputs = (tensor for request in requests for tensor in request.inputs())
        numbers = [one.as_numpy() for one in inputs if one.name() == "numbers"]
        if any((rows[:, 1] == ASKING).any() for rows in numbers):
            time.sleep(DELAY_S)
        return super().execute(requests)
