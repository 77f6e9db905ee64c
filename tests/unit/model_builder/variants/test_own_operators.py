"""Operators of ONNX Runtime's own answer like those that they stand for."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import spox
import spox.opset.ai.onnx.v18 as op
import torch
from small_queries import LENGTH, LONG, OfAllPlaces, answer, histories, query
from torch import nn

from model_builder.export.onnx import export_core, serialised
from model_builder.export.running import OnnxModel
from model_builder.recsys.querying import Query
from model_builder.variants.graphs import optimised
from model_builder.variants.own_operators import with_own_operators
from model_builder.variants.quantising import quantised_statically
from model_builder.variants.roundings import rounded_once
from model_builder.variants.tensors import Known

OWN = "com.microsoft"


def operators(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


@pytest.mark.parametrize(("layers", "heads"), [(1, 1), (1, 2), (2, 2)])
@pytest.mark.parametrize("padded", [True, False])
def test_attention_becomes_one_operator(layers: int, heads: int, padded: bool) -> None:
    asked = histories(LONG + 1, LONG)
    network = query(layers=layers, heads=heads, length=LONG, kind=Query)
    model, _ = optimised(network, None if padded else asked)
    found = with_own_operators(model, asked)
    assert found is not None
    made, done = found
    assert done == {"attention": layers, "biased_products": 0}
    onnx.checker.check_model(made, full_check=True)
    kinds = operators(made)
    assert kinds.count("MultiHeadAttention") == layers
    assert kinds.count("RotaryEmbedding") == 2 * layers, "of queries and of keys"
    assert "Softmax" not in kinds, "what it was made of is gone"
    assert kinds.count("Where") == (0 if padded else 1), "the one that finds the longest row"
    np.testing.assert_allclose(
        answer(made, asked)["query"], answer(model, asked)["query"], atol=1e-5
    )
    for row in range(0, LONG + 1, 9):
        alone = {"history": asked["history"][row : row + 1]}
        np.testing.assert_allclose(
            answer(made, alone)["query"], answer(model, alone)["query"], atol=1e-5
        )


def test_attention_of_the_last_place_that_was_cut_out_stays_as_it_is() -> None:
    """Its mask was cut too, and is in no form that is known here."""
    asked = histories(LONG + 1, LONG)
    model, _ = optimised(query(length=LONG, kind=OfAllPlaces), asked)
    found = with_own_operators(model, asked)
    assert found is not None
    assert found[1]["attention"] == 1, "of two layers"


def test_products_in_8_bits_add_their_bias() -> None:
    asked = histories(LONG + 1, LONG)
    quantised = quantised_statically(optimised(query(length=LONG, kind=Query), asked)[0], [asked])
    found = with_own_operators(quantised.model, asked)
    assert found is not None
    made, done = found
    assert done["biased_products"] == quantised.layers
    assert operators(made).count("MatMulIntegerToFloat") == quantised.layers
    spread = answer(quantised.model, asked)["query"].std()
    np.testing.assert_allclose(
        answer(made, asked)["query"], answer(quantised.model, asked)["query"], atol=0.05 * spread
    )
    assert [(one.domain, one.version) for one in made.opset_import] == [("", 18), (OWN, 1)]
    assert list(made.metadata_props) == list(quantised.model.metadata_props)


def test_sizes_stay_known_behind_operators_that_onnx_does_not_know() -> None:
    asked = histories(length=LENGTH)
    model, _ = optimised(query(kind=Query))
    found = with_own_operators(model, asked)
    assert found is not None
    own = [node for node in found[0].graph.node if node.op_type == "MultiHeadAttention"]
    sizes = Known.of(found[0]).sizes
    assert [sizes[node.output[0]][1:] for node in own] == [(LENGTH, 16), (1, 16)]


def test_a_network_without_such_operators_is_left_alone() -> None:
    class Plain(nn.Module):
        def forward(self, states: torch.Tensor) -> torch.Tensor:
            return torch.relu(states)

    model = export_core(Plain(), {"states": torch.randn(2, 5)}, ["y"])
    assert with_own_operators(model, {"states": np.ones((3, 5), np.float32)}) is None


class Reads(nn.Module):
    """Attention of two heads that is masked as each test says."""

    def __init__(self, hidden: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.items = nn.Embedding(9, 8)
        self.parts = nn.Linear(8, 24)
        self.hidden = hidden
        self.register_buffer("causal", torch.ones(6, 6, dtype=torch.bool).tril())
        self.register_buffer("own", torch.eye(6, dtype=torch.bool))

    def forward(self, history: torch.Tensor) -> torch.Tensor:
        parts = self.parts(self.items(history)).unflatten(-1, (3, 2, 4)).permute(2, 0, 3, 1, 4)
        there = (history > 0)[:, None, :]
        visible = {
            "causal": lambda: (self.causal & there) | self.own,
            "backward": lambda: (self.causal.T & there) | self.own,
            "all": lambda: there | self.own,
            "there": lambda: there,
            "askers": lambda: there.transpose(1, 2),
        }[self.hidden]()[:, None]
        weights = parts[0] @ parts[1].transpose(-2, -1) / 2
        read = torch.where(visible, weights, -1e4).softmax(-1) @ parts[2]
        return read.transpose(1, 2).flatten(2).sum(1)


@pytest.mark.parametrize(
    ("hidden", "fused"), [("causal", 1), ("there", 1), ("backward", 0), ("all", 0), ("askers", 0)]
)
def test_only_masks_that_are_understood_are_fused(hidden: str, fused: int) -> None:
    model = export_core(Reads(hidden), {"history": torch.ones(2, 6, dtype=torch.int32)}, ["y"])
    model, _ = optimised(model)
    rows = np.random.default_rng(0).integers(1, 9, (20, 6)).astype(np.int32)
    found = with_own_operators(model, {"history": rows})
    assert (found is not None) == bool(fused)
    if found is not None:
        assert found[1]["attention"] == 1
        assert "RotaryEmbedding" not in operators(found[0]), "nothing is turned"


def test_answers_that_would_be_others_leave_it_as_it_was() -> None:
    """A place without anything to read reads itself, and here its answer counts."""
    model = export_core(Reads("causal"), {"history": torch.ones(2, 6, dtype=torch.int32)}, ["y"])
    model, _ = optimised(model)
    rows = np.random.default_rng(0).integers(0, 9, (20, 6)).astype(np.int32)
    assert with_own_operators(model, {"history": rows}) is None


def test_what_is_8_bit_is_cut_as_it_is() -> None:
    asked = histories(LONG + 1, LONG)
    made = quantised_statically(optimised(query(length=LONG, kind=Query), asked)[0], [asked]).model
    known = Known.of(made)
    for node in made.graph.node:
        if node.op_type == "Slice" and node.output[0] in {
            name
            for one in made.graph.node
            if one.op_type == "DequantizeLinear"
            for name in one.input
        }:
            assert known.makers[node.input[0]].op_type == "QuantizeLinear"
            break
    else:
        pytest.fail("no part of 8-bit numbers is cut")
    again = [node for node in made.graph.node if node.op_type == "QuantizeLinear"]
    makers = [known.makers.get(node.input[0]) for node in again]
    assert all(maker is None or maker.op_type != "Slice" for maker in makers)
    assert rounded_once(made) == 0


def test_a_part_whose_numbers_two_read_is_rounded_as_it_was() -> None:
    x = spox.argument(spox.Tensor(np.float32, ("B", 8)))
    scale, zero = op.const(np.float32(0.1)), op.const(np.uint8(0))
    whole = op.dequantize_linear(op.quantize_linear(x, scale, zero), scale, zero)
    part = op.slice(whole, op.const([0]), op.const([4]), op.const([1]))
    again = op.quantize_linear(part, scale, zero)
    first, second = (op.dequantize_linear(again, scale, zero) for _ in range(2))
    model = spox.build({"x": x}, {"first": op.relu(first), "second": op.neg(second)})
    asked = {"x": np.random.default_rng(0).uniform(0, 9, (3, 8)).astype(np.float32)}
    expected = OnnxModel(serialised(model)).run(asked)
    assert rounded_once(model) == 0
    found = OnnxModel(serialised(model)).run(asked)
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values)
