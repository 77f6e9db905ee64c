from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import small_training
import torch

from model_builder.errors import RunUnusable
from model_builder.training.checkpoint import Keeper
from model_builder.training.config import TrainingConfig
from model_builder.training.seeding import seed_everything
from model_builder.training.session import Session

pytestmark = pytest.mark.usefixtures("quick_torch")


def train(folder: Path, resume: bool = True, **options: Any) -> dict[str, torch.Tensor]:
    seed_everything(3)
    model = small_training.network(dropout=0.3)
    with Session(run_id="r", folder=folder, resume=resume):
        small_training.train(model, **options)
    return model.state_dict()


class Stopped(Exception):
    pass


def stop_in_epoch(number: int) -> Any:
    def observe(stage: str, epoch: Any) -> None:
        if epoch.number == number:
            raise Stopped

    return observe


@pytest.mark.parametrize(
    "options",
    [
        {"optimizer": "muon"},
        {"optimizer": "lion", "accumulation": 2},
        {"optimizer": "sgd", "workers": 1},
        {"strategy": "lora", "head": ["2"]},
        {"strategy": "gradual", "head": ["2"]},
    ],
    ids=["muon", "lion-in-parts", "sgd-with-workers", "lora", "gradual"],
)
def test_every_part_goes_on(tmp_path: Path, options: dict[str, Any]) -> None:
    whole = train(tmp_path / "whole", **options)
    options = {**options, "checkpoint_steps": 5}
    seed_everything(3)
    model = small_training.network(dropout=0.3)
    interrupted = Session(folder=tmp_path / "r", observe=stop_in_epoch(2))
    with interrupted, pytest.raises(Stopped):
        small_training.train(model, **options)
    for name, weights in train(tmp_path / "r", **options).items():
        assert torch.equal(weights, whole[name]), name


def test_a_training_that_is_done_is_not_done_again(tmp_path: Path) -> None:
    options = {"checkpoint_steps": 5}
    first = train(tmp_path, resume=False, **options)
    seen: list[int] = []
    seed_everything(4)
    model = small_training.network(dropout=0.3)
    with Session(folder=tmp_path, resume=True, observe=lambda _, epoch: seen.append(epoch.number)):
        outcome = small_training.train(model, **options)
    assert not seen
    assert len(outcome.history) == 4
    assert all(torch.equal(weights, first[name]) for name, weights in model.state_dict().items())


def test_without_resume_a_checkpoint_is_not_looked_at(tmp_path: Path) -> None:
    train(tmp_path, checkpoint_steps=5)
    seen: list[int] = []
    with Session(folder=tmp_path, observe=lambda _, epoch: seen.append(epoch.number)):
        small_training.train(small_training.network())
    assert seen == [0, 1, 2, 3]


def test_a_short_training_writes_no_checkpoint(tmp_path: Path) -> None:
    train(tmp_path)
    assert not list(tmp_path.rglob("*.pt"))


def test_checkpoints_go_by_the_time(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path / "c.pt", TrainingConfig(checkpoint_seconds=3600), 1)
    assert not keeper.due(5, False)
    keeper = Keeper(tmp_path / "c.pt", TrainingConfig(checkpoint_seconds=1e-9), 1)
    assert keeper.due(5, False)
    assert keeper.due(5, True)
    off = Keeper(tmp_path / "c.pt", TrainingConfig(checkpoint_seconds=0), 1)
    assert not off.due(5, True)


def test_several_processes_agree_on_the_time_by_the_epochs(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path / "c.pt", TrainingConfig(checkpoint_seconds=1e-9), processes=2)
    assert not keeper.due(5, False)
    assert keeper.due(6, True)


def test_a_checkpoint_replaces_the_last_one_only_when_it_is_whole(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path / "c.pt", TrainingConfig(), 1)
    keeper.write({"step": 1})

    with pytest.raises(AttributeError):  # a lambda cannot be written
        keeper.write({"step": 2, "bad": lambda: None})
    assert keeper.read() == {"step": 1}


def test_another_number_of_processes_is_refused(tmp_path: Path) -> None:
    train(tmp_path, resume=False, checkpoint_steps=5)
    path = tmp_path / "checkpoints" / "train.pt"
    state = torch.load(path, weights_only=True)
    state["chance"] *= 2
    torch.save(state, path)
    with pytest.raises(RunUnusable, match="run 'r': 2 processes trained it, and 1 go on"):
        train(tmp_path, checkpoint_steps=5)


def test_a_checkpoint_runs_no_code_when_it_is_read(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"model": Evil()}, tmp_path / "c.pt")
    keeper = Keeper(tmp_path / "c.pt", TrainingConfig(), 1)
    with pytest.raises(Exception, match=r"weights_only|Weights only"):
        keeper.read()
    assert not (tmp_path / "ran").exists()
