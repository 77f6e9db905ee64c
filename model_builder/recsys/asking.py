"""Asks an earlier release what it would have answered, as it is served."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model_builder.errors import CannotGoOn
from model_builder.export.running import OnnxModel
from model_builder.recsys.context import Value, context_rows, context_tensors
from model_builder.recsys.data import Interactions, Questions
from model_builder.recsys.evaluation import Ranks, listed_ranks, measure_listed
from model_builder.recsys.moments import asked_moments
from model_builder.recsys.request_tensors import Request, Tensors, request_tensors
from model_builder.task import Metrics
from triton_models.release import FeatureSpec
from triton_models.signatures import MAX_BATCH_ROWS, MAX_ITEMS


class EarlierRelease:
    """The fused model of a release, run by ONNX Runtime."""

    def __init__(self, name: str, fused: Path, features: Sequence[FeatureSpec] = ()) -> None:
        """Load it.

        Args:
            name: ``LINE/RELEASE``.
            fused: Its file.
            features: What it reads of a request's context.

        Raises:
            CannotGoOn: If it takes anything that a request does not have.
        """
        self._model = OnnxModel(fused, ["item_ids"])
        self._features = features
        if unknown := sorted(set(self._model.inputs) - self._tensors([Request()]).keys()):
            raise CannotGoOn(name, f"it also takes {', '.join(unknown)}")

    def ranks(self, interactions: Interactions, questions: Questions) -> Ranks:
        """Return the ranks of the targets in its lists of ``MAX_ITEMS``.

        A target that is not in the list stands behind the whole catalogue: so does every item
        that the release does not know. Of the context it is told what the newer log's columns
        hold; what they lack is missing.
        """
        last = len(interactions.item_ids)
        contexts = _contexts(interactions, questions)
        moments = list(asked_moments(interactions, questions))
        found: list[int] = []
        for start in range(0, len(questions), MAX_BATCH_ROWS):
            rows = slice(start, start + MAX_BATCH_ROWS)
            requests = [
                Request(interactions.ids(items), item_count=MAX_ITEMS, context=context,
                        times=times, asked_at=asked_at)
                for items, context, (times, asked_at) in zip(
                    questions.histories[rows], contexts[rows], moments[rows], strict=True
                )
            ]  # fmt: skip
            targets = interactions.ids(questions.targets[rows])
            found += listed_ranks(self._lists(requests), targets, last).tolist()
        return np.array(found, np.int64)

    def metrics(self, interactions: Interactions, questions: Questions, seed: int) -> Metrics:
        """Return the measures that a list of ``MAX_ITEMS`` can tell."""
        return measure_listed(self.ranks(interactions, questions), seed)

    def _lists(self, requests: Sequence[Request]) -> npt.NDArray[np.object_]:
        """Return ``(rows, MAX_ITEMS)``: IDs, best first."""
        tensors = self._tensors(requests)
        return self._model.run({name: tensors[name] for name in self._model.inputs})["item_ids"]

    def _tensors(self, requests: Sequence[Request]) -> Tensors:
        context = context_tensors(self._features, [request.context for request in requests])
        return request_tensors(requests, time_gaps=True) | context


def _contexts(interactions: Interactions, questions: Questions) -> Sequence[Mapping[str, Value]]:
    if interactions.columns and questions.places is not None:
        return context_rows(interactions.columns, questions.places)
    return [{}] * len(questions)
