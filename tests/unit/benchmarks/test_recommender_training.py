from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks import recommender_training
from benchmarks.recommender_training import LogShape, generate, main
from model_builder.recsys.config import RecsysConfig
from model_builder.recsys.data import leave_one_out
from model_builder.recsys.sizing import Shape, sizes_for


def small() -> LogShape:
    return LogShape(users=30, items=50, interactions=600, shortest=5, longest=40)


def test_nobody_has_an_item_twice_and_lengths_are_within_the_bounds():
    log = generate(small())
    assert len(log) == 30
    assert all(5 <= len(items) <= 40 and len(np.unique(items)) == len(items) for items in log)
    assert {int(items.min()) for items in log} >= {1}
    assert max(int(items.max()) for items in log) <= 50


@pytest.mark.parametrize("settings", [{}, {"batch_size": 3}], ids=["default", "said"])
def test_what_is_timed_has_the_sizes_of_a_build(monkeypatch, settings):
    monkeypatch.setattr(recommender_training, "LogShape", small)
    given = [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
    said = CliRunner().invoke(main, ["--steps", "1", "--json", *given], catch_exceptions=False)
    found = json.loads(said.output.splitlines()[-1])
    splits = leave_one_out(generate(small()), "generated")
    built = sizes_for(RecsysConfig(**settings), Shape.of(splits, small().items))
    assert found["windows a batch"] == built.batch_size
    assert found["epochs"] == built.epochs
    assert found["items a second"] > 0
