from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from model_builder.evaluation.metrics import auc
from model_builder.progress import SilentProgress
from model_builder.risk.config import RiskConfig
from model_builder.risk.teaching import teach
from model_builder.tabular.columns import Column
from model_builder.tabular.splits import Splits
from model_builder.tabular.table import Table

ROWS = 400
DEVELOPMENT = np.arange(ROWS - 40)
TEST = np.arange(ROWS - 40, ROWS)


@pytest.fixture
def table() -> Table:
    """``cause`` decides by half, ``noise`` not at all."""
    draws = np.random.default_rng(2)
    cause, noise = draws.normal(size=(2, ROWS))
    target = (draws.random(ROWS) < 1 / (1 + np.exp(-2 * cause))).astype(np.int64)
    columns = (Column("cause", "quantity"), Column("noise", "quantity"))
    return Table(columns, {"cause": cause, "noise": noise}, target, ("paid", "default"))


def splits_of(groups: int = 2) -> Splits:
    """Every second row is held out from group 0, every second but one from group 1."""
    held_out = np.arange(len(DEVELOPMENT))[:, None] % 2 == np.arange(groups) % 2
    return Splits(DEVELOPMENT, TEST, held_out, cross_validated=groups == 2)


def lessons_of(table: Table, splits: Splits | None = None, **changes) -> np.ndarray:
    how = {"how": "stratified", "teachers": 1, "seed": 0, **changes}
    return teach(table, splits or splits_of(), progress=SilentProgress(), **how)


def test_a_group_is_taught_the_rows_that_it_may_learn_from_and_no_others(table):
    lessons = lessons_of(table)
    np.testing.assert_array_equal(np.isnan(lessons), splits_of().held_out)
    assert lessons.dtype == np.float32
    for group, held in enumerate(splits_of().held_out.T):
        assert auc(table.target[DEVELOPMENT][~held], lessons[~held, group]) > 0.7


def test_rows_that_are_held_out_from_a_group_or_test_decide_nothing_in_its_lessons(table):
    before = lessons_of(table)
    changed = table.target.copy()
    changed[DEVELOPMENT[splits_of().held_out[:, 0]]] ^= 1
    changed[TEST] ^= 1
    after = lessons_of(replace(table, target=changed))
    np.testing.assert_array_equal(after[:, 0], before[:, 0])
    assert (after[::2, 1] != before[::2, 1]).all()


def test_trees_never_answer_for_a_row_that_they_have_learnt_from(table):
    """With labels that are noise, such an answer would give itself away."""
    noise = np.random.default_rng(8).integers(0, 2, ROWS)
    held = splits_of().held_out[:, 0]
    lessons = lessons_of(replace(table, target=noise))[~held, 0]
    assert abs(auc(noise[DEVELOPMENT][~held], lessons) - 0.5) < 0.15


def test_parts_do_not_tear_a_group_of_rows_apart(table):
    """What holds for a whole group gives itself away as soon as one of its rows was learnt from."""
    person = np.repeat(np.arange(ROWS // 20), 20)
    labels = np.random.default_rng(1).integers(0, 2, ROWS // 20)[person]
    values = {"cause": person.astype(np.float64), "noise": np.zeros(ROWS)}
    whole = replace(table, values=values, target=labels, split_keys=person.astype(np.float64))
    held = splits_of(1).held_out[:, 0]
    torn, kept = (
        lessons_of(whole, splits_of(1), how=how)[~held, 0] for how in ("stratified", "grouped")
    )
    target = labels[DEVELOPMENT][~held]
    assert auc(target, torn) > 0.8
    assert auc(target, kept) < auc(target, torn) - 0.2


def test_rows_split_by_time_are_taught_too(table):
    dated = replace(table, split_keys=np.arange(ROWS, dtype=np.float64))
    lessons = lessons_of(dated, splits_of(1), how="time")
    np.testing.assert_array_equal(np.isnan(lessons), splits_of(1).held_out)


def test_more_teachers_are_averaged(table):
    one, other, both = (
        lessons_of(table, teachers=count, seed=seed) for count, seed in ((1, 0), (1, 1), (2, 0))
    )
    np.testing.assert_allclose(both, (one + other) / 2, atol=1e-6)
    assert np.nanmax(np.abs(one - other)) > 0.01


def test_the_network_learns_the_labels_mixed_with_what_the_trees_answer(table):
    config = RiskConfig(taught=0.25, teachers=1)
    mixed = config.lessons_for(table, splits_of(), SilentProgress())
    labels = table.target[DEVELOPMENT, None]
    np.testing.assert_allclose(mixed, 0.75 * labels + 0.25 * lessons_of(table), atol=1e-6)


def test_a_small_table_is_taught_by_its_labels_alone_unless_it_is_asked_for(table):
    assert RiskConfig().lessons_for(table, splits_of(), SilentProgress()) is None
    assert RiskConfig().taught_for(30_000) > 0
    assert RiskConfig(taught=0.0).taught_for(30_000) == 0


def test_the_protocol_says_who_taught():
    assert RiskConfig().taught_by(1000) == ()
    (said,) = RiskConfig(taught=0.4).taught_by(1000)
    assert "60% the label, 40% what boosted trees answer" in said
