from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

from model_builder.export.onnx import export_core
from model_builder.tabular.network import OccludedNetwork, TabularNetwork

OWNERS = torch.tensor([[1, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 1]], dtype=torch.bool)
TYPICAL = torch.tensor([0.0, 1.0, 0.0, 0.0])


def make_network() -> TabularNetwork:
    torch.manual_seed(0)
    made = TabularNetwork(members=3, columns=4, logits=2, width=8, depth=2, dropout=0.5)
    for weight in made.parameters():  # the last layers start at 0
        torch.nn.init.normal_(weight, std=0.5)
    return made.eval()


@pytest.fixture
def network() -> TabularNetwork:
    return make_network()


@pytest.fixture(scope="module")
def exported() -> onnx.ModelProto:
    occluded = OccludedNetwork(make_network(), OWNERS, TYPICAL).eval()
    return export_core(occluded, {"inputs": torch.randn(2, 4)}, ["logits", "reset_logits"])


def test_members_share_nothing(network):
    inputs = torch.randn(5, 4)
    before = network(inputs).detach().clone()
    with torch.no_grad():
        for weight in network.parameters():
            weight.view(3, -1)[1] += 1
    after = network(inputs)

    assert after.shape == (3, 5, 2)
    assert torch.equal(after[0], before[0])
    assert not torch.allclose(after[1], before[1])
    assert torch.equal(after[2], before[2])


def test_training_starts_from_no_opinion():
    fresh = TabularNetwork(members=2, columns=4, logits=1, width=8, depth=1, dropout=0.0)
    assert not fresh(torch.randn(6, 4)).any()


def test_gains_and_shifts_are_not_decayed(network):
    """The loop decays what has two axes or more."""
    vectors = {name for name, weight in network.named_parameters() if weight.ndim < 2}
    assert {name for name in network.state_dict() if "gain" in name or "shift" in name} <= vectors


def test_a_reset_is_the_answer_for_the_row_with_the_typical_value(network):
    occluded = OccludedNetwork(network, OWNERS, TYPICAL).eval()
    inputs = torch.randn(6, 4)
    logits, reset = occluded(inputs)

    assert torch.allclose(logits, network(inputs).mean(dim=0), atol=1e-6)
    for f, owned in enumerate(OWNERS):
        changed = torch.where(owned, TYPICAL, inputs)
        assert torch.allclose(reset[:, f], network(changed).mean(dim=0), atol=1e-6)


@pytest.mark.parametrize("rows", [1, 2, 7, 33])
def test_a_typical_feature_changes_nothing_at_all_in_torch_and_onnx(network, exported, rows):
    occluded = OccludedNetwork(network, OWNERS, TYPICAL).eval()
    inputs = torch.randn(rows, 4)
    inputs[:, 1:3] = TYPICAL[1:3]
    session = ort.InferenceSession(exported.SerializeToString())
    answered = session.run(None, {"inputs": inputs.numpy()})
    with torch.no_grad():
        expected = [output.numpy() for output in occluded(inputs)]

    for logits, reset in (answered, expected):
        assert (reset[:, 1] == logits).all()
        assert (reset[:, 0] != logits).any()
    for one, other in zip(answered, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


class Wobbling(torch.nn.Module):
    """Answers a little differently at each place of a batch, as sums in another order do."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        wobble = torch.arange(len(inputs)).unsqueeze(1) * 1e-3
        return (inputs.sum(dim=1, keepdim=True) + wobble).unsqueeze(0)


def test_a_typical_feature_changes_nothing_even_if_sums_wobble():
    occluded = OccludedNetwork(Wobbling(), OWNERS, TYPICAL)
    inputs = torch.randn(5, 4)
    inputs[:, 1:3] = TYPICAL[1:3]
    logits, reset = occluded(inputs)
    assert torch.equal(reset[:, 1], logits)
    assert (reset[:, 2] != logits).all()


def test_the_logits_alone_do_not_need_the_resets(exported):
    needed = {"logits"}
    for node in reversed(exported.graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
    read = {weights.name for weights in exported.graph.initializer} & needed
    assert "owners" not in read
    assert "owners" in {weights.name for weights in exported.graph.initializer}


def test_the_exported_network_is_fit_for_tensorrt(exported):
    assert {opset.domain for opset in exported.opset_import} <= {""}
    types = {value.type.tensor_type.elem_type for value in exported.graph.input}
    assert types == {1}  # FLOAT
