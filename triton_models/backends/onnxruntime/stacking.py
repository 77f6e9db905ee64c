"""Requests that arrive together, run as one where their tensors can be laid on each other."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from triton_models.row_blocks import Array

Run = Callable[[tuple[str, ...], Mapping[str, Array]], list[Array]]


@dataclass(frozen=True)
class Asked:
    """What one request gives and wants; every tensor has the rows first."""

    names: tuple[str, ...]
    feeds: Mapping[str, Array]

    @property
    def rows(self) -> int:
        """The size of the batch axis."""
        return len(next(iter(self.feeds.values())))

    @property
    def kind(self) -> Hashable:
        """What two requests must have in common to be run as one: all but the rows."""
        tensors = [(name, a.dtype.str, a.shape[1:]) for name, a in sorted(self.feeds.items())]
        return self.names, tuple(tensors)


def run_all(run: Run, asked: Sequence[Asked]) -> list[list[Array] | Exception]:
    """Return the outputs of each request, or why it has none.

    Requests of one kind are one run. If that fails, each is run by itself, so that an error in
    one harms no other.
    """
    answers: list[list[Array] | Exception] = [[] for _ in asked]
    groups: dict[Hashable, list[int]] = {}
    for place, one in enumerate(asked):
        groups.setdefault(one.kind if len(asked) > 1 else None, []).append(place)
    for places in groups.values():
        members = [asked[place] for place in places]
        for place, answer in zip(places, _run_group(run, members), strict=True):
            answers[place] = answer
    return answers


def _run_group(run: Run, members: Sequence[Asked]) -> Sequence[list[Array] | Exception]:
    if len(members) > 1:
        try:
            return _run_stacked(run, members)
        except Exception:  # each is told its own
            pass
    return [_run_one(run, one) for one in members]


def _run_one(run: Run, one: Asked) -> list[Array] | Exception:
    try:
        return run(one.names, one.feeds)
    except Exception as error:  # ORT's errors share no class; Triton needs all as a response
        return error


def _run_stacked(run: Run, members: Sequence[Asked]) -> list[list[Array]]:
    """Run requests of one kind as one; the answers are views of the one answer's rows."""
    first = members[0]
    feeds = {name: np.concatenate([one.feeds[name] for one in members]) for name in first.feeds}
    values = run(first.names, feeds)
    ends = np.cumsum([one.rows for one in members]).tolist()
    for name, value in zip(first.names, values, strict=True):
        if not value.ndim or len(value) != ends[-1]:
            raise ValueError(f"output {name} has the shape {value.shape} for {ends[-1]} rows")
    return [
        [value[end - one.rows : end] for value in values]
        for one, end in zip(members, ends, strict=True)
    ]
