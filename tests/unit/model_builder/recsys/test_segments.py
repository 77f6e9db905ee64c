from __future__ import annotations

import numpy as np
import pytest

from model_builder.recsys.data import Questions
from model_builder.recsys.segments import segments

LENGTHS = np.arange(1, 41)
QUESTIONS = Questions(tuple(np.ones(n, np.int64) for n in LENGTHS), np.arange(40) + 1)
COUNTS = np.append(0, np.arange(40, 0, -1))


def test_users_are_parted_by_their_history_and_by_what_came_next():
    ranks = {"long": np.where(LENGTHS > 30, 1, 50), "all": np.ones(40, np.int64)}
    found = segments(QUESTIONS, COUNTS, ranks, seed=0)
    history = [part for part in found if part.kind == "history"]
    assert [part.name for part in history] == [
        "1 to 10 items", "11 to 20 items", "21 to 30 items", "31 to 40 items",
    ]  # fmt: skip
    assert [part.ndcg["long"].value for part in history] == [0, 0, 0, 1]
    assert [part.ndcg["all"].value for part in history] == [1, 1, 1, 1]
    popular = [part for part in found if part.kind == "item"]
    assert [part.rows for part in popular] == [10] * 4
    # Whoever has a long history had a rare item next, as the data above are made.
    assert [part.ndcg["long"].value for part in popular] == [1, 0, 0, 0]
    assert popular[0].name == "more popular than 0% to 23% of all"


@pytest.mark.parametrize("lengths", [[5] * 8, [5] * 5 + [9] * 3], ids=["alike", "of two kinds"])
def test_users_that_are_alike_stay_together(lengths):
    questions = Questions(tuple(np.ones(n, np.int64) for n in lengths), np.arange(8) + 1)
    found = segments(questions, COUNTS, {"it": np.ones(8, np.int64)}, seed=0)
    parts = [part for part in found if part.kind == "history"]
    assert sum(part.rows for part in parts) == 8
    assert len(parts) == len(set(lengths))
