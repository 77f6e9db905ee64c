from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest
import torch

from model_builder.export.onnx import export_core
from model_builder.tabular.attribution import AttributedNetwork
from model_builder.tabular.packed import Dropout, PackedLinear, PackedNetwork

SIGNS = np.array([1, -1, 0, 0, 0], np.int8)
OWNERS = torch.tensor([[1, 0, 0, 0, 0], [0, 1, 0, 0, 0], [0, 0, 1, 1, 1]], dtype=torch.bool)
TYPICAL = torch.tensor([0.3, 0.0, 1.0, 0.0, -0.2])


def make_network(signs=None, **changes) -> PackedNetwork:
    torch.manual_seed(4)
    sizes = {"groups": 2, "packed": 3, "columns": 5, "width": 8, "depth": 3, "dropout": 0.0}
    made = PackedNetwork(**{**sizes, **changes}, signs=signs)
    for weight in made.parameters():
        torch.nn.init.normal_(weight)
    return made.eval()


@pytest.mark.parametrize("signs", [None, SIGNS], ids=["free", "signed"])
@pytest.mark.parametrize("depth", [1, 3])
def test_the_exported_network_answers_like_the_mean_of_the_members(signs, depth):
    network = make_network(signs, depth=depth)
    inputs = torch.randn(40, 5)
    logits, shares = AttributedNetwork(network, OWNERS, TYPICAL)(inputs)
    with torch.no_grad():
        expected = network(inputs).mean(dim=0)
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=1e-5)
    assert shares.shape == (40, 3)


def test_shares_add_up_and_a_typical_feature_has_none():
    made = AttributedNetwork(make_network(), OWNERS, TYPICAL)
    inputs = torch.randn(200, 5)
    inputs[:, 2:] = TYPICAL[2:]
    logits, shares = made(inputs)
    typical, _ = made(TYPICAL[None])
    distance = logits[:, 0] - typical[0, 0]
    torch.testing.assert_close(shares.sum(dim=1), distance, atol=1e-4, rtol=1e-4)
    assert (shares[:, 2] == 0).all()
    assert shares[:, :2].abs().mean() > 0.1


def test_the_graph_answers_like_torch():
    made = AttributedNetwork(make_network(), OWNERS, TYPICAL).eval()
    graph = export_core(made, {"inputs": torch.randn(2, 5)}, ["logits", "attributions"])
    inputs = torch.randn(64, 5)
    session = ort.InferenceSession(graph.SerializeToString())
    answers = session.run(["logits", "attributions"], {"inputs": inputs.numpy()})
    for answer, expected in zip(answers, made(inputs), strict=True):
        np.testing.assert_allclose(answer, expected.numpy(), atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize("column", [0, 1])
def test_a_signed_column_moves_every_member_one_way_whatever_the_weights(column):
    network = make_network(SIGNS)
    for row in torch.randn(20, 5):
        swept = row.repeat(101, 1)
        swept[:, column] = torch.linspace(-4, 4, 101)
        with torch.no_grad():
            steps = network(swept)[..., 0].diff(dim=1) * float(SIGNS[column])
        assert steps.min() >= -1e-4
        assert steps.max() > 0


def test_a_free_column_of_a_signed_network_moves_either_way():
    network = make_network(SIGNS)
    swept = torch.zeros(101, 5)
    swept[:, 3] = torch.linspace(-4, 4, 101)
    with torch.no_grad():
        steps = network(swept)[..., 0].diff(dim=1)
    assert steps.min() < 0 < steps.max()


def test_a_signed_network_can_leave_where_it_starts():
    torch.manual_seed(0)
    network = PackedNetwork(
        groups=1, packed=2, columns=5, width=8, depth=2, dropout=0.0, signs=SIGNS
    )
    rows = torch.randn(64, 5)
    network(rows).mul(rows[:, 0, None]).sum().backward()
    for layer in (network.leave, network.linear):
        assert layer.weight.grad[0, layer.fixed_in].abs().min() > 0


def test_groups_share_nothing_and_members_of_a_group_their_matrices():
    network = make_network()
    before = network(torch.ones(1, 5))[:, 0, 0].detach()
    with torch.no_grad():
        first = network.hidden[0]
        assert isinstance(first, PackedLinear)
        first.weight[0] += 1
    after = network(torch.ones(1, 5))[:, 0, 0].detach()
    assert (after[3:] == before[3:]).all()
    assert (after[:3] != before[:3]).all()


@pytest.mark.parametrize("signs", [None, SIGNS], ids=["free", "signed"])
def test_rows_that_all_members_see_are_mapped_like_rows_of_each(signs):
    first = make_network(signs).hidden[0]
    assert isinstance(first, PackedLinear)
    rows = torch.randn(40, 5)
    torch.testing.assert_close(first.of_rows(rows), first(rows.expand(2, 3, -1, -1)))


def test_dropout_drops_the_share_that_it_says_and_keeps_the_mean():
    torch.manual_seed(0)
    dropout, values = Dropout(0.3), torch.full((401, 1003), 2.0, requires_grad=True)
    kept = dropout(values)
    dropped = kept == 0
    assert float(dropped.float().mean()) == pytest.approx(0.3, abs=0.005)
    assert float(kept.detach().mean()) == pytest.approx(2.0, abs=0.02)
    columns = dropped.float().mean(dim=0)
    assert float(columns.std()) < 2 * (0.3 * 0.7 / 401) ** 0.5  # no column is favoured
    kept.sum().backward()
    torch.testing.assert_close(values.grad, kept.detach() / 2)
    assert not torch.equal(dropout(values) == 0, dropped)


@pytest.mark.parametrize(("share", "training"), [(0.0, True), (0.4, False)])
def test_dropout_leaves_alone_what_it_is_not_asked_to_drop(share, training):
    values = torch.randn(30, 5)
    assert torch.equal(Dropout(share).train(training)(values), values)


def test_dropout_of_everything_leaves_nothing():
    assert (Dropout(1.0)(torch.randn(30, 5)) == 0).all()
