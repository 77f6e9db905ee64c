"""Boosted trees as teachers: the probabilities that a network learns beside the labels.

A label says what became of one credit, not how likely that was. Probabilities from elsewhere have
less noise, and a network that learns a mixture of both varies less (knowledge distillation, Hinton
et al. 2015; why it helps: Menon et al. 2021, arXiv:2005.10419). The trees only teach: what is
served is the network alone.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from model_builder.progress import Progress
from model_builder.risk.boosting import Boosting
from model_builder.tabular.drawing import How, drawer
from model_builder.tabular.splits import Splits
from model_builder.tabular.table import Table

_PARTS = 5
"""Of a group's rows: each part is answered by trees that have learnt from the others."""
TREES = 350
"""More than of the baseline: trees that see relations have more to learn."""

Floats = npt.NDArray[np.float32]


def teach(
    table: Table, splits: Splits, *, how: How, teachers: int, seed: int, progress: Progress
) -> Floats:
    """Return what trees answer, for each group of members and the rows that it may learn from.

    Trees that answer for a row have neither learnt from it, nor from a row that is held out from
    the group that they teach: held-out rows stay unseen.

    Args:
        table: Checked.
        splits: Of the table; G groups.
        how: The table is split. Parts never tear a group apart.
        teachers: Models whose answers are averaged, each of other parts and another sample.
        seed: Of the first.
        progress: Shows the teachers.

    Returns:
        ``(development rows, G)`` float32, the probability of class 1; NaN where the group must
        not learn.
    """
    keys = table.split_keys
    # Whatever the trees know of later rows, none of the rows that judge is among them.
    draw = drawer("stratified" if how == "time" else how, table.target, keys)
    boosting = Boosting(table, trees=TREES, related=True)
    lessons = np.full(splits.held_out.shape, np.nan, np.float32)
    taught: dict[bytes, Floats] = {}
    different = len({column.tobytes() for column in splits.held_out.T})
    with progress.stage("teachers", different * teachers * _PARTS) as bar:
        for group, held in enumerate(splits.held_out.T):
            key = held.tobytes()  # groups of one validation split learn from the same rows
            if key not in taught:
                rows = splits.development[~held]
                answers = np.zeros(len(rows))
                for number in range(seed, seed + teachers):
                    for asked in draw.folds(rows, _PARTS, number):
                        learned = np.setdiff1d(rows, asked)
                        places = np.searchsorted(rows, asked)
                        answers[places] += boosting.learned(learned, asked, number) / teachers
                        bar.advance()
                taught[key] = answers.astype(np.float32)
            lessons[~held, group] = taught[key]
    return lessons
