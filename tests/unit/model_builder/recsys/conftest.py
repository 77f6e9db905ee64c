from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from model_builder.recsys.ranking import Ranker
from model_builder.recsys.shortlists import FirstStage
from model_builder.recsys.transformer import NextItemNetwork

WriteLog = Callable[..., Path]

ITEMS = 12
LENGTH = 6


def small_network(items: int = ITEMS, length: int = LENGTH, **changes: int) -> NextItemNetwork:
    """A network with weights at random that reads its neighbours."""
    torch.manual_seed(1)
    counts = torch.from_numpy(np.random.default_rng(1).integers(0, 90, items + 1))
    options = {"width": 8, "layers": 2, "heads": 2, "dropout": 0.0, **changes}
    network = NextItemNetwork(counts, history_length=length, **options)
    torch.nn.init.normal_(network.items.weight)
    return network.eval()


@pytest.fixture(autouse=True, scope="session")
def _quick(quick_torch: None) -> None:
    pass


@pytest.fixture
def write_log(tmp_path: Path) -> WriteLog:
    def write(content: str | bytes, name: str = "log.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


@pytest.fixture(scope="session")
def network() -> NextItemNetwork:
    return small_network()


@pytest.fixture(scope="session")
def item_ids() -> tuple[str, ...]:
    return tuple(f"i{number}" for number in range(1, ITEMS + 1))


@pytest.fixture(scope="session")
def learned_ranker() -> Callable[..., Ranker]:
    """Makes a ranker with weights at random, which changes the order."""

    def make(first: FirstStage, context: int = 0) -> Ranker:
        torch.manual_seed(2)
        ranker = Ranker(first.table, first.history_length, first.count, context)
        torch.nn.init.normal_(ranker.out.weight)
        return ranker.eval()

    return make


@pytest.fixture(scope="session")
def make_network() -> Callable[..., NextItemNetwork]:
    return small_network
