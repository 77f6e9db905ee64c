from __future__ import annotations

import numpy as np
import pytest

from model_builder.recsys.config import RecsysConfig
from model_builder.recsys.data import leave_one_out
from model_builder.recsys.sizing import Shape, sizes_for

SMALL = Shape(items=9724, interactions=99_616, usual_history=400.0)
LARGE = Shape(items=3416, interactions=987_531, usual_history=300.0)
SHORT = Shape(items=60_000, interactions=1_500_000, usual_history=9.0)


def test_a_log_is_measured_by_what_is_learnt_from():
    sequences = [np.arange(1, 6)] * 10 + [np.arange(1, 103)]
    shape = Shape.of(leave_one_out(sequences, "log.csv"), 102)
    assert shape == Shape(items=102, interactions=130, usual_history=100.0)


def test_more_data_gets_more_weights_and_less_dropout():
    small, large = sizes_for(RecsysConfig(), SMALL), sizes_for(RecsysConfig(), LARGE)
    assert small.width * small.layers < large.width * large.layers
    assert small.dropout > large.dropout


def test_short_histories_are_not_read_as_long_ones():
    long, short = sizes_for(RecsysConfig(), LARGE), sizes_for(RecsysConfig(), SHORT)
    assert long.history_length == 200
    assert short.history_length < 100


def test_a_small_catalogue_is_taken_whole():
    assert sizes_for(RecsysConfig(), LARGE).negatives == 0
    assert sizes_for(RecsysConfig(), SHORT).negatives > 0


@pytest.mark.parametrize("shape", [SMALL, LARGE, SHORT])
def test_what_is_said_is_taken(shape):
    given = {"history_length": 7, "width": 12, "layers": 3, "heads": 2, "dropout": 0.25,
             "epochs": 2, "batch_size": 5, "negatives": 11}  # fmt: skip
    found = sizes_for(RecsysConfig.model_validate(given), shape)
    assert {name: getattr(found, name) for name in given} == given


@pytest.mark.parametrize("width", [4, 6, 12, 30, 64])
def test_heads_share_whatever_width_is_said(width):
    found = sizes_for(RecsysConfig(width=width), LARGE)
    assert found.width == width
    assert width % (2 * found.heads) == 0


@pytest.mark.parametrize("heads", [1, 3, 5])
def test_the_width_suits_whatever_heads_are_said(heads):
    found = sizes_for(RecsysConfig(heads=heads), LARGE)
    assert found.heads == heads
    assert found.width % (2 * heads) == 0


def test_settings_may_be_said_as_text():
    config = RecsysConfig.model_validate({"width": "32", "dropout": "0.1", "epochs": "auto"})
    assert (config.width, config.dropout, config.epochs) == (32, 0.1, "auto")
    with pytest.raises(ValueError, match="width"):
        RecsysConfig.model_validate({"width": "wide"})


def test_an_odd_width_is_refused_before_anything_is_read():
    with pytest.raises(ValueError, match="multiple of 2"):
        RecsysConfig(width=5)


def test_a_context_of_the_interaction_itself_is_refused():
    with pytest.raises(ValueError, match="'rating' is of the interaction itself, 'hour' twice"):
        RecsysConfig(context=("hour", "rating", "hour"))


def test_the_time_of_a_training_does_not_grow_with_the_log_without_end():
    epochs = [
        sizes_for(RecsysConfig(), Shape(10**5, count, 200.0)).epochs
        for count in (600_000, 1_000_000, 3_000_000, 25_000_000)
    ]
    assert epochs == [30, 30, 10, 5]
