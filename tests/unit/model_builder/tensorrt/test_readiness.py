from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from model_builder.export.shapes import Range, ranges_of
from model_builder.tensorrt.operators import CHECKED_AGAINST, OPERATORS
from model_builder.tensorrt.readiness import readiness
from model_builder.tensorrt.rules import RULES

RANGES = {**ranges_of("recommend"), "Q": Range(1, 2, 4000)}
FLOAT, INT64, DOUBLE = TensorProto.FLOAT, TensorProto.INT64, TensorProto.DOUBLE


def graph(
    nodes: list[onnx.NodeProto],
    given: dict[str, tuple[int, list[int | str]]],
    made: dict[str, int],
    weights: dict[str, np.ndarray] | None = None,
    opset: int = 18,
) -> onnx.ModelProto:
    """A model; of its outputs only the types are said."""
    for place, node in enumerate(nodes):
        node.name = node.name or f"n{place}"
    return helper.make_model(
        helper.make_graph(
            nodes,
            "planted",
            [
                helper.make_tensor_value_info(name, kind, dims)
                for name, (kind, dims) in given.items()
            ],
            [helper.make_tensor_value_info(name, kind, None) for name, kind in made.items()],
            [onnx.numpy_helper.from_array(array, name) for name, array in (weights or {}).items()],
        ),
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=9,
    )


def one(
    kind: str,
    inputs: list[str],
    given: dict[str, tuple[int, list[int | str]]],
    made: int = FLOAT,
    weights: dict[str, np.ndarray] | None = None,
    outputs: tuple[str, ...] = ("y",),
    opset: int = 18,
    **attributes: object,
) -> onnx.ModelProto:
    node = helper.make_node(kind, inputs, list(outputs), **attributes)
    return graph([node], given, dict.fromkeys(outputs, made), weights, opset)


X: dict[str, tuple[int, list[int | str]]] = {"x": (FLOAT, ["B", 4])}
IMAGE: dict[str, tuple[int, list[int | str]]] = {"x": (FLOAT, ["B", 3, 8, 8])}


def test_a_plain_network_is_ready() -> None:
    found = readiness(one("Relu", ["x"], X), RANGES)
    assert (found.ready, found.because, found.checked_against) == (True, (), CHECKED_AGAINST)


@pytest.mark.parametrize(
    ("model", "because"),
    [
        (one("Det", ["x"], {"x": (FLOAT, ["B", 4, 4])}), "n0 (Det): the operator is not supported"),
        (
            one("Relu", ["x"], X, opset=8),
            f"opset 8: {CHECKED_AGAINST} reads 9 to 24",
        ),
        (
            one("Not", ["x"], {"x": (TensorProto.BOOL, ["B", 2])}, TensorProto.BOOL),
            "",
        ),
        (
            one("Equal", ["x", "x"], {"x": (TensorProto.BOOL, ["B", 2])}, TensorProto.BOOL),
            "n0 (Equal): does not compute in BOOL ('x'), only in BF16, FP16, FP32, INT32, INT64",
        ),
        (
            one("Sigmoid", ["x"], {"x": (DOUBLE, ["B", 2])}, DOUBLE),
            "n0 (Sigmoid): does not compute in FP64 ('x'), only in BF16, FP16, FP32",
        ),
        (
            one("Identity", ["x"], {"x": (TensorProto.STRING, ["B", 2])}, TensorProto.STRING),
            "input 'x' is STRING, which it does not have",
        ),
        (
            one("Relu", ["x"], {"x": (FLOAT, ["B", "Z"])}),
            "input 'x': axis 1 ('Z') varies, and nothing says how far it goes",
        ),
        (
            one("MaxPool", ["x"], {"x": (FLOAT, ["B", 3, 8])}, kernel_shape=[2]),
            "n0 (MaxPool): only 2 or 3 dimensions are pooled, here 1",
        ),
        (
            one("MaxPool", ["x"], IMAGE, kernel_shape=[2, 2], dilations=[2, 2]),
            "n0 (MaxPool): 'dilations' must all be 1, are [2, 2]",
        ),
        (
            graph(
                [helper.make_node("MaxPool", ["x"], ["y", "i"], kernel_shape=[2, 2])],
                IMAGE,
                {"y": FLOAT, "i": INT64},
            ),
            "n0 (MaxPool): only its first output is supported, i is asked for",
        ),
        (
            one(
                "CumSum",
                ["x", "a"],
                {**X, "a": (TensorProto.INT32, [1])},
            ),
            "n0 (CumSum): 'axis' must be a constant, 'a' is computed",
        ),
        (
            one(
                "QuantizeLinear", ["x", "s", "z"], X, TensorProto.INT8,
                {"s": np.float32(0.1), "z": np.int8(3)},
            ),
            "n0 (QuantizeLinear): 'y_zero_point' must be zero (symmetric), 'z' is not",
        ),
        (
            one(
                "DequantizeLinear", ["x", "s", "z"], {"x": (TensorProto.INT8, ["B", 4])}, FLOAT,
                {"s": np.float32(0.1), "z": np.int8(3)},
            ),
            "n0 (DequantizeLinear): 'x_zero_point' must be zero (symmetric), 'z' is not",
        ),
        (
            one("EyeLike", ["x"], X),
            "n0 (EyeLike): its input must have fixed sizes, 'x' varies",
        ),
        (
            one("Hardmax", ["x"], X, axis=0),
            "n0 (Hardmax): its axis must have a fixed size, that of 'x' varies",
        ),
        (
            one(
                "Resize", ["x", "", "s"], IMAGE, FLOAT, {"s": np.ones(4, np.float32)}, mode="cubic"
            ),
            "n0 (Resize): 'mode' must be one of nearest, linear, is cubic",
        ),
        (
            one(
                "Resize", ["x", "", "s"], IMAGE, FLOAT, {"s": np.ones(4, np.float32)},
                antialias=1, mode="linear",
            ),
            "n0 (Resize): 'antialias' must be 0, is 1",
        ),
        (
            one(
                "ScatterND", ["x", "i", "u"], X | {"u": (FLOAT, ["B", 4])}, FLOAT,
                {"i": np.zeros((1, 1), np.int64)}, reduction="add",
            ),
            "n0 (ScatterND): 'reduction' must be one of none, is add",
        ),
        (
            one(
                "OneHot", ["x", "d", "v"],
                {"x": (INT64, ["B", 4]), "d": (INT64, [1])}, FLOAT,
                {"v": np.array([0, 1], np.float32)},
            ),
            "n0 (OneHot): 'depth' must be a constant, 'd' is computed",
        ),
        (
            one("Dropout", ["x", "r", "t"], X, FLOAT, {"r": np.float32(0.5), "t": np.array(True)}),
            "n0 (Dropout): it must not be in training mode, which 't' decides",
        ),
        (
            one(
                "LayerNormalization", ["x", "s"], X, FLOAT, {"s": np.ones(4, np.float32)},
                outputs=("y", "mean"),
            ),
            "n0 (LayerNormalization): only its first output is supported, mean is asked for",
        ),
        (
            graph(
                [helper.make_node("Constant", [], ["c"], value_string="a")],
                {},
                {"c": TensorProto.STRING},
            ),
            "n0 (Constant): a constant of 'value_string' is unsupported",
        ),
    ],
)  # fmt: skip
def test_what_it_does_not_take_is_named_with_its_node(model: onnx.ModelProto, because: str) -> None:
    found = readiness(model, RANGES)
    assert found.ready == (not because)
    assert [one for one in found.because if one == because] == ([because] if because else [])


def test_every_reason_is_given_not_only_the_first() -> None:
    nodes = [helper.make_node("Det", ["x"], ["a"]), helper.make_node("Unique", ["x"], ["b"])]
    model = graph(nodes, {"x": (FLOAT, ["B", 4, 4])}, {"a": FLOAT, "b": FLOAT})
    kinds = [reason.split("(")[1].split(")")[0] for reason in readiness(model, RANGES).because]
    assert kinds == ["Det", "Unique"]


def test_operators_of_another_domain_are_unknown() -> None:
    node = helper.make_node("Scaler", ["x"], ["y"], domain="ai.onnx.ml", offset=[0.0], scale=[1.0])
    model = graph([node], X, {"y": FLOAT})
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 2))
    assert readiness(model, RANGES).because == (
        "n0 (Scaler): operators of 'ai.onnx.ml' are unknown to it",
    )


def top_k(of_size: bool, axis: str) -> onnx.ModelProto:
    """The best of ``x``: as many as its axis is long, or as many as a request says."""
    nodes = [
        helper.make_node("Shape", ["x"], ["k"], start=1, end=2),
        helper.make_node("TopK", ["x", "k" if of_size else "n"], ["y", "i"]),
    ]
    given: dict[str, tuple[int, list[int | str]]] = {"x": (FLOAT, ["B", axis]), "n": (INT64, [1])}
    return graph(nodes, given, {"y": FLOAT, "i": INT64})


def test_k_of_the_best_is_worked_out_for_the_greatest_size() -> None:
    assert readiness(top_k(of_size=True, axis="X"), RANGES).ready, "X goes to 2000"
    assert readiness(top_k(of_size=True, axis="Q"), RANGES).because == (
        "n1 (TopK): 'K' must stay below 3840, 'k' reaches 4000",
    )


def test_k_that_a_request_decides_is_not_taken() -> None:
    assert readiness(top_k(of_size=False, axis="X"), RANGES).because == (
        "n1 (TopK): 'K' must follow from sizes alone, 'n' depends on what a request holds",
    )


@pytest.mark.parametrize("by_size", [True, False])
def test_only_sizes_may_say_where_a_slice_begins(by_size: bool) -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["from"], start=1, end=2),
        helper.make_node("Slice", ["x", "from" if by_size else "n", "n2", "axes"], ["y"]),
    ]
    given: dict[str, tuple[int, list[int | str]]] = {"x": (FLOAT, ["B", "X"]), "n": (INT64, [1])}
    model = graph(nodes, given, {"y": FLOAT})
    model.graph.initializer.extend(
        helper.make_tensor(name, INT64, [1], [value]) for name, value in (("n2", 9), ("axes", 1))
    )
    assert readiness(model, RANGES).because == (
        () if by_size else (
            "n1 (Slice): 'starts' must follow from sizes alone, 'n' depends on what a request "
            "holds",
        )
    )  # fmt: skip


def test_nodes_of_a_branch_are_looked_at_too() -> None:
    def branch(name: str) -> onnx.GraphProto:
        node = helper.make_node("Det", ["x"], [name], name=f"det_{name}")
        return helper.make_graph(
            [node], name, [], [helper.make_tensor_value_info(name, FLOAT, None)]
        )

    node = helper.make_node("If", ["c"], ["y"], then_branch=branch("a"), else_branch=branch("b"))
    given: dict[str, tuple[int, list[int | str]]] = {
        "x": (FLOAT, ["B", 4, 4]), "c": (TensorProto.BOOL, [1]),
    }  # fmt: skip
    because = readiness(graph([node], given, {"y": FLOAT}), RANGES).because
    assert {"det_a (Det): the operator is not supported"} <= set(because)
    assert {"det_b (Det): the operator is not supported"} <= set(because)


def test_sizes_that_do_not_fit_each_other_are_no_crash() -> None:
    model = one("MatMul", ["x", "w"], X, weights={"w": np.zeros((3, 2), np.float32)})
    (because,) = readiness(model, RANGES).because
    assert because.startswith("its types and sizes do not fit each other:")


def test_every_rule_is_of_an_operator_that_is_supported() -> None:
    assert set(RULES) <= set(OPERATORS)


@pytest.mark.parametrize("name", ["StringNormalizer", "MatMulInteger", "QLinearConv", "Unique"])
def test_what_is_published_as_unsupported_is_not_in_the_table(name: str) -> None:
    assert name not in OPERATORS


def test_the_items_of_a_table_are_found_by_what_it_takes() -> None:
    import torch

    from model_builder.export.onnx import export_core
    from model_builder.recsys.item_table import ItemTable, ItemVectors

    table = ItemTable(torch.randn(3, 5, 6), 13)
    items = torch.tensor([[0, 4, 5, 14]], dtype=torch.int32)
    vectors = ItemVectors(table)
    assert torch.equal(vectors(items)[0], table.rows.reshape(-1, 6)[[0, 4, 5, 14], :4])
    model = export_core(vectors, {"items": items}, ["vectors"])
    assert readiness(model, RANGES).because == ()
