from __future__ import annotations

import numpy as np
import pytest
import torch

from model_builder.errors import StrategyDoesNotApply
from model_builder.evaluation.metrics import auc
from model_builder.progress import SilentProgress
from model_builder.tabular.training import TabularConfig, train_members


def config(**changes) -> TabularConfig:
    return TabularConfig(
        **{"epochs": 8, "learning_rate": 0.02, "width": 8, "repeats": 1, **changes}
    )


@pytest.fixture
def data() -> tuple[np.ndarray, np.ndarray]:
    draws = np.random.default_rng(3)
    inputs = draws.normal(size=(200, 3)).astype(np.float32)
    return inputs, (inputs[:, 0] + 0.2 * draws.normal(size=200) > 0).astype(np.int64)


def train(inputs, target, held_out, *, logits=1, **changes):
    return train_members(
        inputs, target, held_out, logits=logits, config=config(**changes), progress=SilentProgress()
    )


def held_out_of(target, folds=4):
    """Row i is held out from member i modulo ``folds``."""
    return np.arange(len(target))[:, None] % folds == np.arange(folds)


def test_members_learn_what_decides(data):
    inputs, target = data
    trained = train(inputs, target, held_out_of(target))
    assert auc(target, trained.held_out_logits[:, 0]) > 0.95


def test_a_member_never_learns_from_a_row_that_is_held_out():
    """With labels that are noise, an answer for a row that was seen would give itself away."""
    wide = np.random.default_rng(5).normal(size=(200, 80)).astype(np.float32)
    noise = np.random.default_rng(6).integers(0, 2, 200)
    held_out = held_out_of(noise)
    trained = train(wide, noise, held_out, dropout=0.0, patience=100, epochs=12, weight_decay=0.0)
    with torch.no_grad():
        answers = trained.network(torch.from_numpy(wide)).numpy()[:, :, 0].T  # (rows, M)

    assert auc(noise[:, None].repeat(4, 1)[~held_out], answers[~held_out]) > 0.8
    assert abs(auc(noise, trained.held_out_logits[:, 0]) - 0.5) < 0.15


def test_held_out_answers_are_the_mean_of_the_members_that_have_not_seen_the_row(data):
    inputs, target = data
    held_out = np.zeros((200, 3), np.bool_)
    held_out[:50, [0, 2]] = True
    trained = train(inputs, target, held_out, epochs=2)
    with torch.no_grad():
        answers = trained.network(torch.from_numpy(inputs)).numpy()

    expected = answers[[0, 2], :50].mean(axis=0)
    np.testing.assert_allclose(trained.held_out_logits[:50], expected, atol=1e-6)
    assert np.isnan(trained.held_out_logits[50:]).all()


def test_several_classes_have_a_logit_each(data):
    inputs, _ = data
    target = np.digitize(inputs[:, 1], [-0.5, 0.5]).astype(np.int64)
    trained = train(inputs, target, held_out_of(target), logits=3, epochs=15)
    assert trained.held_out_logits.shape == (200, 3)
    assert (trained.held_out_logits.argmax(axis=1) == target).mean() > 0.8


def test_the_same_seed_trains_the_same_network(data):
    inputs, target = data
    held_out = held_out_of(target)
    one, same, other = (
        train(inputs, target, held_out, epochs=2, seed=seed).held_out_logits for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_sizes_follow_the_rows_unless_they_are_set():
    assert TabularConfig().width_for(1000) < TabularConfig().width_for(30_000)
    assert TabularConfig().batch_size_for(1000) < TabularConfig().batch_size_for(30_000)
    assert TabularConfig().epochs_for(1000) > TabularConfig().epochs_for(30_000)
    assert TabularConfig(epochs=3).epochs_for(30_000) == 3
    assert TabularConfig(width=7, batch_size=9).width_for(30_000) == 7
    assert TabularConfig(width=7, batch_size=9).batch_size_for(30_000) == 9


def test_the_settings_of_training_arrive(data):
    inputs, target = data
    with pytest.raises(StrategyDoesNotApply, match="'muon' does not apply here"):
        train(inputs, target, held_out_of(target), training={"optimizer": "muon"})
    with pytest.raises(StrategyDoesNotApply, match="'lora' does not apply here"):
        train(inputs, target, held_out_of(target), training={"strategy": "lora"})


def test_dropout_is_as_it_was_asked_for(data):
    inputs, target = data
    trained = train(inputs, target, held_out_of(target), dropout=0.25, epochs=1)
    drops = [m.p for m in trained.network.modules() if isinstance(m, torch.nn.Dropout)]
    assert drops == [0.25]


def test_a_batch_in_parts_teaches_every_member_the_same(data):
    """The parts differ in how many rows each member may learn from."""
    inputs, target = data
    whole, parts = (
        train(
            inputs, target, held_out_of(target), dropout=0.0, epochs=3, training={"accumulation": n}
        )
        for n in (1, 3)
    )
    np.testing.assert_allclose(parts.held_out_logits, whole.held_out_logits, atol=1e-4)


def test_members_learn_their_lessons_and_are_judged_by_the_labels(data):
    """The lessons say of the second number what the labels say of the first."""
    inputs, target = data
    held_out = held_out_of(target)
    shares = 1 / (1 + np.exp(-3 * inputs[:, 1, None])).astype(np.float32)
    lessons = np.where(held_out, np.nan, shares)
    trained = train_members(
        inputs,
        target,
        held_out,
        logits=1,
        config=config(patience=100, linear_start=False),
        progress=SilentProgress(),
        lessons=lessons,
    )
    answers = trained.held_out_logits[:, 0]
    assert auc((inputs[:, 1] > 0).astype(np.int64), answers) > 0.95
    judged = torch.nn.functional.binary_cross_entropy_with_logits(
        torch.from_numpy(answers), torch.from_numpy(target).float()
    )
    assert trained.fit.best == pytest.approx(-float(judged), rel=1e-4)
