"""A training that is killed, and one that several processes share, end as one that is neither."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from training_processes import train, trained

pytestmark = pytest.mark.e2e

# Everything that a checkpoint has to hold: two moments, a schedule with a memory, an average,
# and dropout, which draws from torch's source of chance.
HARD = {"schedule": "plateau", "plateau_patience": 0, "ema_decay": 0.8, "dropout": 0.3}


def same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one["history"] == other["history"]
    assert one["best_epoch"] == other["best_epoch"]
    for name, weights in one["weights"].items():
        assert torch.equal(weights, other["weights"][name]), name


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return trained(tmp_path_factory.mktemp("uninterrupted"), **HARD)


@pytest.mark.parametrize(
    ("every", "killed_after"),
    [(6, 12), (4, 15)],
    ids=["at-a-checkpoint", "between-two-in-an-epoch"],
)
def test_killed_it_goes_on_to_the_same_weights(
    tmp_path: Path, uninterrupted: dict[str, Any], every: int, killed_after: int
) -> None:
    options = {**HARD, "checkpoint_steps": every}
    assert train(tmp_path, **options, kill_after=killed_after) == [-signal.SIGKILL]
    assert not (tmp_path / "result.pt").exists()
    same(trained(tmp_path, **options, resume=True), uninterrupted)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return trained(tmp_path_factory.mktemp("alone"))


@pytest.mark.parametrize(
    "options",
    [{"accumulation": 2}, {"shard": True}, {"shard": True, "optimizer": "lion"}],
    ids=["ddp-in-parts", "fsdp", "fsdp-lion"],
)
def test_two_processes_learn_like_one(
    tmp_path: Path, alone: dict[str, Any], options: dict[str, Any]
) -> None:
    if "optimizer" in options:
        alone = trained(tmp_path / "alone", optimizer=options["optimizer"])
    found = trained(tmp_path / "two", 2, **options)
    for one, two in zip(alone["history"], found["history"], strict=True):
        assert two["loss"] == pytest.approx(one["loss"], rel=1e-4)
        assert two["validation"] == pytest.approx(one["validation"], abs=0.011)  # one row
    assert len(found["history"]) == 4
    for name, weights in alone["weights"].items():
        torch.testing.assert_close(found["weights"][name], weights, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("shard", [False, True], ids=["ddp", "fsdp"])
def test_two_processes_go_on_where_they_stood(tmp_path: Path, shard: bool) -> None:
    # With a step of momentum behind it, a checkpoint without the optimiser would go on elsewhere.
    options = {"dropout": 0.3, "checkpoint_steps": 4, "epochs": 2, "shard": shard}
    whole = trained(tmp_path / "whole", 2, **options)
    codes = train(tmp_path / "cut", 2, **options, kill_after=10)
    assert -signal.SIGKILL in codes  # who did not come to it has lost the other
    for file in (tmp_path / "cut").glob("error-*.txt"):
        file.unlink()
    same(trained(tmp_path / "cut", 2, **options, resume=True), whole)
