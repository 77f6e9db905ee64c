"""What of a log is learnt from, and what is asked.

Two ways. *Leave one out* is what the literature compares by: each user's last item is the test.
*Time* is what a service will meet: the network knows nothing that happened after a moment, and is
asked for what came then.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from model_builder.errors import DataFault, Fault
from model_builder.recsys.sequences import Items, Places, Sequences
from model_builder.split_hash import assignment_sha256

MAX_HISTORY = 1000
"""The longest history that a request can carry."""

LEAST_INTERACTIONS = 3
"""Of a user who is evaluated: one to ask for, one to choose by, one to start from."""


@dataclass(frozen=True)
class Questions:
    """Users and the one item that each really had next."""

    histories: Sequence[Items]
    targets: Items
    places: Places | None = None
    """``(rows,)``, where in all items each target stands, for whoever wants its time."""

    def __len__(self) -> int:
        """Return how many users are asked for."""
        return len(self.targets)

    def chosen(self, rows: npt.NDArray[np.int64]) -> Questions:
        """Return some of them."""
        places = None if self.places is None else self.places[rows]
        histories = Sequences.of(self.histories).chosen(rows)
        return Questions(histories, self.targets[rows], places)


@dataclass(frozen=True)
class Splits:
    """The parts of a log."""

    training: Sequences
    """What is learnt from, for each user."""
    validation: Questions
    test: Questions
    unevaluated: int
    """Users who are never asked for."""
    unused: int = 0
    """Interactions that are in no part, because they came after the item that is asked for."""
    not_drawn: Mapping[str, int] = field(default_factory=dict)
    """By split: users who could be asked for, and are not because others were drawn."""
    cuts: tuple[float, float] | None = None
    """Of a split by time: when what is learnt from ends, and when the validation does."""

    @property
    def asked(self) -> dict[str, Questions]:
        """The splits that are evaluated."""
        return {"validation": self.validation, "test": self.test}

    @property
    def counts(self) -> dict[str, int]:
        """Interactions in each split."""
        counts = {"train": self.training.total}
        counts |= {"validation": len(self.validation), "test": len(self.test)}
        return counts | ({"unused": self.unused} if self.unused else {})

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


def leave_one_out(sequences: Iterable[Items], file: str) -> Splits:
    """Split each user's interactions: the last tests, the one before chooses.

    Raises:
        DataFault: If no user has enough of them.
    """
    sequences = Sequences.of(sequences)
    lengths = sequences.lengths
    enough = lengths >= LEAST_INTERACTIONS
    if not enough.any():
        longest = int(lengths.max(initial=0))
        expected = f"at least one user with {LEAST_INTERACTIONS} interactions"
        raise DataFault([Fault(file, expected, f"at most {longest}")])
    training = sequences.until(sequences.ends - 2 * enough)
    if training.lengths.max() < 2:
        expected = f"a user with {LEAST_INTERACTIONS + 1} interactions, to learn what follows what"
        raise DataFault([Fault(file, expected, f"at most {LEAST_INTERACTIONS}")])
    asked = sequences.chosen(enough)
    return Splits(
        training=training,
        validation=_questions(asked, asked.ends - 2),
        test=_questions(asked, asked.ends - 1),
        unevaluated=int((~enough).sum()),
    )


def drawn(splits: Splits, most: int, seed: int) -> Splits:
    """Return the splits with at most ``most`` users asked for in each, drawn at random."""
    if max(len(splits.validation), len(splits.test)) <= most:
        return splits
    parts, left = {}, {}
    for number, (name, questions) in enumerate(splits.asked.items()):
        rows = np.arange(len(questions))
        if len(rows) > most:
            draws = np.random.default_rng([seed, number])
            rows = np.sort(draws.choice(rows, most, replace=False))
        left[name] = len(questions) - len(rows)
        parts[name] = questions.chosen(rows)
    return replace(splits, validation=parts["validation"], test=parts["test"], not_drawn=left)


def split_by_time(
    sequences: Sequences, times: npt.NDArray[np.float64], share: float, file: str
) -> Splits:
    """Learn from all that came before a moment, and ask for what each user had next after it.

    The newest ``share`` of the interactions is the period of the test, as many before it are that
    of the validation. In each, everyone with an earlier interaction is asked once: for the first of
    the period. What else lies in a period is in no part.

    Args:
        sequences: Of each user, in order of time.
        times: ``(n,)``, of each of ``sequences.items``.
        share: In (0, 0.5).
        file: The log's name.

    Raises:
        DataFault: If a part would be empty.
    """
    cuts = np.quantile(times, [1 - 2 * share, 1 - share], method="higher")
    ends = [_first_from(sequences, times, cut) for cut in cuts]
    training = sequences.until(ends[0])
    if not training.lengths.max(initial=0) >= 2:
        raise DataFault([Fault(file, "a user with 2 interactions before the validation", "none")])
    asked = []
    bounds = (*ends, sequences.ends)
    for name, begin, end in zip(("validation", "test"), bounds, bounds[1:], strict=False):
        # One who came in this period has nothing to be asked by.
        there = (end > begin) & (begin > sequences.begins)
        if not there.any():
            expected = f"users with interactions before and in the period of the {name}"
            raise DataFault([Fault(file, expected, "none")])
        asked.append(_questions(sequences.chosen(there), begin[there]))
    validation, test = asked
    learnt = training.total + len(validation) + len(test)
    first = {int(place) for each in asked if each.places is not None for place in each.places}
    return Splits(
        training=training.chosen(training.lengths > 0),
        validation=validation,
        test=test,
        unevaluated=len(sequences) - _users_of(sequences, first),
        unused=sequences.total - learnt,
        cuts=(float(cuts[0]), float(cuts[1])),
    )


def _first_from(sequences: Sequences, times: npt.NDArray[np.float64], moment: float) -> Places:
    """Return where in all items each user's first one stands that is not before ``moment``."""
    before = np.concatenate([[0], np.cumsum(times < moment)])
    return sequences.begins + before[sequences.ends] - before[sequences.begins]


def _users_of(sequences: Sequences, places: set[int]) -> int:
    chosen = np.fromiter(places, np.int64, len(places))
    return len(np.unique(np.searchsorted(sequences.begins, chosen, side="right")))


def _questions(sequences: Sequences, places: Places) -> Questions:
    """Ask for the items at ``places``, by those before them."""
    histories = sequences.until(places, MAX_HISTORY)
    return Questions(histories, sequences.items[places], places)
