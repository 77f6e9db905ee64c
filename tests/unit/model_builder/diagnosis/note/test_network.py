from __future__ import annotations

import pytest
import torch

from model_builder.diagnosis.note.explaining import Explain
from model_builder.diagnosis.note.network import NoteNetwork, SmallEncoder
from model_builder.diagnosis.note.training import answers, padded
from model_builder.evaluation.scaling import Scaling

ROWS = [[2, 3, 4, 5, 6, 7], [8], [3, 3, 9], [9, 8, 7, 6]]
CLASSES = 3


@pytest.fixture(params=[0, 2], ids=["embeddings", "convolutions"])
def network(request: pytest.FixtureRequest) -> NoteNetwork:
    torch.manual_seed(0)
    encoder = SmallEncoder(10, 16, request.param, dropout=0.1, word_dropout=0.5)
    return NoteNetwork(encoder, 16, CLASSES, dropout=0.1).eval()


def seen(network: NoteNetwork, rows: list[list[int]]) -> tuple[torch.Tensor, ...]:
    with torch.no_grad():
        return tuple(network(*padded(rows)))


def test_what_is_padded_answers_as_if_it_were_alone(network: NoteNetwork) -> None:
    logits, shares, features = seen(network, ROWS)
    for place, row in enumerate(ROWS):
        alone = seen(network, [row])
        torch.testing.assert_close(logits[place : place + 1], alone[0])
        torch.testing.assert_close(shares[place : place + 1, : len(row)], alone[1])
        torch.testing.assert_close(features[place : place + 1], alone[2])
        assert not shares[place, len(row) :].any()


def test_what_stands_at_padding_is_never_looked_at(network: NoteNetwork) -> None:
    ids, mask = padded(ROWS)
    with torch.no_grad():
        other = network(torch.where(mask == 1, ids, torch.tensor(7)), mask)
        torch.testing.assert_close(other.logits, network(ids, mask).logits)


def test_the_shares_of_the_tokens_add_up_to_the_logits(network: NoteNetwork) -> None:
    logits, shares, _ = seen(network, ROWS)
    torch.testing.assert_close(shares.sum(1) + network.head.bias, logits)


def test_a_row_of_padding_alone_gives_numbers(network: NoteNetwork) -> None:
    nothing = torch.zeros(1, 3, dtype=torch.int32)
    with torch.no_grad():
        assert torch.isfinite(network(nothing, nothing).logits).all()


def test_order_of_words_counts_where_there_are_convolutions() -> None:
    torch.manual_seed(0)
    for layers, alike in ((0, True), (1, False)):
        network = NoteNetwork(SmallEncoder(10, 8, layers, 0, 0), 8, 2, 0).eval()
        one, other = (seen(network, [row])[0] for row in ([2, 3, 4], [4, 3, 2]))
        assert torch.allclose(one, other, atol=1e-6) == alike


def test_words_are_hidden_in_training_alone() -> None:
    torch.manual_seed(0)
    encoder = SmallEncoder(10, 8, 0, dropout=0, word_dropout=0.5)
    ids, mask = padded([[5] * 200])
    hidden = (encoder.train()(ids, mask)[0] == 0).all(1).float().mean()
    assert 0.3 < hidden < 0.7
    assert encoder.eval()(ids, mask)[0].all(1).all()


def test_answers_of_many_rows_are_in_their_order(
    network: NoteNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("model_builder.diagnosis.note.training._TOKENS_AT_ONCE", 6)
    found = answers(network, ROWS)
    for place, row in enumerate(ROWS):
        logits, _, features = seen(network, [row])
        torch.testing.assert_close(torch.from_numpy(found.logits[place]), logits[0])
        torch.testing.assert_close(torch.from_numpy(found.features[place]), features[0])


def test_an_explanation_lifts_the_likeliest_class_above_the_others() -> None:
    logits = torch.tensor([[0.0, 2.0, 1.0]])
    shares = torch.tensor([[[1.0, 3.0, 1.0], [0.0, -1.0, 4.0]]])
    weights = Explain(Scaling(2.0, (0.0,) * CLASSES))(logits, shares)
    assert weights.tolist() == [[(3 - 1) / 2, (-1 - 2) / 2]]
    calibrated = Explain(Scaling(2.0, (0.0, 0.0, 1.0)))(logits, shares)
    assert calibrated.tolist() == [[(1 - 2) / 2, (4 + 0.5) / 2]]


def test_of_two_classes_the_weights_are_the_log_odds_that_are_answered(
    network: NoteNetwork,
) -> None:
    two = NoteNetwork(network.encoder, 16, 2, 0).eval()
    logits, shares, _ = seen(two, ROWS)
    likeliest = logits.argmax(1)
    signs = 2 * likeliest - 1
    constant = (two.head.bias[1] - two.head.bias[0]) * signs / 1.5
    odds = (logits[:, 1] - logits[:, 0]) * signs / 1.5
    torch.testing.assert_close(
        Explain(Scaling(1.5, (0.0, 0.0)))(logits, shares).sum(1) + constant, odds
    )
