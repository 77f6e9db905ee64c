"""Rewritten networks answer as before, with less to compute."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import spox
import spox.opset.ai.onnx.v18 as op
import torch
from small_queries import ITEMS, LENGTH, LONG, OfAllPlaces, answer, histories, query
from torch import nn

from model_builder.export.onnx import export_core, serialised
from model_builder.recsys.item_table import ItemTable
from model_builder.recsys.querying import Query
from model_builder.recsys.transformer import NextItemNetwork
from model_builder.variants.gelus import halved_last
from model_builder.variants.graphs import basic, optimised
from model_builder.variants.half import stored_in_half
from model_builder.variants.last_place import only_last_places
from model_builder.variants.look_ups import plain_look_ups
from model_builder.variants.padding import only_given_places
from model_builder.variants.quantising import quantised_statically
from triton_models.row_blocks import ALIKE


@pytest.mark.parametrize(("layers", "heads"), [(1, 1), (1, 2), (2, 2)])
def test_a_rewritten_network_answers_as_before(layers: int, heads: int) -> None:
    model = query(layers=layers, heads=heads)
    made, done = optimised(model)
    onnx.checker.check_model(made, full_check=True)
    assert done["last_places"] == 1
    assert done["look_ups"] == 1
    assert done["gelus"] == layers
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


def test_gelu_becomes_one_operator_when_it_is_loaded(tmp_path: Path) -> None:
    def loaded(model: onnx.ModelProto) -> list[str]:
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        options.optimized_model_filepath = str(tmp_path / "loaded.onnx")
        ort.InferenceSession(serialised(model), options)
        return [node.op_type for node in onnx.load(tmp_path / "loaded.onnx").graph.node]

    model = basic(query())
    assert "Erf" in loaded(model)
    assert halved_last(model) == 2
    found = loaded(model)
    assert "Erf" not in found
    assert found.count("BiasGelu") + found.count("Gelu") == 2


@pytest.mark.parametrize("kind", [Query, OfAllPlaces])
@pytest.mark.parametrize(("layers", "heads"), [(1, 1), (2, 2)])
def test_no_more_places_are_read_than_the_longest_row_has(
    layers: int, heads: int, kind: type[Query]
) -> None:
    model = query(layers=layers, heads=heads, length=LONG, kind=kind)
    asked = histories(LONG + 1, LONG)
    made, done = optimised(model, asked)
    onnx.checker.check_model(made, full_check=True)
    assert done["padding"] == 1
    made.graph.output.append(onnx.helper.make_empty_tensor_value_info("history/given"))
    rows = asked["history"]
    together = answer(model, asked)["query"]
    np.testing.assert_allclose(answer(made, asked)["query"], together, atol=1e-5)
    for row in range(len(rows)):
        alone = answer(made, {"history": rows[row : row + 1]})
        np.testing.assert_allclose(alone["query"][0], together[row], atol=1e-5)
        longer = alone["history/given"].shape[1] - np.count_nonzero(rows[row])
        assert 0 <= longer <= 16, "places are cut by 16"
    assert answer(made, {"history": rows[-3:]})["history/given"].shape[1] == LONG % 16


def test_times_between_items_are_cut_with_the_items() -> None:
    torch.manual_seed(3)
    network = NextItemNetwork(
        torch.arange(ITEMS + 1), width=16, layers=2, heads=2, history_length=LONG, dropout=0.0,
        time_gaps=True,
    )  # fmt: skip
    for weights in (network.items.weight, network.gaps.weight):
        nn.init.normal_(weights)
    module = Query(network, ItemTable.of(network)).eval()
    names = ("history", "history_gaps")
    examples = {name: torch.ones(2, LONG, dtype=torch.int32) for name in names}
    model = export_core(module, examples, ["query"])
    asked = histories(LONG + 1, LONG)
    asked["history_gaps"] = (asked["history"] % 7) * (asked["history"] > 0)
    made, done = optimised(model, asked)
    assert done["padding"] == 1
    together = answer(model, asked)["query"]
    np.testing.assert_allclose(answer(made, asked)["query"], together, atol=1e-5)
    for row in (0, 3, 50, LONG):
        alone = answer(made, {name: values[[row]] for name, values in asked.items()})
        np.testing.assert_allclose(alone["query"][0], together[row], atol=1e-5)
    (said,) = (one.value for one in made.metadata_props if one.key == ALIKE)
    assert set(said.split(",")) == {"history", "history_gaps"}


@pytest.mark.parametrize("kind", [Query, OfAllPlaces])
def test_what_reads_no_padding_has_rows_of_like_length_run_together(kind: type[Query]) -> None:
    asked = histories(LONG + 1, LONG)
    made, _ = optimised(query(length=LONG, kind=kind), asked)
    quantised = quantised_statically(made, [asked]).model
    for model in (made, quantised, stored_in_half(made)[0]):
        assert [(one.key, one.value) for one in model.metadata_props if one.key == ALIKE] == [
            (ALIKE, "history")
        ]
    kept, _ = optimised(query(length=LONG))
    assert not kept.metadata_props


def test_padding_stays_where_it_moves_an_answer() -> None:
    """Here a missing item has a vector of its own, which counts."""

    class Counts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.items = nn.Embedding(ITEMS + 1, 8)
            self.layer = nn.Linear(8, 8)

        def forward(self, history: torch.Tensor) -> torch.Tensor:
            return torch.softmax(self.layer(self.items(history)), 1).transpose(1, 2)[:, :, -1]

    model = export_core(Counts(), {"history": torch.ones(2, LONG, dtype=torch.int32)}, ["y"])
    assert only_given_places(basic(model)), "nothing in the graph tells"
    made, done = optimised(model, histories(20, LONG))
    assert done["padding"] == 0
    np.testing.assert_allclose(
        answer(made, histories(20, LONG))["y"], answer(model, histories(20, LONG))["y"], atol=1e-6
    )


def test_places_that_are_an_answer_are_not_cut() -> None:
    class Each(nn.Module):
        def forward(self, history: torch.Tensor) -> torch.Tensor:
            return (history * 2).float()

    model = basic(export_core(Each(), {"history": torch.ones(2, LONG, dtype=torch.int32)}, ["y"]))
    before = serialised(model)
    assert not only_given_places(model)
    assert serialised(model) == before


def test_a_sum_over_places_by_an_unknown_operator_is_not_cut() -> None:
    class Summed(nn.Module):
        def forward(self, history: torch.Tensor) -> torch.Tensor:
            return torch.cumsum(history.float(), 1)[:, -1:]

    model = basic(export_core(Summed(), {"history": torch.ones(2, LONG, dtype=torch.int32)}, ["y"]))
    assert not only_given_places(model)
