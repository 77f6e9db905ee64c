from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from model_builder.recsys import surprise
from model_builder.recsys.surprise import surprise_among_all, surprise_among_drawn

Weights = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def weights(rows: int = 50, items: int = 30) -> Weights:
    draws = torch.Generator().manual_seed(3)
    shapes = ((rows, 8), (items, 8), (items,))
    made = (torch.randn(shape, generator=draws).requires_grad_() for shape in shapes)
    return tuple(made)  # type: ignore[return-value]


LABELS = torch.arange(50) % 7


def gradients(loss: torch.Tensor, of: Weights) -> list[torch.Tensor]:
    return list(torch.autograd.grad(loss * 3, of))


@pytest.fixture(params=[1, 40, 10**6], ids=["rows of one", "some rows", "all at once"])
def _blocks(request, monkeypatch):
    monkeypatch.setattr(surprise, "_CACHED", request.param * 30 // torch.get_num_threads())
    monkeypatch.setattr(surprise, "_ROWS_OF_A_DRAW", request.param)


@pytest.mark.usefixtures("_blocks")
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_value_and_gradient_are_those_of_the_cross_entropy(smoothing):
    given = weights()
    states, vectors, bias = given
    wanted = functional.cross_entropy(states @ vectors.T + bias, LABELS, label_smoothing=smoothing)
    found = surprise_among_all(*given, LABELS, smoothing)
    torch.testing.assert_close(found, wanted)
    for ours, theirs in zip(gradients(found, given), gradients(wanted, given), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.usefixtures("_blocks")
def test_drawing_very_many_is_drawing_all():
    """Every item is then taken and stands for itself alone."""
    torch.manual_seed(0)
    given = weights()
    wanted = surprise_among_all(*given, LABELS)
    found = surprise_among_drawn(*given, LABELS, 2000)
    torch.testing.assert_close(found, wanted)
    for ours, theirs in zip(gradients(found, given), gradients(wanted, given), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.usefixtures("_blocks")
@torch.no_grad()
def test_few_drawn_items_estimate_the_sum_over_the_catalogue_without_bias():
    """The exponential of the normaliser, which the correction makes exact on average."""
    torch.manual_seed(0)
    states, vectors, bias = weights(rows=1, items=400)
    vectors *= 0.5
    label = torch.tensor([2])
    logits = states @ vectors.T + bias
    sums = []
    for _ in range(2000):
        loss = surprise_among_drawn(states, vectors, bias, label, 20)
        sums.append((loss + logits[0, 2]).exp())
    drawn = torch.stack(sums)
    error = drawn.std() / len(sums) ** 0.5
    assert drawn.std() > 0
    assert abs(drawn.mean() - logits.exp().sum()) < 4 * error


def test_what_is_unlikely_beyond_single_precision_still_teaches():
    states, vectors = torch.tensor([[200.0]], requires_grad=True), torch.tensor([[1.0], [-1.0]])
    loss = surprise_among_all(states, vectors, torch.zeros(2), torch.tensor([1]))
    (gradient,) = torch.autograd.grad(loss, states)
    assert 80 < loss.item() < float("inf")
    assert gradient.item() == pytest.approx(2.0)


def test_half_precision_is_taken_where_it_is_asked_for():
    given = weights()
    whole = surprise_among_all(*given, LABELS)
    with torch.autocast("cpu", torch.bfloat16):
        half = surprise_among_all(*given, LABELS)
    assert half.dtype == torch.float32
    assert half.item() != whole.item()
    torch.testing.assert_close(half, whole, rtol=0.02, atol=0)
    for ours, theirs in zip(gradients(half, given), gradients(whole, given), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0.1, atol=0.05)


@torch.no_grad()
def test_without_gradients_the_value_is_the_same():
    given = weights()
    with torch.enable_grad():
        wanted = surprise_among_all(*given, LABELS).detach()
    torch.testing.assert_close(surprise_among_all(*given, LABELS), wanted)
