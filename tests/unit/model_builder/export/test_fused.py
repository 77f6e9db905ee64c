from __future__ import annotations

import numpy as np
import onnx
import pytest
import spox.opset.ai.onnx.ml.v3 as ml
import spox.opset.ai.onnx.v17 as old
import spox.opset.ai.onnx.v18 as op
from onnx import TensorProto, helper
from spox import Tensor, argument
from spox import build as build_graph

from model_builder.errors import ExportBroken
from model_builder.export.chain import run_steps
from model_builder.export.fused import FusedModel, fuse
from model_builder.task import Candidate, StepModel
from triton_models.row_blocks import ALIKE
from triton_models.signatures import SCORE_RISK, Axis, Signature, TensorSpec

F32 = np.float32
LINE = Signature(
    line="toy",
    domain="toy",
    inputs=(
        TensorSpec("words", "BYTES", (Axis("T"),), ""),
        TensorSpec("x", "FP32", (Axis("N"),), "", optional=True),
    ),
    outputs=(
        TensorSpec("y", "FP32", (Axis("N"),), ""),
        TensorSpec("names", "BYTES", (Axis("T"),), "", optional=True),
    ),
)

NUMBERS = Signature(
    line="numbers",
    domain="toy",
    inputs=(TensorSpec("x", "FP32", (Axis("N"),), ""),),
    outputs=(TensorSpec("y", "FP32", (Axis("N"),), ""),),
)


def floats(*axes: str | int) -> Tensor:
    return Tensor(F32, ("B", *axes))


def const(value: float) -> object:
    return op.const(np.array([[value]], F32))


def read_words() -> StepModel:
    words = argument(Tensor(np.str_, ("B", "T")))
    codes = ml.label_encoder(
        words, keys_strings=["a", "ü"], values_floats=[1.0, 2.0], default_float=0.0
    )
    return StepModel("read", "pre", build_graph({"words": words}, {"codes": codes}))


def add_up() -> StepModel:
    codes, x = argument(floats("N")), argument(floats("N"))
    return StepModel("add", "core", build_graph({"codes": codes, "x": x}, {"y": op.add(codes, x)}))


def say_words() -> StepModel:
    y = argument(floats("N"))
    names = ml.label_encoder(
        op.cast(y, to=np.int64), keys_int64s=[1, 2], values_strings=["one", "two"],
        default_string="many",
    )  # fmt: skip
    return StepModel("say", "post", build_graph({"y": y}, {"names": names}))


WORDS = np.array([["a", "ü", ""], ["ü", "ü", "a"]], object)


@pytest.mark.parametrize("rows", [1, 3, 1000])
def test_answers_as_the_steps_do_and_gives_nothing_in_between(
    candidate: Candidate, rows: int
) -> None:
    draws = np.random.default_rng(rows)
    numbers = draws.normal(size=(rows, 2)).astype(F32)
    numbers[draws.random((rows, 2)) < 0.2] = np.nan
    words = draws.choice(["car", "holiday", "", "bateau à voile"], (rows, 1)).astype(object)
    given = {"numbers": numbers, "categories": words}

    answer = FusedModel(candidate.steps, SCORE_RISK).run(given)

    assert list(answer) == [spec.name for spec in SCORE_RISK.outputs]
    expected = run_steps(candidate.steps, given)
    for name, values in answer.items():
        assert values.dtype == expected[name].dtype
        np.testing.assert_allclose(values, expected[name], rtol=0, atol=1e-6, err_msg=name)


def test_strings_go_in_and_come_out() -> None:
    model = FusedModel([read_words(), add_up(), say_words()], LINE)
    answer = model.run({"words": WORDS, "x": np.zeros((2, 3), F32)})
    assert answer["names"].tolist() == [["one", "two", "many"], ["two", "two", "one"]]
    assert answer["y"].tolist() == [[1, 2, 0], [2, 2, 1]]


def test_axes_are_called_by_the_signatures_letters() -> None:
    """Not by the steps': two of them may call different sizes alike."""
    graph = fuse([read_words(), add_up(), say_words()], LINE).graph
    axes = {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.output)
    }
    assert axes == {
        "words": ["B", "T"], "x": ["B", "N"], "y": ["B", "N"], "names": ["B", "T"],
    }  # fmt: skip
    assert not graph.value_info


def test_a_size_that_the_release_knows_is_kept(candidate: Candidate) -> None:
    graph = fuse(candidate.steps, SCORE_RISK).graph
    sizes = {v.name: v.type.tensor_type.shape.dim[1].dim_value for v in graph.output}
    assert sizes == {"default_probability": 1, "score": 1, "contributions": 3, "input_rules": 3}


def test_an_input_may_be_read_by_two_steps_and_an_output_go_on() -> None:
    x, y = argument(floats(2)), argument(floats(2))
    once = StepModel("once", "pre", build_graph({"x": x}, {"half": op.mul(x, const(0.5))}))
    half = argument(floats(2))
    twice = StepModel("twice", "core", build_graph({"x": y, "half": half}, {"y": op.add(y, half)}))
    words = read_words()
    unused = StepModel("unused", "post", words.model)
    answer = FusedModel([once, twice, unused], LINE).run({
        "words": WORDS, "x": np.array([[2, 4]] * 2, F32),
    })  # fmt: skip
    assert answer["y"].tolist() == [[3, 6]] * 2


def test_the_same_names_inside_two_steps_do_not_meet() -> None:
    def scale(name: str, given: str, made: str, factor: float) -> StepModel:
        node = helper.make_node("Mul", [given, "weight"], ["inner"], name="scale")
        last = helper.make_node("Identity", ["inner"], [made], name="last")
        weight = helper.make_tensor("weight", TensorProto.FLOAT, [1], [factor])
        graph = helper.make_graph(
            [node, last],
            name,
            [helper.make_tensor_value_info(given, TensorProto.FLOAT, ["B", 1])],
            [helper.make_tensor_value_info(made, TensorProto.FLOAT, ["B", 1])],
            [weight],
        )
        opset = [helper.make_opsetid("", 18)]
        return StepModel(name, "core", helper.make_model(graph, opset_imports=opset, ir_version=9))

    steps = [scale("one", "x", "mid", 2), scale("two", "mid", "y", 10)]
    assert FusedModel(steps, NUMBERS).run({"x": np.ones((1, 1), F32)})["y"].tolist() == [[20]]
    assert len({node.name for node in fuse(steps, NUMBERS).graph.node}) == 4


def looping() -> StepModel:
    """Adds a weight from outside the loop three times; the weight is an initialiser."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["ok_in"], ["ok_out"]),
            helper.make_node("Add", ["sum_in", "weight"], ["sum_out"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("number", TensorProto.INT64, []),
            helper.make_tensor_value_info("ok_in", TensorProto.BOOL, []),
            helper.make_tensor_value_info("sum_in", TensorProto.FLOAT, ["B", 1]),
        ],
        [
            helper.make_tensor_value_info("ok_out", TensorProto.BOOL, []),
            helper.make_tensor_value_info("sum_out", TensorProto.FLOAT, ["B", 1]),
        ],
    )
    graph = helper.make_graph(
        [helper.make_node("Loop", ["rounds", "", "x"], ["y"], body=body)],
        "loop",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["B", 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["B", 1])],
        [
            helper.make_tensor("rounds", TensorProto.INT64, [], [3]),
            helper.make_tensor("weight", TensorProto.FLOAT, [1], [7]),
        ],
    )
    opset = [helper.make_opsetid("", 18)]
    return StepModel("loop", "core", helper.make_model(graph, opset_imports=opset, ir_version=9))


def test_a_loop_still_reads_the_weights_outside_it() -> None:
    answer = FusedModel([looping()], NUMBERS).run({"x": np.ones((2, 1), F32)})
    assert answer["y"].tolist() == [[22], [22]]


def adds_weights(name: str, given: str, made: str, weights: np.ndarray) -> StepModel:
    """A step that adds weights, once plainly and once in a loop of one round."""
    x = argument(floats(weights.size))
    named = argument(Tensor(weights.dtype, weights.shape))

    def once_more(_number: object, _go_on: object, sum_: object) -> list[object]:
        return [op.const(np.array(True)), op.add(sum_, named)]

    (twice,) = op.loop(op.const(np.int64(1)), v_initial=[op.add(x, named)], body=once_more)
    model = build_graph({given: x, "weights": named}, {made: twice})
    model.graph.input.pop()
    model.graph.initializer.append(onnx.numpy_helper.from_array(weights, "weights"))
    return StepModel(name, "core", model)


@pytest.mark.parametrize("size", [8, 16384], ids=["small", "large"])
@pytest.mark.parametrize("change", [0, 1], ids=["alike", "different"])
def test_large_weights_that_two_steps_share_are_held_once(size: int, change: int) -> None:
    weights = np.arange(size, dtype=F32)
    steps = [
        adds_weights("first", "x", "z", weights),
        adds_weights("second", "z", "y", weights + change),
        read_words(),
    ]
    fused = fuse(steps, LINE)
    held = [w.name for w in fused.graph.initializer if size in w.dims]
    assert len(held) == (1 if size > 8 and not change else 2)
    answer = FusedModel(steps, LINE).run({"words": WORDS, "x": np.zeros((2, size), F32)})
    np.testing.assert_array_equal(answer["y"], [4 * weights + 2 * change] * 2)


def test_what_leads_to_no_output_is_left_out() -> None:
    x = argument(floats(2))
    spare = op.exp(op.mul(x, const(3)))
    model = build_graph({"x": x}, {"y": op.neg(x), "spare": spare})
    kinds = [node.op_type for node in fuse([StepModel("all", "core", model)], NUMBERS).graph.node]
    assert "Neg" in kinds
    assert "Exp" not in kinds


def test_steps_of_different_versions_are_brought_to_the_newest() -> None:
    """ReduceMax takes its axes as an attribute in 17, as an input in 18."""
    x = argument(floats(2))
    first = build_graph({"x": x}, {"mid": old.sub(x, old.reduce_max(x, axes=[1], keepdims=1))})
    most = op.reduce_max(x, op.const(np.array([1])), keepdims=1)
    second = build_graph({"mid": x}, {"y": op.sub(x, most)})
    assert [model.opset_import[0].version for model in (first, second)] == [14, 18]
    steps = [StepModel("first", "pre", first), StepModel("second", "core", second)]

    fused = fuse(steps, NUMBERS)

    assert [(one.domain, one.version) for one in fused.opset_import] == [("", 18)]
    answer = FusedModel(steps, NUMBERS).run({"x": np.array([[1, 3]], F32)})
    assert answer["y"].tolist() == [[-2, 0]]


def test_operators_that_nobody_can_convert_are_named() -> None:
    newer = read_words()
    del newer.model.opset_import[:]
    newer.model.opset_import.extend([
        helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 4),
    ])  # fmt: skip
    with pytest.raises(ExportBroken, match=r"step 'say' cannot be brought to .*ai\.onnx\.ml 4"):
        fuse([newer, add_up(), say_words()], LINE)


def test_functions_of_a_step_are_dissolved() -> None:
    body = helper.make_function(
        "own", "Twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])],
        [helper.make_opsetid("", 18)],
    )  # fmt: skip
    graph = helper.make_graph(
        [helper.make_node("Twice", ["x"], ["y"], domain="own")],
        "calls",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["B", 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["B", 1])],
    )
    model = helper.make_model(
        graph,
        functions=[body],
        opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid("own", 1)],
        ir_version=9,
    )
    steps = [StepModel("calls", "core", model)]
    assert not fuse(steps, NUMBERS).functions
    assert FusedModel(steps, NUMBERS).run({"x": np.ones((1, 1), F32)})["y"].tolist() == [[2]]


def test_the_same_steps_give_the_same_bytes(candidate: Candidate) -> None:
    one, other = (fuse(candidate.steps, SCORE_RISK) for _ in range(2))
    assert one.SerializeToString(deterministic=True) == other.SerializeToString(deterministic=True)


def test_the_steps_are_left_as_they_were(candidate: Candidate) -> None:
    before = [step.model.SerializeToString(deterministic=True) for step in candidate.steps]
    fuse(candidate.steps, SCORE_RISK)
    after = [step.model.SerializeToString(deterministic=True) for step in candidate.steps]
    assert after == before


def test_which_inputs_tell_how_long_a_row_is_is_said_of_the_whole_too() -> None:
    assert not fuse([read_words(), add_up()], LINE).metadata_props
    step = add_up()
    step.model.metadata_props.add(key=ALIKE, value="codes")
    (said,) = fuse([read_words(), step], LINE).metadata_props
    assert (said.key, said.value) == (ALIKE, "words"), "codes are made of words alone"
    step.model.metadata_props[0].value = "codes,x"
    (said,) = fuse([read_words(), step], LINE).metadata_props
    assert said.value == "words,x"


def test_steps_that_do_not_join_up_are_refused() -> None:
    with pytest.raises(ExportBroken, match=r"output 'y' .* is missing"):
        fuse([read_words()], LINE)


def test_no_step_may_be_called_like_the_variant() -> None:
    step = add_up()
    with pytest.raises(ExportBroken, match="step 'fused' is called like a variant"):
        fuse([read_words(), StepModel("fused", "core", step.model)], LINE)


def test_sparse_weights_are_refused() -> None:
    step = looping()
    step.model.graph.sparse_initializer.add().values.CopyFrom(onnx.TensorProto(name="w"))
    with pytest.raises(ExportBroken, match="step 'loop' has sparse weights"):
        fuse([step], NUMBERS)
