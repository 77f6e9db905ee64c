"""The interactions of each user in order, and what of them is learnt from and what is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from model_builder.errors import DataFault, Fault
from model_builder.recsys.reading import read_log
from model_builder.split_hash import assignment_sha256
from model_builder.task import ResolvedData
from triton_models.release import DataSource

Items = npt.NDArray[np.int64]
"""``(n,)``, items by their number: from 1, as in the catalogue; oldest first."""

MAX_HISTORY = 1000
"""The longest history that a request can carry."""

LEAST_INTERACTIONS = 3
"""Of a user who is evaluated: one to ask for, one to choose by, one to start from."""


@dataclass(frozen=True)
class Interactions:
    """A log, checked and in order."""

    item_ids: tuple[str, ...]
    """The catalogue, sorted. Item number ``i`` is ``item_ids[i - 1]``; 0 is padding."""
    sequences: tuple[Items, ...]
    """Of each user."""
    duplicates: int
    """Rows that repeated another one exactly, and were dropped."""

    def __len__(self) -> int:
        """Return how many interactions there are."""
        return sum(map(len, self.sequences))

    def ids(self, items: Items) -> list[str]:
        """Return the IDs of ``items``."""
        return [self.item_ids[item - 1] for item in items]


@dataclass(frozen=True)
class Questions:
    """Users and the one item that each really had next."""

    histories: tuple[Items, ...]
    targets: Items

    def __len__(self) -> int:
        """Return how many users are asked for."""
        return len(self.targets)


@dataclass(frozen=True)
class Splits:
    """Leave one out: the last item of each user tests, the one before chooses."""

    training: tuple[Items, ...]
    """What is learnt from, for each user."""
    validation: Questions
    test: Questions
    unevaluated: int
    """Users with too few interactions: learnt from, never asked for."""

    @property
    def asked(self) -> dict[str, Questions]:
        """The splits that are evaluated."""
        return {"validation": self.validation, "test": self.test}

    @property
    def counts(self) -> dict[str, int]:
        """Interactions in each split."""
        training = sum(map(len, self.training))
        return {"train": training, "validation": len(self.validation), "test": len(self.test)}

    @property
    def sha256(self) -> str:
        """Of which item of which user lies in which split."""
        return assignment_sha256(
            [
                ("train", self.training),
                ("validation", [self.validation.targets]),
                ("test", [self.test.targets]),
            ]
        )


def load_interactions(path: Path) -> Interactions:
    """Read a log and put each user's interactions in order of time, then of the file.

    Raises:
        DataFault: If it cannot be used; names every fault.
    """
    log = read_log(path)
    kept = log.unique(maintain_order=True)
    item_ids = kept["item"].unique().sort()
    numbers = pl.DataFrame({"item": item_ids}).with_columns(
        number=pl.int_range(1, pl.len() + 1, dtype=pl.Int64)
    )
    users = (
        kept.join(numbers, on="item", how="left", maintain_order="left")
        .sort("user", "timestamp", maintain_order=True)
        .group_by("user", maintain_order=True)
        .agg("number")
    )
    return Interactions(
        item_ids=tuple(item_ids),
        sequences=tuple(items.to_numpy() for items in users["number"]),
        duplicates=log.height - kept.height,
    )


def leave_one_out(sequences: Sequence[Items], file: str) -> Splits:
    """Split each user's interactions.

    Raises:
        DataFault: If no user has enough of them.
    """
    asked = [items for items in sequences if len(items) >= LEAST_INTERACTIONS]
    if not asked:
        longest = max(map(len, sequences), default=0)
        expected = f"at least one user with {LEAST_INTERACTIONS} interactions"
        raise DataFault([Fault(file, expected, f"at most {longest}")])
    training = tuple(
        items[:-2] if len(items) >= LEAST_INTERACTIONS else items for items in sequences
    )
    if max(map(len, training)) < 2:
        expected = f"a user with {LEAST_INTERACTIONS + 1} interactions, to learn what follows what"
        raise DataFault([Fault(file, expected, f"at most {LEAST_INTERACTIONS}")])
    return Splits(
        training=training,
        validation=_questions(asked, 2),
        test=_questions(asked, 1),
        unevaluated=len(sequences) - len(asked),
    )


def _questions(sequences: Sequence[Items], back: int) -> Questions:
    """Ask for the item that is ``back`` from the end, by those before it."""
    return Questions(
        histories=tuple(items[:-back][-MAX_HISTORY:] for items in sequences),
        targets=np.array([items[-back] for items in sequences], np.int64),
    )


def data_source(data: ResolvedData, interactions: Interactions, splits: Splits) -> DataSource:
    """Say what was learnt from, how it was split and how it is measured."""
    dropped = f" {interactions.duplicates} exact duplicates were dropped." * bool(
        interactions.duplicates
    )
    return DataSource(
        name=data.name,
        sha256=data.sha256,
        rows=len(interactions),
        generated=data.generated,
        licence=data.licence,
        source=data.source,
        split=splits.counts,
        split_sha256=splits.sha256,
        protocol=(
            "Leave one out: of each user with at least "
            f"{LEAST_INTERACTIONS} interactions the last is the test, the one before the "
            "validation, and all before are learnt from; ratings are not used, every row is an "
            "interaction. The target is ranked among the whole catalogue without the user's "
            f"earlier items (the newest {MAX_HISTORY}, as a request carries them); no sampling. "
            "A target that the user had before counts as missed. "
            f"{splits.unevaluated} users with fewer interactions are learnt from and not "
            f"evaluated.{dropped} The split is by user, not by date: others' later interactions "
            "are learnt from."
        ),
    )
