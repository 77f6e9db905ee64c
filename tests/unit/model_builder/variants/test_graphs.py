"""Rewritten networks answer as before, with less to compute."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import spox
import spox.opset.ai.onnx.v18 as op
import torch
from torch import nn

from model_builder.export.onnx import export_core, serialised
from model_builder.export.running import OnnxModel
from model_builder.recsys.item_table import ItemTable
from model_builder.recsys.querying import Query
from model_builder.recsys.transformer import NextItemNetwork
from model_builder.variants.graphs import basic, optimised
from model_builder.variants.last_place import only_last_places
from model_builder.variants.look_ups import plain_look_ups

ITEMS, LENGTH = 30, 10


class OfAllPlaces(Query):
    """What a history is made into, with all places computed for the last: as releases once were."""

    def forward(self, history: torch.Tensor) -> torch.Tensor:
        return self.network.states(history)[:, -1]


def query(*, layers: int = 2, heads: int = 2, block: int = 100) -> onnx.ModelProto:
    torch.manual_seed(3)
    counts = torch.arange(ITEMS + 1)
    network = NextItemNetwork(
        counts, width=16, layers=layers, heads=heads, history_length=LENGTH, dropout=0.0
    )
    nn.init.normal_(network.items.weight)
    module = OfAllPlaces(network, ItemTable.of(network, block)).eval()
    history = torch.ones(2, LENGTH, dtype=torch.int32)
    return export_core(module, {"history": history}, ["query"])


def histories(rows: int = 40) -> dict[str, np.ndarray]:
    draws = np.random.default_rng(5)
    found = draws.integers(1, ITEMS + 1, (rows, LENGTH)).astype(np.int32)
    for row in range(rows):
        found[row, : row % (LENGTH + 1)] = 0  # some are short, some empty
    return {"history": found}


def answer(model: onnx.ModelProto, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return OnnxModel(serialised(model)).run(inputs)


@pytest.mark.parametrize(("layers", "heads"), [(1, 1), (1, 2), (2, 2)])
def test_a_rewritten_network_answers_as_before(layers: int, heads: int) -> None:
    model = query(layers=layers, heads=heads)
    made, done = optimised(model)
    onnx.checker.check_model(made, full_check=True)
    assert done["last_places"] == 1
    assert done["look_ups"] == 1
    assert done["nodes_after"] < done["nodes_before"]
    for inputs in (histories(), histories(1)):
        np.testing.assert_allclose(
            answer(made, inputs)["query"], answer(model, inputs)["query"], atol=1e-5
        )


def test_only_the_last_place_goes_through_the_last_inner_network() -> None:
    made = basic(query(layers=1))
    assert only_last_places(made) == 1
    sizes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in onnx.shape_inference.infer_shapes(made).graph.value_info
    }
    erf = next(node for node in made.graph.node if node.op_type == "Erf")
    assert sizes[erf.output[0]][1:] == [1, 64], "one place, of four times the width"
    softmax = next(node for node in made.graph.node if node.op_type == "Softmax")
    assert sizes[softmax.output[0]][2:] == [1, LENGTH], "it still looks at all places"


def test_every_layer_but_the_last_computes_all_places() -> None:
    made = basic(query(layers=2))
    only_last_places(made)
    sizes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in onnx.shape_inference.infer_shapes(made).graph.value_info
    }
    widths = [sizes[node.output[0]][1] for node in made.graph.node if node.op_type == "Erf"]
    assert widths == [LENGTH, 1]


def test_a_place_that_is_read_twice_is_not_moved() -> None:
    """A mean beside the last place needs all of them."""

    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(1)
            self.layer = nn.Linear(4, 4)

        def forward(self, states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            made = torch.relu(self.layer(states))
            return made[:, -1], made.mean(1)

    model = export_core(Both(), {"states": torch.randn(2, 5, 4)}, ["last", "mean"])
    made = basic(model)
    assert only_last_places(made) == 0
    inputs = {"states": np.random.default_rng(0).normal(size=(3, 5, 4)).astype(np.float32)}
    for name, value in answer(model, inputs).items():
        np.testing.assert_allclose(answer(made, inputs)[name], value, atol=1e-6)


def test_the_first_place_is_left_alone() -> None:
    class First(nn.Module):
        def forward(self, states: torch.Tensor) -> torch.Tensor:
            return torch.relu(states)[:, 0]

    made = basic(export_core(First(), {"states": torch.randn(2, 5, 4)}, ["first"]))
    assert only_last_places(made) == 0


def test_a_table_of_several_blocks_keeps_its_look_up() -> None:
    model = query(block=8)
    made = basic(model)
    assert plain_look_ups(made) == 0
    assert optimised(model)[1]["look_ups"] == 0


def test_no_operator_of_onnx_runtime_alone_is_written() -> None:
    made, _ = optimised(query())
    assert {node.domain for node in made.graph.node} == {""}
    assert [one.version for one in made.opset_import] == [18]


def test_the_border_stays_as_it_was() -> None:
    model = query()
    made, _ = optimised(model)
    assert list(made.graph.input) == list(model.graph.input)
    assert list(made.graph.output) == list(model.graph.output)


def test_what_cannot_be_rewritten_is_folded_at_least() -> None:
    given = spox.argument(spox.Tensor(np.float32, ("B", 3)))
    two = op.add(op.const(np.float32(1)), op.const(np.float32(1)))
    model = spox.build({"x": given}, {"y": op.mul(given, two)})
    made, done = optimised(model)
    assert (done["nodes_after"], done["last_places"], done["look_ups"]) == (1, 0, 0)
    np.testing.assert_array_equal(answer(made, {"x": np.ones((2, 3), np.float32)})["y"], 2.0)


def test_a_network_that_would_only_grow_is_left_as_it_is() -> None:
    """A table that two nodes read in two shapes would be held twice."""
    table = np.random.default_rng(0).normal(size=(1, 4000, 16)).astype(np.float32)
    rows = spox.argument(spox.Tensor(np.float32, (1, 4000, 16)))
    query = spox.argument(spox.Tensor(np.float32, ("B", 16)))
    flat = op.squeeze(rows, op.const(np.array([0])))
    where = spox.argument(spox.Tensor(np.int64, ("B", 2)))
    found = op.gather_nd(rows, where)
    model = spox.build(
        {"query": query, "where": where, "rows": rows},
        {"scores": op.gemm(query, flat, transB=1), "row": op.add(query, found)},
    )
    model.graph.input.pop()
    model.graph.initializer.append(onnx.numpy_helper.from_array(table, "rows"))
    made, done = optimised(model)
    assert made is model
    assert done["nodes_before"] == done["nodes_after"]
