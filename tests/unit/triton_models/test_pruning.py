from __future__ import annotations

import onnx
from onnx import TensorProto, helper

from triton_models.pruning import prune


def tensor(name: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["B", 1])


def weight(name: str) -> onnx.TensorProto:
    return helper.make_tensor(name, TensorProto.FLOAT, [1], [1.0])


def graph(*outputs: str) -> onnx.GraphProto:
    """``a`` and ``b`` from ``x``, each with a weight; ``c`` through a branch that reads both."""
    then = helper.make_graph([helper.make_node("Add", ["ab", "wc"], ["t"])], "then", [],
                             [tensor("t")])  # fmt: skip
    other = helper.make_graph([], "else", [], [tensor("hidden")])
    return helper.make_graph(
        [
            helper.make_node("Mul", ["x", "wa"], ["a"]),
            helper.make_node("Mul", ["x", "wb"], ["b"]),
            helper.make_node("Add", ["a", "b"], ["ab"]),
            helper.make_node("Neg", ["x"], ["hidden"]),
            helper.make_node("If", ["flag"], ["c"], then_branch=then, else_branch=other),
        ],
        "g",
        [tensor("x"), helper.make_tensor_value_info("flag", TensorProto.BOOL, [])],
        [tensor(name) for name in outputs],
        [weight("wa"), weight("wb"), weight("wc")],
    )


def left(one: onnx.GraphProto) -> tuple[list[str], list[str]]:
    return [node.output[0] for node in one.node], [each.name for each in one.initializer]


def test_what_leads_to_no_output_is_removed() -> None:
    one = graph("a")
    assert prune(one) == 4
    assert left(one) == (["a"], ["wa"])


def test_the_order_of_the_rest_stays() -> None:
    one = graph("b", "a")
    assert prune(one) == 3
    assert left(one) == (["a", "b"], ["wa", "wb"])


def test_what_a_branch_reads_or_passes_on_is_needed() -> None:
    one = graph("c")
    assert prune(one) == 0
    assert left(one) == (["a", "b", "ab", "hidden", "c"], ["wa", "wb", "wc"])


def test_inputs_stay_even_if_nothing_reads_them() -> None:
    one = graph("a")
    prune(one)
    assert [value.name for value in one.input] == ["x", "flag"]
