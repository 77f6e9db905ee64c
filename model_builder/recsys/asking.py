"""Asks an earlier release what it would have answered, as it is served."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime as ort

from model_builder.errors import CannotGoOn
from model_builder.recsys.data import Interactions, Questions
from model_builder.recsys.evaluation import Ranks, measure
from model_builder.recsys.reference import Request, request_tensors
from model_builder.task import Metrics
from triton_models.signatures import MAX_BATCH_ROWS, MAX_ITEMS


class EarlierRelease:
    """The fused model of a release, run by ONNX Runtime."""

    def __init__(self, name: str, fused: Path) -> None:
        """Load it.

        Raises:
            CannotGoOn: If it takes anything that a request does not have.
        """
        options = ort.SessionOptions()
        options.log_severity_level = 3
        self._session = ort.InferenceSession(
            str(fused), options, providers=["CPUExecutionProvider"]
        )
        self._inputs = [each.name for each in self._session.get_inputs()]
        unknown = sorted(set(self._inputs) - request_tensors([Request()]).keys())
        if unknown:
            raise CannotGoOn(name, f"it also takes {', '.join(unknown)}")

    def ranks(self, interactions: Interactions, questions: Questions) -> Ranks:
        """Return the ranks of the targets in its lists of ``MAX_ITEMS``.

        A target that is not in the list stands behind the whole catalogue: so does every item
        that the release does not know.
        """
        last = len(interactions.item_ids)
        found: list[int] = []
        for start in range(0, len(questions), MAX_BATCH_ROWS):
            rows = slice(start, start + MAX_BATCH_ROWS)
            histories = [interactions.ids(items) for items in questions.histories[rows]]
            targets = interactions.ids(questions.targets[rows])
            for listed, target in zip(self._lists(histories), targets, strict=True):
                place = np.flatnonzero(listed == target)
                found.append(int(place[0]) + 1 if len(place) else last)
        return np.array(found, np.int64)

    def metrics(self, interactions: Interactions, questions: Questions, seed: int) -> Metrics:
        """Return the measures that a list of ``MAX_ITEMS`` can tell."""
        told = measure(self.ranks(interactions, questions), seed)
        return {name: metric for name, metric in told.items() if "@" in name}

    def _lists(self, histories: Sequence[Sequence[str]]) -> np.ndarray:
        requests = [Request(history, item_count=MAX_ITEMS) for history in histories]
        tensors = request_tensors(requests)
        asked = {name: tensors[name] for name in self._inputs}
        return self._session.run(["item_ids"], asked)[0]
