"""What is asked of a release, and the tensors of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from model_builder.recsys.context import Context, Value

Tensors = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Request:
    """What one client asks."""

    history: Sequence[str] = ()
    candidates: Sequence[str] = ()
    excluded: Sequence[str] = ()
    history_allowed: bool = False
    item_count: int = 10
    context: Mapping[str, Value] = field(default_factory=dict)
    times: Sequence[int] = ()
    """When each item of the history was had, in seconds since 1970; 0 is not known. Or none."""
    asked_at: int = 0
    """Of the request itself, likewise."""


def request_tensors(
    requests: Sequence[Request], context: Context | None = None, *, time_gaps: bool = False
) -> Tensors:
    """Return the inputs of a release, padded on the right with ``''`` to the longest.

    Args:
        requests: What is asked.
        context: What is read of a request's context; ``None``: nothing.
        time_gaps: Whether times are read.
    """
    described = {} if context is None else context.tensors([r.context for r in requests])
    return {
        **described,
        **(time_tensors(requests) if time_gaps else {}),
        "history_item_ids": padded([request.history for request in requests]),
        "candidate_item_ids": padded([request.candidates for request in requests]),
        "excluded_item_ids": padded([request.excluded for request in requests]),
        "history_allowed": np.array([[request.history_allowed] for request in requests]),
        "item_count": np.array([[request.item_count] for request in requests], np.int32),
    }


def time_tensors(requests: Sequence[Request]) -> Tensors:
    """Return ``history_times`` ``(B, T)`` and ``request_time`` ``(B, 1)``, both int64."""
    width = max(1, *(len(request.history) for request in requests))
    times = np.zeros((len(requests), width), np.int64)
    for row, request in enumerate(requests):
        times[row, : len(request.times)] = request.times
    asked_at = np.array([[request.asked_at] for request in requests], np.int64)
    return {"history_times": times, "request_time": asked_at}


def padded(lists: Sequence[Sequence[str]]) -> npt.NDArray[np.object_]:
    """Return ``(B, longest or 1)`` object of ``str``."""
    tensor = np.full((len(lists), max(1, *map(len, lists))), "", np.object_)
    for row, ids in enumerate(lists):
        tensor[row, : len(ids)] = ids
    return tensor
