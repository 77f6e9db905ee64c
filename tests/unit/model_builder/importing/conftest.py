from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import spox.opset.ai.onnx.v18 as op
from spox import Tensor, Var, argument, build

from model_builder.progress import SilentProgress
from model_builder.tabular.loading import load_table
from model_builder.tabular.table import Table
from model_builder.tabular.targets import outcome_target
from model_builder.task import ResolvedData


@pytest.fixture(scope="session")
def loans_table(loans: ResolvedData) -> Table:
    return load_table(loans, outcome_target, SilentProgress())


Build = Callable[..., Path]


@pytest.fixture
def network(tmp_path: Path) -> Build:
    """Writes a network: a weighted sum of its inputs, and what is made of it."""

    def write(
        inputs: dict[str, tuple[type, int]],
        finish: Callable[[Var], Var] = op.identity,
        output: str = "out",
        width: int = 1,
        batch: str | int = "N",
    ) -> Path:
        draws = np.random.default_rng(3)
        given, total = {}, None
        for name, (dtype, size) in inputs.items():
            given[name] = argument(Tensor(dtype, (batch, size)))
            weights = op.const(draws.normal(0, 0.3, (size, width)).astype(np.float32))
            values = given[name] if dtype is np.float32 else op.cast(given[name], to=np.float32)
            part = op.matmul(op.tanh(values), weights)
            total = part if total is None else op.add(total, part)
        assert total is not None
        path = tmp_path / "network.onnx"
        onnx.save(build(given, {output: finish(total)}), path)
        return path

    return write
