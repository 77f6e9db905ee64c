from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import expit, softmax
from sklearn.linear_model import LogisticRegression

from model_builder.progress import SilentProgress
from model_builder.tabular import linear_start as module
from model_builder.tabular import training
from model_builder.tabular.linear_start import LinearStart, best_share, linear_start
from model_builder.tabular.training import TabularConfig, train_members

ROWS = 240
HELD_OUT = np.arange(ROWS)[:, None] % 4 == np.arange(4)


def data(classes: int, noise: int = 3, spread: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """The first column decides, as far as ``spread`` lets it; the others say nothing."""
    draws = np.random.default_rng(0)
    inputs = draws.normal(size=(ROWS, 1 + noise)).astype(np.float32)
    seen = inputs[:, 0] + spread * draws.normal(size=ROWS)
    ends = np.quantile(seen, np.arange(1, classes) / classes)
    return inputs, np.digitize(seen, ends).astype(np.int64)


def answers(start: LinearStart, inputs: np.ndarray, member: int) -> np.ndarray:
    return inputs @ start.weight[member] + start.bias[member]


@pytest.mark.parametrize(("classes", "logits"), [(2, 1), (2, 2), (3, 3)])
def test_each_member_begins_as_a_regression_on_its_own_rows(classes: int, logits: int) -> None:
    inputs, target = data(classes)
    start = linear_start(inputs, target, HELD_OUT, logits)
    assert start.weight.shape == (4, 4, logits)
    assert start.bias.shape == (4, 1, logits)
    learnt = ~HELD_OUT[:, 1]
    given = answers(start, inputs, 1)
    given = np.hstack([1 - expit(given), expit(given)]) if logits == 1 else softmax(given, axis=1)
    gaps = [
        np.abs(
            LogisticRegression(C=strength, max_iter=5000)
            .fit(inputs[learnt].astype(np.float64), target[learnt])
            .predict_proba(inputs)
            - given
        ).max()
        for strength in (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
    ]
    assert min(gaps) < 1e-4


def test_what_a_member_has_not_seen_decides_nothing_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STRENGTHS", (0.1,))
    inputs, target = data(2)
    changed = np.where(HELD_OUT[:, 2], 1 - target, target)
    before, after = (linear_start(inputs, some, HELD_OUT, 1).weight for some in (target, changed))
    np.testing.assert_array_equal(before[2], after[2])
    assert np.abs(before[1] - after[1]).max() > 0.01


def test_columns_that_say_nothing_are_held_back_the_more_there_are() -> None:
    few, many = (
        np.abs(linear_start(*data(2, noise, spread=2.0), HELD_OUT, 1).weight[:, 1:]).mean()
        for noise in (1, 100)
    )
    assert many < few


def config(**changes: object) -> TabularConfig:
    few = {"epochs": 1, "learning_rate": 1e-9, "width": 8}
    return TabularConfig.model_validate(few | changes)


def trained(logits: int = 2, **changes: object) -> np.ndarray:
    inputs, target = data(2)
    found = train_members(
        inputs, target, HELD_OUT, logits=logits, config=config(**changes),
        progress=SilentProgress(),
    )  # fmt: skip
    return found.held_out_logits


@pytest.mark.parametrize("logits", [1, 2])
def test_a_network_begins_with_what_the_regressions_answer(logits: int) -> None:
    inputs, target = data(2)
    start = linear_start(inputs, target, HELD_OUT, logits)
    expected = np.stack([answers(start, inputs, row % 4)[row] for row in range(ROWS)])
    np.testing.assert_allclose(trained(logits), expected, atol=1e-5)


def test_it_begins_with_nothing_where_that_is_asked_for_or_the_table_is_large() -> None:
    assert np.abs(trained(linear_start=False)).max() < 1e-4
    assert np.abs(trained(training={"initialisation": "orthogonal"})).max() < 1e-4
    assert not config(training={"initialisation": "orthogonal"}).starts_linear(100)
    assert config().starts_linear(4999)
    assert not config().starts_linear(5000)


def test_what_a_network_adds_stays_as_far_as_rows_that_it_has_not_seen_confirm_it() -> None:
    draws = np.random.default_rng(0)
    truth = draws.normal(size=(4000, 1)) * 2
    target = (draws.random(4000) < expit(truth[:, 0])).astype(np.int64)
    nothing = np.zeros_like(truth)
    assert best_share(nothing, truth, target) == 1
    assert best_share(nothing, 4 * truth, target) == 0.25
    assert best_share(truth, truth + draws.normal(size=truth.shape) * 3, target) == 0
    both = np.hstack([-truth, truth]) / 2  # the same in two logits
    assert best_share(0 * both, 4 * both, target) == 0.25


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_what_is_said_of_held_out_rows_is_what_the_network_that_is_left_says(
    monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    monkeypatch.setattr(training, "best_share", lambda *_: share)
    inputs, target = data(2)
    found = train_members(
        inputs, target, HELD_OUT, logits=2, progress=SilentProgress(),
        config=config(epochs=3, learning_rate=0.05, dropout=0.0),
    )  # fmt: skip
    given = torch.from_numpy(inputs)
    with torch.no_grad():
        whole = found.network(given).numpy()  # (M, rows, K)
        straight = found.network.linear(given.expand(4, -1, -1)).numpy()
    held = np.stack([whole[row % 4, row] for row in range(ROWS)])
    np.testing.assert_allclose(found.held_out_logits, held, atol=1e-4)
    assert (np.abs(whole - straight).max() > 1e-3) == (share > 0)
