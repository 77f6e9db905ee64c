"""What a release must answer, worked out apart from it: a dictionary, torch's logits, numpy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from model_builder.recsys.transformer import NextItemNetwork
from triton_models.signatures import BECAUSE_ITEMS, MAX_BATCH_ROWS

Tensors = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Request:
    """What one client asks."""

    history: Sequence[str] = ()
    candidates: Sequence[str] = ()
    excluded: Sequence[str] = ()
    history_allowed: bool = False
    item_count: int = 10


def request_tensors(requests: Sequence[Request]) -> Tensors:
    """Return the inputs of the line, padded on the right with ``''`` to the longest."""
    return {
        "history_item_ids": padded([request.history for request in requests]),
        "candidate_item_ids": padded([request.candidates for request in requests]),
        "excluded_item_ids": padded([request.excluded for request in requests]),
        "history_allowed": np.array([[request.history_allowed] for request in requests]),
        "item_count": np.array([[request.item_count] for request in requests], np.int32),
    }


def padded(lists: Sequence[Sequence[str]]) -> npt.NDArray[np.object_]:
    """Return ``(B, longest or 1)`` object of ``str``."""
    tensor = np.full((len(lists), max(1, *map(len, lists))), "", np.object_)
    for row, ids in enumerate(lists):
        tensor[row, : len(ids)] = ids
    return tensor


class Reference:
    """Answers like a release, one row after the other and with no ONNX."""

    def __init__(self, network: NextItemNetwork, item_ids: Sequence[str]) -> None:
        self._network = network.eval()
        self._item_ids = item_ids
        self._numbers = {item_id: number for number, item_id in enumerate(item_ids, 1)}
        vectors = network.items.weight.detach().numpy()
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        self._directions = vectors / np.maximum(lengths, 1e-12)

    def answer(self, requests: Sequence[Request]) -> Tensors:
        """Return the outputs of the line for these requests, in one batch."""
        tensors = request_tensors(requests)
        width = max(request.item_count for request in requests)
        shape = (len(requests), width)
        answer: Tensors = {
            "item_ids": np.full(shape, "", np.object_),
            "scores": np.zeros(shape, np.float32),
            "because_positions": np.full((*shape, BECAUSE_ITEMS), -1, np.int32),
        }
        for kind in ("history", "candidate", "excluded"):
            answer[f"{kind}_known"] = np.vectorize(self._is_known, otypes=[np.bool_])(
                tensors[f"{kind}_item_ids"]
            )
        probabilities = self.probabilities(requests)
        for row, request in enumerate(requests):
            best = np.argsort(-probabilities[row], kind="stable")[: request.item_count]
            best = best[probabilities[row, best] > 0]
            count = len(best)
            answer["item_ids"][row, :count] = [self._item_ids[item - 1] for item in best]
            answer["scores"][row, :count] = probabilities[row, best]
            for rank, item in enumerate(best):
                positions = self.because(request, int(item))
                answer["because_positions"][row, rank, : len(positions)] = positions
        return answer

    def probabilities(self, requests: Sequence[Request]) -> npt.NDArray[np.float64]:
        """Return ``(B, V + 1)``: of each item, 0 for those that may not be recommended."""
        histories = [self._newest(request)[0] for request in requests]
        logits = next_item_logits(self._network, histories).astype(np.float64)
        for row, request in enumerate(requests):
            allowed = self._allowed(request)
            if not allowed.any():
                logits[row] = 0
                continue
            likely = np.exp(logits[row] - logits[row, allowed].max()) * allowed
            logits[row] = likely / likely.sum()
        return logits

    def similarity(self, request: Request, item: int) -> dict[int, float]:
        """Return the cosine of ``item`` to each item of the history, by its newest position."""
        items, positions = self._newest(request)
        newest = dict(zip(items, positions, strict=True))
        return {
            position: float(self._directions[item] @ self._directions[past])
            for past, position in newest.items()
        }

    def because(self, request: Request, item: int) -> list[int]:
        """Return the positions of the most similar items of the history."""
        similar = self.similarity(request, item)
        found = sorted(similar, key=lambda position: -similar[position])
        return [position for position in found[:BECAUSE_ITEMS] if similar[position] > 0]

    def number(self, item_id: str) -> int:
        """Return the item's number, 0 for none."""
        return self._numbers.get(item_id, 0)

    def _is_known(self, item_id: str) -> bool:
        return not item_id or item_id in self._numbers

    def _newest(self, request: Request) -> tuple[list[int], list[int]]:
        """Return the newest known items and where they stand in the history as sent."""
        known = [
            (self._numbers[item_id], position)
            for position, item_id in enumerate(request.history)
            if item_id in self._numbers
        ][-self._network.history_length :]
        return [item for item, _ in known], [position for _, position in known]

    def _allowed(self, request: Request) -> npt.NDArray[np.bool_]:
        allowed = np.ones(len(self._item_ids) + 1, np.bool_)
        if any(request.candidates):
            allowed[:] = False
            allowed[[self.number(item_id) for item_id in request.candidates]] = True
        allowed[[self.number(item_id) for item_id in request.excluded]] = False
        if not request.history_allowed:
            allowed[[self.number(item_id) for item_id in request.history]] = False
        allowed[0] = False
        return allowed


def next_item_logits(
    network: NextItemNetwork, histories: Sequence[Sequence[int] | npt.NDArray[np.int64]]
) -> npt.NDArray[np.float32]:
    """Return ``(rows, V + 1)`` float32: torch's logits after each of these histories of items."""
    length = network.history_length
    inputs = np.zeros((len(histories), length), np.int64)
    for row, items in enumerate(histories):
        newest = items[-length:]
        inputs[row, length - len(newest) :] = newest
    with torch.no_grad():
        parts = [network(part) for part in torch.from_numpy(inputs).split(MAX_BATCH_ROWS)]
    return torch.cat(parts).numpy()
