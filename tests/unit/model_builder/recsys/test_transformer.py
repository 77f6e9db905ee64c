from __future__ import annotations

import numpy as np
import pytest
import torch

from model_builder.recsys.transformer import NextItemNetwork

HISTORY = torch.tensor([[0, 0, 3, 1, 4, 2]])


def test_a_later_item_changes_nothing_before_it(network):
    changed = HISTORY.clone()
    changed[0, 4] = 7
    before, after = network.states(HISTORY), network.states(changed)
    torch.testing.assert_close(after[0, :4], before[0, :4])
    assert not torch.allclose(after[0, 4], before[0, 4])
    assert not torch.allclose(after[0, 5], before[0, 5])


def test_a_short_history_is_read_like_the_end_of_a_long_one(network):
    """Places are counted back, so what training learnt at any place serves all."""
    shifted = torch.tensor([[3, 1, 4, 2, 5, 6]])
    torch.testing.assert_close(network.states(HISTORY)[0, 2:], network.states(shifted)[0, :4])


def test_the_order_of_a_history_matters(network):
    swapped = torch.tensor([[0, 0, 1, 3, 4, 2]])
    assert not torch.allclose(network(HISTORY), network(swapped))


def test_an_empty_history_gives_the_popularity_and_only_that_row(network):
    logits = network(torch.cat([torch.zeros_like(HISTORY), HISTORY]))
    torch.testing.assert_close(logits[0], network.popularity)
    torch.testing.assert_close(logits[1], network(HISTORY)[0])
    assert not torch.allclose(logits[1], network.popularity)


def test_an_item_that_nobody_had_is_unlikely_and_not_impossible():
    network = NextItemNetwork(torch.tensor([0, 9, 0]), width=4, layers=1, heads=1,
                              history_length=2, dropout=0)  # fmt: skip
    shares = network(torch.zeros(1, 2, dtype=torch.int64))[0, 1:].softmax(0)
    torch.testing.assert_close(shares, torch.tensor([10 / 11, 1 / 11]))


def test_a_history_that_has_begun_is_read_like_one_that_has_ended(network):
    """Training pads on the right, serving on the left; what an item is read as is the same."""
    begun = torch.tensor([[3, 1, 4, 2, 0, 0], [5, 0, 0, 0, 0, 0]])
    ended = torch.tensor([[0, 0, 3, 1, 4, 2], [0, 0, 0, 0, 0, 5]])
    begun_states, ended_states = network.states_of_begun(begun), network.states(ended)
    torch.testing.assert_close(begun_states[0, :4], ended_states[0, 2:])
    torch.testing.assert_close(begun_states[1, 0], ended_states[1, 5])


def test_the_loss_is_the_cross_entropy_of_the_asked_places(network):
    history = torch.tensor([[3, 1, 4, 2, 0]])
    labels = torch.tensor([[0, 4, 0, 9, 0]])
    expected = [
        -network(torch.tensor([row]))[0, 1:].log_softmax(0)[label - 1]
        for row, label in (([0, 0, 0, 0, 3, 1], 4), ([0, 0, 3, 1, 4, 2], 9))
    ]
    torch.testing.assert_close(network(history, labels), torch.stack(expected).mean())


@torch.no_grad()
def test_drawn_items_stand_for_the_whole_catalogue(make_network):
    """The loss over drawn items comes near the loss over all, on average over the draws."""
    network = make_network(items=100)
    network.items.weight *= 0.2  # a mean of exponentials needs many draws if they differ wildly
    history, labels = torch.tensor([[3, 1, 4, 2]]), torch.tensor([[0, 4, 2, 9]])
    whole = network(history, labels).item()
    network.negatives = 25
    drawn = [network(history, labels).item() for _ in range(100)]
    assert np.std(drawn) > 0
    assert np.mean(drawn) == pytest.approx(whole, abs=0.1)


def test_as_many_drawn_items_as_there_are_means_all(make_network):
    network = make_network(items=20)
    whole = network(HISTORY, HISTORY)
    network.negatives = 20
    torch.testing.assert_close(network(HISTORY, HISTORY), whole, rtol=0, atol=0)


def test_vectors_are_laid_out_at_the_usual_size(make_network):
    network = make_network(items=20)
    vectors = torch.randn(20, 8) * 50
    network.lay_out(vectors)
    laid_out = network.items.weight[1:].detach()
    assert laid_out.square().mean().sqrt().item() == pytest.approx(0.1)
    torch.testing.assert_close(laid_out / laid_out.norm(), vectors / vectors.norm())


def test_vectors_of_nothing_leave_the_network_as_it_is(make_network):
    network = make_network(items=20)
    before = network.items.weight.detach().clone()
    network.lay_out(torch.zeros(20, 8))
    torch.testing.assert_close(network.items.weight.detach(), before)
