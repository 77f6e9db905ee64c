"""What a release must answer, worked out apart from it: a dictionary, torch, numpy.

Both stages in torch, and between them, in numpy, what may be recommended and the shortlist.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch

from model_builder.recsys.context import Context
from model_builder.recsys.item_table import FORBIDDEN
from model_builder.recsys.ranking import Ranker
from model_builder.recsys.request_tensors import Request, Tensors, request_tensors
from model_builder.recsys.time_gaps import GAPS
from model_builder.recsys.transformer import NextItemNetwork
from triton_models.signatures import BECAUSE_ITEMS, MAX_BATCH_ROWS


class Reference:
    """Answers like a release, with no ONNX.

    Args:
        network: The first stage.
        ranker: The second.
        item_ids: The catalogue.
        shortlist: Items that the ranker sees.
        context: What is read of a request's context; ``None``: nothing.
    """

    def __init__(
        self,
        network: NextItemNetwork,
        ranker: Ranker,
        item_ids: Sequence[str],
        shortlist: int,
        context: Context | None = None,
    ) -> None:
        self.context = context
        self._network = network.eval()
        self._ranker = ranker.eval()
        self._shortlist = min(shortlist, len(item_ids))
        self._item_ids = item_ids
        self._numbers = {item_id: number for number, item_id in enumerate(item_ids, 1)}
        with torch.no_grad():
            vectors = network.items(torch.arange(len(item_ids) + 1)).numpy()
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        self._directions = vectors / np.maximum(lengths, 1e-12)

    def answer(self, requests: Sequence[Request]) -> Tensors:
        """Return the outputs of the line for these requests, in one batch."""
        tensors = request_tensors(requests, self.context, time_gaps=self.time_gaps)
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
        if self.context is not None:
            answer["input_rules"] = self.context.prepare(tensors)[1]
        shortlists, probabilities = self._ranked(requests)
        for row, request in enumerate(requests):
            listed = shortlists[row]
            order = np.argsort(-probabilities[row, listed], kind="stable")
            best = listed[order[: request.item_count]]
            count = len(best)
            answer["item_ids"][row, :count] = [self._item_ids[item - 1] for item in best]
            answer["scores"][row, :count] = probabilities[row, best]
            for rank, item in enumerate(best):
                positions = self.because(request, int(item))
                answer["because_positions"][row, rank, : len(positions)] = positions
        return answer

    @property
    def item_count(self) -> int:
        """``V``."""
        return len(self._item_ids)

    @property
    def history_length(self) -> int:
        """``L``."""
        return self._network.history_length

    @property
    def time_gaps(self) -> bool:
        """Whether the network reads times."""
        return self._network.gaps is not None

    def probabilities(self, requests: Sequence[Request]) -> npt.NDArray[np.float64]:
        """Return ``(B, V + 1)``: of each item, 0 for those that may not be recommended.

        One that did not come onto the shortlist has what it would have had at its end.
        """
        if not requests:
            return np.empty((0, len(self._item_ids) + 1))
        return self._ranked(requests)[1]

    def _ranked(
        self, requests: Sequence[Request]
    ) -> tuple[list[npt.NDArray[np.int64]], npt.NDArray[np.float64]]:
        """Return each request's shortlist, best first by the first stage, and probabilities."""
        histories = [self._newest(request)[0] for request in requests]
        gaps = [self._gaps(request) for request in requests]
        logits = next_item_logits(self._network, histories, gaps)
        lists = []
        for row, request in enumerate(requests):
            logits[row, ~self._allowed(request)] = FORBIDDEN
            best = best_places(logits[row], self._shortlist)
            lists.append(best[logits[row, best] > FORBIDDEN / 2])
        found = logits.astype(np.float64)
        queries = self._queries(histories, gaps)
        for row, final in enumerate(self._second(requests, histories, queries, lists, logits)):
            found[row, lists[row]] = final[: len(lists[row])]
        allowed = found > FORBIDDEN / 2
        for row, listed in enumerate(lists):
            if len(listed):
                likely = np.exp(found[row] - found[row, listed].max()) * allowed[row]
                found[row] = likely / likely[listed].sum()
            else:
                found[row] = 0
        return lists, found

    def _second(
        self,
        requests: Sequence[Request],
        histories: Sequence[Sequence[int]],
        queries: torch.Tensor,
        lists: Sequence[npt.NDArray[np.int64]],
        logits: npt.NDArray[np.float32],
    ) -> npt.NDArray[np.float32]:
        """Return ``(B, N)``: the ranker's logits of the shortlists, in their order."""
        items = np.zeros((len(requests), self._shortlist), np.int64)
        scores = np.full(items.shape, FORBIDDEN, np.float32)
        for row, listed in enumerate(lists):
            items[row, : len(listed)] = listed
            scores[row, : len(listed)] = logits[row, listed]
        history = torch.from_numpy(padded_items(histories, self._network.history_length))
        given = [history, queries, torch.from_numpy(items), torch.from_numpy(scores)]
        if self.context is not None:
            tensors = self.context.tensors([request.context for request in requests])
            given.append(torch.from_numpy(self.context.prepare(tensors)[0]))
        with torch.no_grad():
            return np.asarray(self._ranker.logits(*given).numpy())

    def _queries(
        self, histories: Sequence[Sequence[int]], gaps: Sequence[Sequence[int]]
    ) -> torch.Tensor:
        """Return ``(B, D + 2)``, what the first stage makes of the histories."""
        history, between = _padded_both(self._network, histories, gaps)
        with torch.no_grad():
            state = self._network.states(history, between)[:, -1]
        empty = history[:, -1:] == 0
        state[empty[:, 0]] = 0
        return torch.cat([state, (~empty).float(), empty.float()], dim=1)

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

    def _gaps(self, request: Request) -> list[int]:
        """Return how long it was from each of the newest items to the next one, or the request."""
        _, positions = self._newest(request)
        if not request.times:
            return [0] * len(positions)
        moments = [*(request.times[position] for position in positions), request.asked_at]
        return [
            1 + min(max(after - before, 0).bit_length(), GAPS - 2) if before and after else 0
            for before, after in pairwise(moments)
        ]

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
    network: NextItemNetwork,
    histories: Sequence[Sequence[int] | npt.NDArray[np.int64]],
    gaps: Sequence[Sequence[int]] | None = None,
) -> npt.NDArray[np.float32]:
    """Return ``(rows, V + 1)`` float32: torch's logits after each of these histories of items.

    Args:
        network: Which.
        histories: Of items.
        gaps: As ``histories``: how long it was from each item to the next; ``None``: not known.
    """
    inputs, between = _padded_both(network, histories, gaps)
    with torch.no_grad():
        parts = [
            network(part, gaps=times)
            for part, times in zip(
                inputs.split(MAX_BATCH_ROWS), between.split(MAX_BATCH_ROWS), strict=True
            )
        ]
    return torch.cat(parts).numpy()


def _padded_both(
    network: NextItemNetwork,
    histories: Sequence[Sequence[int] | npt.NDArray[np.int64]],
    gaps: Sequence[Sequence[int]] | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ``(rows, L)`` int64 each: the newest items, and the gaps after them."""
    items = padded_items(histories, network.history_length)
    between = np.zeros_like(items) if gaps is None else padded_items(gaps, network.history_length)
    return torch.from_numpy(items), torch.from_numpy(between)


def best_places(values: npt.NDArray[np.floating], count: int) -> npt.NDArray[np.int64]:
    """Return the places of the ``count`` largest, best first; of equal ones the first.

    The same as sorting all, which takes many times as long for a large catalogue.

    Args:
        values: ``(n,)``.
        count: At least 1.
    """
    downwards = -values
    if count < len(values):
        last = np.partition(downwards, count - 1)[count - 1]
        better, alike = np.flatnonzero(downwards < last), np.flatnonzero(downwards == last)
        places = np.sort(np.concatenate([better, alike[: count - len(better)]]))
    else:
        places = np.arange(len(values))
    return places[np.argsort(downwards[places], kind="stable")]


def padded_items(
    histories: Sequence[Sequence[int] | npt.NDArray[np.int64]], length: int
) -> npt.NDArray[np.int64]:
    """Return ``(rows, length)``: the newest items of each history, 0 on the left."""
    inputs = np.zeros((len(histories), length), np.int64)
    for row, items in enumerate(histories):
        newest = items[-length:]
        inputs[row, length - len(newest) :] = newest
    return inputs
