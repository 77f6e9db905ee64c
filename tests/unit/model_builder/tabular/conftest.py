from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from model_builder.tabular.columns import Column
from model_builder.tabular.table import Table
from triton_models.release import FeatureSpec

WriteFile = Callable[[str, str], Path]


class Heard:
    """A progress that keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture(autouse=True, scope="session")
def _quick(quick_torch: None) -> None:
    pass


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def write(tmp_path: Path) -> WriteFile:
    def write_file(name: str, text: str) -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write_file


@pytest.fixture(scope="session")
def features() -> tuple[FeatureSpec, ...]:
    """One feature of every kind and rule, numbers and categories interleaved."""
    return (
        FeatureSpec(name="housing", kind="category", categories=("own", "rent"), typical="own"),
        FeatureSpec(
            name="amount", kind="number", minimum=10, maximum=90.5, unknown_rule="clip", typical=30
        ),
        FeatureSpec(name="grade", kind="number", minimum=1, maximum=4, codes=(1, 2, 4), typical=2),
        FeatureSpec(name="job", kind="category", categories=("none", "été", "x"), typical="x"),
        FeatureSpec(
            name="age", kind="number", minimum=18, maximum=75, unknown_rule="impute", typical=40
        ),
    )


@pytest.fixture
def table() -> Table:
    """240 rows in which ``cause`` and ``colour`` decide and ``noise`` does not."""
    draws = np.random.default_rng(7)
    cause = draws.normal(0, 1, 240)
    noise = draws.normal(5, 2, 240)
    colour = draws.choice(["red", "blue", "green"], 240).astype(object)
    logit = 3 * cause + np.where(colour == "red", 2.0, 0.0)
    target = (draws.random(240) < 1 / (1 + np.exp(-logit))).astype(np.int64)
    cause[:6] = np.nan
    return Table(
        (Column("noise", "quantity"), Column("colour", "category"), Column("cause", "quantity")),
        {"cause": cause, "noise": noise, "colour": colour},
        target,
        ("paid", "default"),
    )
