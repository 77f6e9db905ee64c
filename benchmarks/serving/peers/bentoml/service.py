"""The service that ``serve.py`` has BentoML serve."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import bentoml

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from fused_model import MAX_BATCH_ROWS, FusedModel, plain


@bentoml.service(
    workers=2,
    traffic={"timeout": 30, "max_concurrency": 1000},
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
)
class ServedModel:
    """The model behind BentoML."""

    def __init__(self) -> None:
        outputs = os.environ["MODEL_OUTPUTS"].split(",")
        self._model = FusedModel(os.environ["MODEL_PATH"], outputs)

    @bentoml.api(
        route="/predict", batchable=True, max_batch_size=MAX_BATCH_ROWS, max_latency_ms=10_000
    )
    def predict(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Run a batch."""
        outputs = self._model.run_rows([self._model.parse(row) for row in rows])
        return [plain(one) for one in outputs]
