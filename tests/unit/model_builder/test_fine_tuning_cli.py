"""Which strategies the tasks take from the command line, as docs/training.md says."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from model_builder.cli import cli
from model_builder.recsys.transformer import NextItemNetwork
from model_builder.training.config import TrainingConfig
from model_builder.training.strategies import adapt

LOW_RANK = "the network has no linear layer below it"
NO_HEAD = "the network has no head that tells itself apart"


@pytest.mark.usefixtures("quick_torch")
@pytest.mark.parametrize(
    ("task", "data", "strategy", "cause"),
    [
        ("risk", "generated-credit", "lora", LOW_RANK),
        ("risk", "generated-credit", "gradual", NO_HEAD),
        ("diagnosis", "generated-measurements", "dora", LOW_RANK),
        ("diagnosis", "generated-measurements", "head", NO_HEAD),
    ],
)
def test_a_table_takes_full_alone_and_says_why(
    task: str, data: str, strategy: str, cause: str, tmp_path: Path
) -> None:
    said = CliRunner().invoke(
        cli,
        ["build", task, "--data", data, "--strategy", strategy, "--unproven",
         "--store", str(tmp_path / "store"), "--runs", str(tmp_path / "runs")],
        env={"TRIDENT_CACHE_DIR": str(tmp_path / "cache"), "TRIDENT_DATA_DIR": ""},
    )  # fmt: skip
    assert said.exit_code == 2
    assert f"Error: '{strategy}' does not apply here: {cause}" in said.output
    assert "Traceback" not in said.output
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("strategy", ["lora", "dora"])
def test_a_recommender_takes_low_rank_additions_and_nothing_else_of_it_moves(strategy: str) -> None:
    import torch

    network = NextItemNetwork(
        torch.ones(9), width=4, layers=1, heads=1, history_length=6, dropout=0.0
    )
    adapt(network, TrainingConfig(strategy=strategy)).start_epoch(0)
    learning = [name for name, weight in network.named_parameters() if weight.requires_grad]
    assert learning
    assert all("lora" in name for name in learning)
