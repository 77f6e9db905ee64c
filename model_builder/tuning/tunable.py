"""What a task gives so that it can be tuned.

A task that can be tuned has, beside its module ``task``, a module ``tuning`` with a ``TUNING`` of
this Protocol, and its search space as data in ``search_space.yaml``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from model_builder.progress import Progress
from model_builder.task import ResolvedData

Watch = Callable[[int, float], None]
"""Takes the number of an epoch, from 0, and its validation, higher is better."""

Objective = Callable[[Any, Watch], float]
"""Trains with a task's config and returns the metric, higher is better."""


class Tuning(Protocol):
    """How trials of a task are made and measured."""

    metric: str
    """As in the manifest, such as ``auc``."""
    measured: frozenset[str]
    """Keys of the config that say how a trial is measured: all trials must have them alike."""

    def prepare(self, data: ResolvedData, config: Any, progress: Progress) -> Objective:
        """Read the data once, and put its test split out of reach.

        Raises:
            DataFault: If the data cannot be used.
        """
        ...
