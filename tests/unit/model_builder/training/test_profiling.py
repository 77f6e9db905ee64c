from __future__ import annotations

import json
from pathlib import Path

import pytest
import small_training
import torch

from model_builder.training.profiling import PHASES, Profile
from model_builder.training.session import Session

pytestmark = pytest.mark.usefixtures("quick_torch")


def test_a_training_is_traced_and_its_steps_are_timed(tmp_path: Path) -> None:
    with Session(folder=tmp_path, profile=True):
        small_training.train(small_training.network(), epochs=4)
    trace = json.loads((tmp_path / "profile" / "train.trace.json").read_text())
    names = {event.get("name") for event in trace["traceEvents"]}
    assert {*PHASES, "aten::linear"} <= names
    # Three to warm up and ten traced are not in the table.
    table = json.loads((tmp_path / "profile" / "train.steps.json").read_text())
    assert table["steps"] == 24 - 13
    spent = table["milliseconds"]
    assert list(spent) == [*PHASES, "rest", "step"]
    assert sum(spent[name] for name in (*PHASES, "rest")) == pytest.approx(spent["step"])
    assert all(spent[name] > 0 for name in PHASES)


def test_a_phase_has_the_time_that_passes_in_it(tmp_path: Path) -> None:
    timer = Profile(tmp_path, "train", torch.device("cpu"))
    for _ in range(14):
        for _ in timer.data([1]):
            with timer.phase("forward"):
                torch.randn(400, 400) @ torch.randn(400, 400)
            timer.step()
    timer.finish()
    spent = json.loads((tmp_path / "train.steps.json").read_text())["milliseconds"]
    assert spent["forward"] > 10 * spent["backward"]
    assert spent["backward"] == 0


def test_a_short_training_is_timed_all_the_same(tmp_path: Path) -> None:
    with Session(folder=tmp_path, profile=True):
        small_training.train(small_training.network(), epochs=1)
    table = json.loads((tmp_path / "profile" / "train.steps.json").read_text())
    assert table["steps"] == 5
    assert table["milliseconds"]["forward"] > 0


def test_nothing_is_written_unless_asked(tmp_path: Path) -> None:
    with Session(folder=tmp_path):
        small_training.train(small_training.network(), epochs=1)
    assert not list(tmp_path.iterdir())
