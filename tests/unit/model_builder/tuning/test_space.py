from __future__ import annotations

import optuna
import pytest
from pydantic import BaseModel, Field

from model_builder.discovery import Tasks
from model_builder.errors import ConfigInvalid
from model_builder.task import TaskConfig
from model_builder.tuning.space import (
    Choices,
    Range,
    check_space,
    holds,
    read_space,
    suggest,
    value_at,
    with_values,
)


class Inner(BaseModel):
    smoothing: float = Field(0.0, ge=0, lt=1)


class Config(TaskConfig):
    rate: float = Field(0.1, gt=0)
    width: int | None = Field(None, ge=1)
    mode: str = "plain"
    training: Inner = Inner()


CONFIG = Config()
NOTHING = frozenset({"seed"})


def test_a_space_is_ranges_and_choices():
    text = "rate: {low: 0.1, high: 1, log: true}\nmode: {choices: [plain, 2, null]}"
    assert read_space(text) == {
        "rate": Range(low=0.1, high=1, log=True),
        "mode": Choices(choices=("plain", 2, None)),
    }


def test_a_file_replaces_entries_adds_some_and_takes_some_out(tmp_path):
    file = tmp_path / "space.yaml"
    file.write_text("rate: {low: 1, high: 2}\nmode: null\nwidth: {low: 4, high: 8}\n")
    space = read_space("rate: {low: 0, high: 1}\nmode: {choices: [a, b]}", file)
    assert space == {"rate": Range(low=1, high=2), "width": Range(low=4, high=8)}


def test_every_entry_that_is_neither_is_named(tmp_path):
    file = tmp_path / "space.yaml"
    file.write_text("rate: {low: 1}\nmode: [1, 2]\nwidth: {choices: [1]}\n")
    with pytest.raises(ConfigInvalid) as caught:
        read_space("", file)
    assert [fault.split(": ")[1] for fault in caught.value.faults] == ["mode", "rate", "width"]
    assert "must be as {low: 0.1, high: 0.5} or {choices: [16, 32]}" in str(caught.value)


@pytest.mark.parametrize("text", ["- a list", "a: ["])
def test_a_file_that_is_no_mapping_is_refused(tmp_path, text):
    file = tmp_path / "space.yaml"
    file.write_text(text)
    with pytest.raises(ConfigInvalid, match=r"space\.yaml"):
        read_space("", file)


def test_everything_that_leads_to_no_config_is_named_at_once():
    space = read_space(
        """
        seed: {low: 0, high: 9}
        wdth: {low: 1, high: 2}
        rate: {low: -1, high: 1}
        width: {low: 1.5, high: 4}
        training.smoothing: {choices: [0.1, 2]}
        training.other: {low: 0, high: 1}
        """
    )
    with pytest.raises(ConfigInvalid) as caught:
        check_space(space, CONFIG, NOTHING)
    assert caught.value.faults == (
        "seed: says how a trial is measured, so all must have it alike",
        "wdth: there is no such hyperparameter",
        "rate: -1.0 is refused: Input should be greater than 0",
        "width: is a whole number, so low, high and step must be",
        "training.smoothing: 2 is refused: Input should be less than 1",
        "training.other: there is no such hyperparameter",
    )


@pytest.mark.parametrize(
    ("entry", "fault"),
    [
        ("{low: 2, high: 1}", "low 2 must be less than high 1"),
        ("{low: 0, high: 1, log: true}", "a logarithmic range starts above 0 and has no step"),
        ("{low: 1, high: 2, log: true, step: 1}", "a logarithmic range starts above 0"),
    ],
)
def test_a_range_must_be_one(entry, fault):
    with pytest.raises(ConfigInvalid, match=fault):
        check_space(read_space(f"rate: {entry}"), CONFIG, NOTHING)


def test_nothing_to_tune_is_refused():
    with pytest.raises(ConfigInvalid, match="nothing to tune"):
        check_space({}, CONFIG, NOTHING)


def test_suggestions_have_the_types_of_the_hyperparameters():
    space = read_space(
        "rate: {low: 1, high: 2}\nwidth: {low: 4, high: 8, step: 2}\nmode: {choices: [a, b]}\n"
        "training.smoothing: {low: 0.1, high: 0.2}"
    )
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(20):
        chosen = suggest(study.ask(), space, CONFIG)
        assert isinstance(chosen["rate"], float)
        assert chosen["width"] in (4, 6, 8)
        assert isinstance(chosen["width"], int)
        assert chosen["mode"] in ("a", "b")
        config = with_values(CONFIG, chosen)
        assert 0.1 <= config.training.smoothing <= 0.2
        assert value_at(config, "training.smoothing") == chosen["training.smoothing"]


@pytest.mark.parametrize(
    ("dimension", "value", "held"),
    [
        (Range(low=0, high=1), 0.5, True),
        (Range(low=0, high=1), 2, False),
        (Range(low=0, high=1), None, False),
        (Range(low=0, high=1), True, False),
        (Range(low=4, high=8, step=2), 6, True),
        (Range(low=4, high=8, step=2), 5, False),
        (Choices(choices=(16, None)), None, True),
        (Choices(choices=(16, 32)), 64, False),
    ],
)
def test_it_is_known_what_the_sampler_could_have_chosen(dimension, value, held):
    assert holds(dimension, value) is held


@pytest.mark.parametrize("name", Tasks().names())
def test_our_own_tasks_have_a_space_that_leads_to_configs(name):
    tasks = Tasks()
    space = read_space(tasks.search_space(name))
    check_space(space, tasks.load(name).config_type(), tasks.tuning(name).measured)
    assert {"learning_rate", "training.label_smoothing", "training.ema_decay"} <= space.keys()


ALIKE_FOR_ALL = "says how a trial is measured, so all must have it alike"
OF_A_TABLE = {"schema_file", "split_column", "members", "folds", "resamples"}


@pytest.mark.parametrize(
    ("name", "changes_nothing"),
    [
        ("risk", {"calibration", "base_score", "approval_rate", "bad_rate", "band_approval_rates",
                  "band_bad_rates", *OF_A_TABLE}),
        ("diagnosis", {"review_accuracy", "least_answered", *OF_A_TABLE}),
    ],
)  # fmt: skip
def test_what_changes_no_trial_is_not_tuned(name, changes_nothing):
    tasks = Tasks()
    space = {key: Choices(choices=(1, 2)) for key in sorted(changes_nothing)}
    with pytest.raises(ConfigInvalid) as caught:
        check_space(space, tasks.load(name).config_type(), tasks.tuning(name).measured)
    assert caught.value.faults == tuple(f"{key}: {ALIKE_FOR_ALL}" for key in space)
