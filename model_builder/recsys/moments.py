"""When the interactions of a log were, and when the questions of it are taken to be asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from model_builder.errors import DataFault, Fault
from model_builder.recsys.ordering import Interactions
from model_builder.recsys.sequences import Sequences
from model_builder.recsys.splits import Questions
from model_builder.recsys.time_gaps import Seconds, numbered
from triton_models.limits import MOMENTS_END_S


def moments_of(interactions: Interactions) -> Seconds:
    """Return ``(n,)``: when each interaction was, 0 where it is not known."""
    if interactions.times is None:
        return np.zeros(len(interactions.sequences.items), np.int64)
    times = interactions.times
    return np.where((times > 0) & (times < MOMENTS_END_S), times, 0).astype(np.int64)


def with_gaps(interactions: Interactions, file: str) -> Interactions:
    """Return the same interactions; their sequences know the gap after each item.

    Args:
        interactions: A whole log.
        file: Its name.

    Raises:
        DataFault: If the log has no times.
    """
    if interactions.times is None:
        expected = "times, to tell the gaps between items by (time_gaps=true)"
        raise DataFault([Fault(file, expected, "an order alone")])
    moments, runs = moments_of(interactions), interactions.sequences
    gaps = np.append(numbered(moments[:-1], moments[1:]), np.uint8(0))
    gaps[runs.ends[runs.lengths > 0] - 1] = 0  # what another user had next is no gap
    return replace(interactions, sequences=Sequences(runs.items, runs.begins, runs.ends, gaps))


def asked_moments(
    interactions: Interactions, questions: Questions
) -> Iterator[tuple[Sequence[int], int]]:
    """Give, of each question, when each item of the history was had, and when the target was.

    The moment of a request is taken to be that of what was had next.
    """
    histories = Sequences.of(questions.histories)
    if histories.gaps is None or questions.places is None:
        yield from [((), 0)] * len(questions)
        return
    moments = moments_of(interactions)
    for begin, end, place in zip(histories.begins, histories.ends, questions.places, strict=True):
        yield moments[begin:end].tolist(), int(moments[place])
