from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from torch import nn

from model_builder.errors import ExportBroken
from model_builder.export.onnx import OPSET, export_core, serialised

pytestmark = pytest.mark.usefixtures("quick_torch")

AXES = {"item_ids": {1: "T"}}


class Network(nn.Module):
    """Two inputs of two types, one with an axis that varies."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.items = nn.Embedding(10, 4)
        self.mix = nn.Linear(6, 3)
        self.drop = nn.Dropout(0.5)

    def forward(self, numbers: torch.Tensor, item_ids: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """``numbers``: ``(B, 2)``, ``item_ids``: ``(B, T)``; ``(B, 3)`` and ``(B, T, 4)``."""
        items = self.items(item_ids)  # (B, T, 4)
        joined = torch.cat([numbers, items.sum(1)], dim=1)  # (B, 6)
        return self.drop(self.mix(joined)), items


def inputs(rows: int, length: int) -> dict[str, torch.Tensor]:
    draws = torch.Generator().manual_seed(rows)
    return {
        "numbers": torch.randn(rows, 2, generator=draws),
        "item_ids": torch.randint(0, 10, (rows, length), generator=draws),
    }


@pytest.fixture(scope="module")
def network() -> Network:
    return Network()


@pytest.fixture(scope="module")
def model(network: Network, quick_torch: None) -> onnx.ModelProto:
    return export_core(network, inputs(1, 5), ["logits", "vectors"], AXES)


def test_names_are_exactly_those_given(model) -> None:
    assert [value.name for value in model.graph.input] == ["numbers", "item_ids"]
    assert [value.name for value in model.graph.output] == ["logits", "vectors"]


def test_leaves_the_network_in_its_mode(network, model) -> None:
    assert network.training


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("length", [1, 7])
def test_answers_like_torch_on_any_batch_and_length(network, model, rows, length) -> None:
    given = inputs(rows, length)
    session = ort.InferenceSession(serialised(model), providers=["CPUExecutionProvider"])
    actual = session.run(None, {name: value.numpy() for name, value in given.items()})
    network.eval()
    with torch.no_grad():
        expected = network(**given)
    network.train()
    for one, other in zip(actual, expected, strict=True):
        np.testing.assert_allclose(one, other.numpy(), atol=1e-6)


def test_is_one_file_of_the_agreed_opset(model) -> None:
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", OPSET)]
    assert all(tensor.data_location == 0 for tensor in model.graph.initializer)


def test_tells_nothing_of_the_machine(model) -> None:
    content = serialised(model)
    for place in (Path(__file__).parents[4], Path(torch.__file__).parents[1], Path.home()):
        assert os.fsencode(place) not in content
    assert b"forward" not in content


def test_gives_the_same_bytes_again_and_says_nothing(network, model, capfd, caplog) -> None:
    with caplog.at_level(logging.INFO):
        again = export_core(network, inputs(1, 5), ["logits", "vectors"], AXES)
    assert serialised(again) == serialised(model)
    assert capfd.readouterr() == ("", "")
    assert [r for r in caplog.records if r.levelno >= logging.WARNING] == []


class Deaf(nn.Module):
    def forward(self, numbers: torch.Tensor, item_ids: torch.Tensor) -> torch.Tensor:
        return numbers * 2


class Forgetful(nn.Module):
    def forward(self, numbers: torch.Tensor) -> torch.Tensor:
        return numbers.sum(dim=0, keepdim=True)


def test_refuses_an_input_that_nothing_reads() -> None:
    with pytest.raises(ExportBroken, match=r"inputs \['item_ids', 'numbers'\] became"):
        export_core(Deaf(), inputs(2, 3), ["y"], AXES)


def test_refuses_an_output_without_the_batch_axis() -> None:
    with pytest.raises(ExportBroken, match=r"axis 0 \(B\) of output 'y' became fixed"):
        export_core(Forgetful(), {"numbers": torch.zeros(2, 2)}, ["y"])
