from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto
from torch import nn

from model_builder.errors import CannotDerive
from model_builder.export.onnx import export_core, serialised
from model_builder.export.running import OnnxModel
from model_builder.opened_release import Opened
from model_builder.variants import quantising
from model_builder.variants.calibrating import calibration_inputs
from model_builder.variants.half import stored_in_half
from model_builder.variants.quantising import (
    layers_of,
    quantised_dynamically,
    quantised_statically,
)


class Three(nn.Module):
    """Three layers, of which the last gives the answer."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first, second, third = self.layers
        return third(torch.relu(second(torch.relu(first(x)))))


class Best(Three):
    """Picks the best of many."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x).topk(3, dim=1).values


class Summed(nn.Module):
    """What two layers make is added to what came in, twice, as in a transformer."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.blocks = nn.ModuleList(Three() for _ in range(2))
        self.norm = nn.LayerNorm(32)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = x + block(x)
        return self.norm(x)


def inputs(rows: int = 64, seed: int = 0) -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(seed).normal(size=(rows, 32)).astype(np.float32)}


@pytest.fixture
def three() -> onnx.ModelProto:
    return export_core(Three(), {"x": torch.randn(2, 32)}, ["y"])


def kinds(model: onnx.ModelProto) -> set[str]:
    return {node.op_type for node in model.graph.node}


def spread_of(model: onnx.ModelProto, other: onnx.ModelProto) -> float:
    asked = inputs(seed=9)
    one, two = (OnnxModel(serialised(each)).run(asked)["y"] for each in (model, other))
    return float(np.abs(one - two).max() / one.std())


def test_static_quantising_stays_near_and_keeps_the_last_layer(three: onnx.ModelProto) -> None:
    made = quantised_statically(three, [inputs()])
    onnx.checker.check_model(made.model, full_check=True)
    assert made.layers == 2
    assert len(made.in_float) == 1
    assert {"QuantizeLinear", "DequantizeLinear"} <= kinds(made.model)
    assert {node.domain for node in made.model.graph.node} == {""}
    assert made.moved < quantising.MOST_MOVED
    assert 0 < spread_of(three, made.model) < 0.3
    assert len(serialised(made.model)) < 0.8 * len(serialised(three))


def test_weights_are_quantised_by_channel(three: onnx.ModelProto) -> None:
    made = quantised_statically(three, [inputs()]).model
    scales = [w for w in made.graph.initializer if w.name.endswith("weight_scale") or (
        "scale" in w.name and list(w.dims) == [32])]  # fmt: skip
    assert any(list(scale.dims) == [32] for scale in scales)
    signed = {w.data_type for w in made.graph.initializer if len(w.dims) == 2}
    assert TensorProto.INT8 in signed


def test_a_row_does_not_feel_its_company_when_ranges_are_fixed(three: onnx.ModelProto) -> None:
    fixed = OnnxModel(serialised(quantised_statically(three, [inputs()]).model))
    moving = OnnxModel(serialised(quantised_dynamically(three).model))
    row = inputs(1, seed=4)["x"]
    loud = np.concatenate([row, 50 * row])
    (alone, with_loud) = (fixed.run({"x": x})["y"][0] for x in (row, loud))
    np.testing.assert_allclose(with_loud, alone, atol=1e-5)
    (alone, with_loud) = (moving.run({"x": x})["y"][0] for x in (row, loud))
    assert np.abs(with_loud - alone).max() > 0.01, "its range is the batch's"


def test_dynamic_quantising_stays_near(three: onnx.ModelProto) -> None:
    made = quantised_dynamically(three)
    assert made.layers == 2
    assert "DynamicQuantizeLinear" in kinds(made.model)
    assert spread_of(three, made.model) < 0.3


def test_what_picks_the_best_stays_in_float() -> None:
    model = export_core(Best(), {"x": torch.randn(2, 32)}, ["y"])
    may, may_not = layers_of(model)
    assert may == []
    assert len(may_not) == 3
    with pytest.raises(CannotDerive, match="none of its layers"):
        quantised_statically(model, [inputs()])
    with pytest.raises(CannotDerive, match="none of its layers"):
        quantised_dynamically(model)


def test_a_layer_that_adds_to_a_sum_is_quantised_where_another_one_reads_the_sum() -> None:
    model = export_core(Summed(), {"x": torch.randn(2, 32)}, ["y"])
    may, last = layers_of(model)
    assert len(may) == 5
    assert len(last) == 1, "what the second block adds is read by nothing but the answer"


def test_what_a_product_gives_stays_in_float() -> None:
    """A sum of many layers has a wide range, which eight bits would share out coarsely."""
    model = export_core(Summed(), {"x": torch.randn(2, 32)}, ["y"])
    made = quantised_statically(model, [inputs()]).model
    readers = {name: node.op_type for node in made.graph.node for name in node.input}
    products = [node.output[0] for node in made.graph.node if node.op_type in ("Gemm", "MatMul")]
    assert len(products) == 6
    assert "QuantizeLinear" not in {readers[name] for name in products}
    assert "QuantizeLinear" in kinds(made)


def test_what_has_no_weights_is_not_quantised() -> None:
    """Weights of attention reach from 0 to 1, and most are near 0: eight bits would lose them."""

    class Looking(Three):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            rows = super().forward(x)[:, None] + self.layers[0].bias[:, None]
            return self.layers[1]((rows @ rows.transpose(1, 2)).softmax(-1) @ rows)

    model = export_core(Looking(), {"x": torch.randn(2, 32)}, ["y"])
    made = quantised_statically(model, [inputs()])
    assert made.layers == 3
    makers = {name: node.op_type for node in made.model.graph.node for name in node.output}
    weights = {one.name for one in made.model.graph.initializer}
    products = [node for node in made.model.graph.node if node.op_type == "MatMul"]
    attention = [node for node in products if not weights.intersection(node.input)
                 and makers[node.input[1]] != "DequantizeLinear"]  # fmt: skip
    assert len(attention) == 2
    assert {makers[name] for node in attention for name in node.input}.isdisjoint(
        {"DequantizeLinear"}
    )


def test_the_layer_that_moves_answers_most_goes_back_to_float(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network = Three()
    with torch.no_grad():
        network.layers[1].weight[0] *= 3000  # one channel dwarfs all others of its output
        network.layers[2].weight[:, 0] /= 3000
    model = export_core(network, {"x": torch.randn(2, 32)}, ["y"])
    batches = [inputs()]
    monkeypatch.setattr(quantising, "MOST_MOVED", 1e9)
    rough = quantised_statically(model, batches)
    assert rough.sensitive == ()
    monkeypatch.setattr(quantising, "MOST_MOVED", rough.moved / 2)
    careful = quantised_statically(model, batches)
    assert len(careful.sensitive) == 1
    assert careful.layers == 1
    assert careful.moved < rough.moved


def test_an_image_network_is_quantised_by_training_rows(images: Opened) -> None:
    batches = calibration_inputs(images, images.steps)
    core = next(step for step in images.steps if step.role == "core")
    assert {len(each) for each in batches.values()} == {8}, "120 rows, 16 at once"
    made = quantised_statically(core.model, batches[core.name])
    may, last = layers_of(core.model)
    assert made.layers == len(may) == 13
    assert len(last) == 2, "the head, and the maps by the same weights"
    assert made.sensitive == ()


def test_no_calibration_rows_no_ranges(images: Opened) -> None:
    reports = {k: v for k, v in images.reports.items() if k != "calibration.parquet"}
    bare = Opened(images.manifest, images.manifest_sha256, images.models, reports)
    with pytest.raises(CannotDerive, match=r"no calibration\.parquet"):
        calibration_inputs(bare, bare.steps)


def test_calibration_rows_are_of_the_training_split(images: Opened) -> None:
    import small_images

    from model_builder.proof.recorded import CALIBRATION, from_parquet

    with np.load(small_images.data().path) as arrays:
        train = {row.tobytes() for row in arrays["train_images"]}
        test = {row.tobytes() for row in arrays["test_images"]}
    kept = from_parquet(images.reports[CALIBRATION]).inputs["pixels"]
    rows = {np.ascontiguousarray(row[..., 0]).tobytes() for row in np.asarray(kept)}
    assert rows <= train
    assert not rows & test
    assert images.manifest.recorded[CALIBRATION], "it is signed with the rest"


def test_weights_in_half_halve_the_file_and_barely_move_the_answers(
    three: onnx.ModelProto,
) -> None:
    made, count = stored_in_half(three)
    onnx.checker.check_model(made, full_check=True)
    assert count == 3
    assert len(serialised(made)) < 0.65 * len(serialised(three))
    assert 0 < spread_of(three, made) < 0.01
    assert sum(w.data_type == TensorProto.FLOAT16 for w in made.graph.initializer) == 3


def test_what_half_cannot_hold_stays(three: onnx.ModelProto) -> None:
    weight = next(w for w in three.graph.initializer if len(w.dims) == 2)
    weight.CopyFrom(onnx.numpy_helper.from_array(np.full((32, 32), 1e6, np.float32), weight.name))
    assert stored_in_half(three)[1] == 2
