from __future__ import annotations

import numpy as np
import torch

from model_builder.recsys import shortlists as subject
from model_builder.recsys.data import Questions
from model_builder.recsys.shortlists import FirstStage, shortlists


def test_long_histories_are_read_a_few_at_a_time_with_the_same_result(network, monkeypatch):
    """Attention holds a number for each pair of places, which for all users at once is too many."""
    first = FirstStage(network, 8)
    histories = tuple(np.array([1, 2, item, 5]) for item in range(6, 12))
    questions = Questions(histories, np.array([3, 4, 12, 3, 4, 12]))
    whole = shortlists(first, questions)
    asked = []
    hook = first.query.register_forward_pre_hook(lambda _, args: asked.append(len(args[0])))
    monkeypatch.setattr(subject, "_PAIRS", 4 * network.history_length**2)
    parts = shortlists(first, questions)
    hook.remove()
    assert asked == [4, 2]
    torch.testing.assert_close(parts.scores, whole.scores)
    assert parts.items.tolist() == whole.items.tolist()
    assert parts.place.tolist() == whole.place.tolist()
