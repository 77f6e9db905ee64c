from __future__ import annotations

import pytest
import torch

from model_builder.diagnosis.image.augmenting import Augmenter
from model_builder.diagnosis.image.config import Augmentation

NONE = {name: 0 for name in Augmentation.model_fields if name not in ("flip", "final_share")}
IMAGES = torch.rand(16, 1, 28, 28, generator=torch.Generator().manual_seed(5))
TRUTH = torch.eye(2)[torch.arange(16) % 2]


def augmenter(seed: int = 0, **how: float) -> Augmenter:
    return Augmenter(Augmentation(**(NONE | how)), torch.Generator().manual_seed(seed))


def test_nothing_asked_for_changes_nothing() -> None:
    torch.testing.assert_close(augmenter()(IMAGES), IMAGES, atol=1e-5, rtol=0)
    mixed, truth = augmenter().mixed(IMAGES, TRUTH)
    assert mixed is IMAGES
    assert truth is TRUTH


@pytest.mark.parametrize("name", [name for name in NONE if name != "mixup"])
def test_each_change_changes_rows_by_draws_of_their_own(name: str) -> None:
    how = {name: 0.5 if name not in ("rotation", "shear") else 20}
    changed = augmenter(**how)(IMAGES)
    assert changed.shape == IMAGES.shape
    assert torch.isfinite(changed).all()
    moved = (changed - IMAGES).abs().amax((1, 2, 3)) > 1e-3
    assert moved.sum() >= 4
    torch.testing.assert_close(augmenter(**how)(IMAGES), changed, atol=0, rtol=0)
    assert not torch.equal(augmenter(1, **how)(IMAGES), changed)


def test_left_and_right_are_exchanged_only_if_asked_for() -> None:
    flipped = augmenter(flip=True)(IMAGES)
    as_it_was = (flipped - IMAGES).abs().amax((1, 2, 3)) < 1e-4
    the_other_way = (flipped - IMAGES.flip(3)).abs().amax((1, 2, 3)) < 1e-4
    assert (as_it_was | the_other_way).all()
    assert 2 <= the_other_way.sum() <= 14
    unasked = Augmenter(Augmentation(), torch.Generator().manual_seed(0))
    assert not unasked._how.flip


def test_a_shift_moves_by_no_more_than_its_share() -> None:
    dot = torch.zeros(64, 1, 29, 29)
    dot[:, :, 14, 14] = 1
    moved = augmenter(shift=0.2)(dot)
    weight = moved / moved.sum((2, 3), keepdim=True)
    x = (weight * torch.arange(29.0)).sum((1, 2, 3)) - 14
    assert x.abs().max() <= 0.2 * 29 + 0.6
    assert x.abs().max() > 0.1 * 29


def test_cutout_leaves_a_square_of_the_mean() -> None:
    cut = augmenter(cutout=1)(IMAGES)
    for row, whole in zip(cut, IMAGES, strict=True):
        hole = (row - whole).abs() > 1e-4
        assert 0.01 < hole.float().mean() < 0.2
        assert torch.allclose(row[hole], whole.mean())


def test_mixup_mixes_truth_as_it_mixes_images() -> None:
    images, truth = augmenter(mixup=1.0).mixed(IMAGES, TRUTH)
    torch.testing.assert_close(truth.sum(1), torch.ones(16))
    generator = torch.Generator().manual_seed(0)
    for _ in range(2):
        torch._standard_gamma(torch.tensor([1.0]), generator=generator)
    other = torch.randperm(16, generator=generator)
    changed = TRUTH[:, 0] != TRUTH[other, 0]
    share = truth[changed].amax(1)[0] if truth[changed][0].argmax() == TRUTH[changed][0].argmax() \
        else truth[changed].amin(1)[0]  # fmt: skip
    torch.testing.assert_close(images, share * IMAGES + (1 - share) * IMAGES[other])


def test_colours_are_changed_together() -> None:
    grey = IMAGES.expand(-1, 3, -1, -1)
    how = Augmentation(noise=0)
    changed = Augmenter(how, torch.Generator().manual_seed(2))(grey)
    torch.testing.assert_close(changed[:, 0], changed[:, 1])
    torch.testing.assert_close(changed[:, 0], changed[:, 2])
