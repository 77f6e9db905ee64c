from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from planted_notes import planted_notes

from model_builder.diagnosis.class_weights import class_weights
from model_builder.diagnosis.note.config import NoteConfig
from model_builder.diagnosis.note.network import NoteNetwork, SmallEncoder
from model_builder.diagnosis.note.tokenizing import learn_tokenizer
from model_builder.diagnosis.note.training import (
    Batch,
    answers,
    batches_of,
    begin_with_probe,
    padded,
    weighted_loss,
)
from triton_models.notes import NoteTokenizer

ROWS = [[number] * (number % 3 + 1) for number in range(1, 24)]
TARGET = np.arange(23) % 2


def test_an_epoch_has_every_row_once_with_its_class() -> None:
    batches = batches_of(ROWS, TARGET, 5, seed=0, epoch=0)
    assert sorted(len(batch.target) for batch in batches) == [3, 5, 5, 5, 5]
    first = torch.cat([batch.token_ids[:, 0] for batch in batches])
    target = torch.cat([batch.target for batch in batches])
    assert sorted(first.tolist()) == list(range(1, 24))
    assert ((first - 1) % 2 == target).all()


def test_seed_and_epoch_alone_decide_the_order() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        batches = batches_of(ROWS, TARGET, 5, seed, epoch)
        return torch.cat([batch.token_ids[:, 0] for batch in batches]).tolist()

    assert order(0, 1) == order(0, 1)
    assert len({tuple(order(*one)) for one in ((0, 0), (0, 1), (1, 0))}) == 3


def test_notes_of_like_length_learn_together_and_not_always_the_same_ones() -> None:
    rows = [[1] * length for length in range(1, 65)]
    epochs = [batches_of(rows, np.arange(64), 4, seed=0, epoch=epoch) for epoch in range(2)]
    for batches in epochs:
        tokens = sum(batch.attention_mask.sum().item() for batch in batches)
        assert sum(batch.token_ids.numel() for batch in batches) < 1.25 * tokens
        longest = [batch.token_ids.shape[1] for batch in batches]
        assert longest != sorted(longest)
    first, second = ({tuple(b.target.tolist()) for b in batches} for batches in epochs)
    assert len(first & second) < 4


def test_rows_are_padded_on_the_right() -> None:
    ids, mask = padded([[5, 6, 7], [8]])
    assert ids.tolist() == [[5, 6, 7], [8, 0, 0]]
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0]]


def test_balanced_classes_count_alike_however_rare() -> None:
    target = np.array([0] * 8 + [1] * 2)
    weights = class_weights(target, 2, NoteConfig(class_weights="balanced"))
    assert (weights * torch.tensor([8.0, 2.0])).tolist() == pytest.approx([5, 5])
    assert class_weights(target, 2, NoteConfig()).tolist() == [1, 1]


def test_the_loss_is_the_weighted_mean_of_the_rows() -> None:
    class Fixed(torch.nn.Module):
        def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor]:
            return (torch.tensor([[2.0, 0.0], [0.0, 1.0]]),)

    batch = Batch(*padded([[1], [2]]), torch.tensor([0, 0]))
    loss = weighted_loss(Fixed(), batch, torch.tensor([3.0, 1.0]), smoothing=0.0)
    rows = [np.log1p(np.exp(-2)), np.log1p(np.exp(1))]
    assert loss.item() == pytest.approx(3 * np.mean(rows))


@pytest.mark.parametrize("classes", [2, 3])
def test_the_probe_begins_where_a_regression_on_the_features_ends(classes: int) -> None:
    torch.manual_seed(0)
    network = NoteNetwork(SmallEncoder(30, 32, 0, 0, 0), 32, classes, 0.1).train()
    target = np.arange(60) % classes
    rows = [[int(kind) + 2, 10 + place % 15] for place, kind in enumerate(target)]
    begin_with_probe(network, (rows, target), (rows[:30], target[:30]))
    assert network.training
    assert (answers(network.eval(), rows).logits.argmax(1) == target).mean() > 0.95


def test_a_tokenizer_is_learnt_from_the_notes_and_reads_what_is_new_in_pieces() -> None:
    notes, _ = planted_notes(200)
    content = learn_tokenizer(notes, 300)
    assert content == learn_tokenizer(notes, 300)
    tokenizer = NoteTokenizer(content, 32)
    vocabulary = json.loads(content)["model"]["vocab"]
    assert tokenizer.ids("Palpitations") == [vocabulary["palpitations"]]
    assert vocabulary["[PAD]"] == 0
    assert tokenizer.size == len(vocabulary) <= 300
    assert len(tokenizer.ids("palpwheez")) > 1
