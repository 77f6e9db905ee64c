from __future__ import annotations

import numpy as np
import pytest
import torch
from planted_images import planted

from model_builder.diagnosis.class_weights import class_weights
from model_builder.diagnosis.image.config import Augmentation, ImageConfig
from model_builder.diagnosis.image.dataset import Part
from model_builder.diagnosis.image.network import CompactNetwork, Members
from model_builder.diagnosis.image.preparing import Prepare, unit
from model_builder.diagnosis.image.training import (
    Batch,
    ImageBatches,
    epoch_begins,
    soft_cross_entropy,
)

PIXELS, LABELS = planted(50)
PART = Part(PIXELS[..., None], LABELS[:, 0].astype(np.int64))
CONFIG = ImageConfig(batch_size=16)
PREPARE = Prepare(1)


def batches(first: int, count: int, seed: int = 0) -> ImageBatches:
    return ImageBatches(PART, PREPARE, CONFIG, classes=2, seed=seed, first=first, count=count)


def test_a_batch_depends_on_nothing_but_its_place_and_the_seed() -> None:
    one, same = batches(0, 9)[7], batches(5, 4)[2]
    torch.testing.assert_close(one.images, same.images, atol=0, rtol=0)
    torch.testing.assert_close(one.truth, same.truth, atol=0, rtol=0)
    assert not torch.equal(batches(0, 9, seed=1)[7].images, one.images)


def test_every_row_comes_once_before_any_comes_again() -> None:
    given = batches(0, 50)
    rows = np.concatenate([given._rows(number) for number in range(50)])
    for start in range(0, len(rows), 50):
        assert sorted(rows[start : start + 50]) == list(range(50))
    assert rows[:50].tolist() != rows[50:100].tolist()


def test_batches_are_as_many_as_were_asked_for() -> None:
    given = batches(3, 4)
    assert len(list(given)) == len(given) == 4


@pytest.mark.parametrize("side", [8, 28, 29, 64, 100, 224])
def test_maps_add_up_to_the_logits_at_every_size(side: int) -> None:
    torch.manual_seed(0)
    network = CompactNetwork(1, 3, side, 8, 0.5).eval()
    with torch.no_grad():
        seen = network(torch.randn(2, 1, side, side))
    torch.testing.assert_close(
        seen.maps.mean((2, 3)) + network.head.bias, seen.logits, atol=1e-5, rtol=1e-4
    )
    assert 2 <= seen.maps.shape[2] <= 14


def test_members_answer_with_their_mean() -> None:
    torch.manual_seed(0)
    networks = [CompactNetwork(1, 2, 28, 8, 0.0).eval() for _ in range(2)]
    images = torch.randn(3, 1, 28, 28)
    with torch.no_grad():
        logits, maps, features = Members(networks)(images)
        one, other = (network(images) for network in networks)
    torch.testing.assert_close(logits, (one.logits + other.logits) / 2)
    torch.testing.assert_close(maps, (one.maps + other.maps) / 2)
    assert features.shape == (3, 64)


def test_equalised_images_do_not_tell_their_exposure() -> None:
    pixels = torch.from_numpy(PART.pixels[:4])
    darker = (pixels.float() * 0.5).to(torch.uint8)
    torch.testing.assert_close(PREPARE(pixels), PREPARE(darker), atol=0.08, rtol=0)
    plain = Prepare(1, equalise=False)
    assert (plain(pixels) - plain(darker)).abs().mean() > 0.5


def test_an_image_of_one_colour_stays_finite() -> None:
    assert not PREPARE(torch.full((1, 8, 8, 1), 77, dtype=torch.uint8)).any()


def test_grey_is_repeated_where_a_base_takes_colours() -> None:
    prepared = Prepare(3, (0.5, 0.4, 0.3), (0.2, 0.2, 0.2), equalise=False)(
        torch.from_numpy(PART.pixels[:2])
    )
    assert prepared.shape == (2, 3, 28, 28)
    torch.testing.assert_close(
        prepared[:, 2], (unit(torch.from_numpy(PART.pixels[:2]))[:, 0] - 0.3) / 0.2
    )


def test_balanced_weights_make_each_class_count_alike() -> None:
    target = np.array([0] * 9 + [1])
    weights = class_weights(target, 2, ImageConfig(class_weights="balanced"))
    torch.testing.assert_close(weights[0] * 9, weights[1] * 1)
    torch.testing.assert_close(weights[torch.from_numpy(target)].mean(), torch.tensor(1.0))
    assert class_weights(target, 2, ImageConfig(class_weights="none")).tolist() == [1, 1]


def test_the_loss_is_the_cross_entropy_where_truth_is_whole() -> None:
    logits = torch.tensor([[2.0, -1.0], [0.5, 0.5]])
    batch = Batch(torch.zeros(2, 1), torch.eye(2))
    found = soft_cross_entropy(lambda _: (logits,), batch, torch.ones(2), 0.1)  # type: ignore[arg-type]
    wanted = torch.nn.functional.cross_entropy(logits, torch.tensor([0, 1]), label_smoothing=0.1)
    torch.testing.assert_close(found, wanted)


def test_augmentation_eases_off_towards_the_end() -> None:
    how = Augmentation(final_share=0.25)
    assert how.after(0) is how.after(0.5) is how
    end = how.after(1)
    assert (end.rotation, end.noise, end.mixup) == (how.rotation / 4, how.noise / 4, 0)
    assert how.rotation > how.after(0.7).rotation > how.after(0.9).rotation > end.rotation
    assert how.after(0.7).mixup == how.mixup > 0


def test_left_and_right_are_not_exchanged_by_default() -> None:
    assert not Augmentation().flip


@pytest.mark.parametrize(("steps", "epochs"), [(30, 20), (50, 20), (40, 20), (7, 7), (3500, 20)])
def test_every_step_that_is_asked_for_is_taken(steps: int, epochs: int) -> None:
    begins = epoch_begins(steps, epochs)
    lengths = np.diff(begins)
    assert (begins[0], begins[-1], len(lengths)) == (0, steps, epochs)
    assert lengths.min() >= 1
    assert lengths.max() - lengths.min() <= 1
