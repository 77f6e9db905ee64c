"""Sets of the shapes that MedMNIST has, built with the defaults but for their length."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from model_builder.diagnosis.image import building
from model_builder.diagnosis.image.building import KIND
from model_builder.diagnosis.image.config import ImageConfig
from model_builder.diagnosis.image.reading import read_images
from model_builder.progress import SilentProgress
from model_builder.task import ResolvedData

pytestmark = pytest.mark.usefixtures("quick_torch")

SIDE = 28


def archive(path: Path, sizes: tuple[int, int, int], channels: int, shares: list[float]) -> Path:
    """Write planted images, ``(n, 28, 28[, 3])`` uint8, whose labels are ``(n, 1)`` uint8."""
    arrays = {}
    for seed, (split, rows) in enumerate(zip(("train", "val", "test"), sizes, strict=True)):
        draws = np.random.default_rng(seed)
        target = draws.choice(len(shares), rows, p=shares)
        target[: 2 * len(shares)] = np.tile(np.arange(len(shares)), 2)  # none is without
        shape = (rows, SIDE, SIDE) if channels == 1 else (rows, SIDE, SIDE, channels)
        pixels = draws.integers(60, 120, shape).astype(np.uint8)
        for row, k in enumerate(target):
            pixels[row, 3 * k : 3 * k + 4, 4:24] = 230
        arrays[f"{split}_images"] = pixels
        arrays[f"{split}_labels"] = target[:, None].astype(np.uint8)
    np.savez(path, **arrays)
    return path


def test_a_coloured_unbalanced_set_as_small_as_breastmnist_is_built(tmp_path: Path) -> None:
    sizes = (546, 30, 30)
    path = archive(tmp_path / "set.npz", sizes, 3, [0.7, 0.15, 0.1, 0.05])
    config = ImageConfig(steps=8, batch_size=8, width=8, members=1, resamples=5)
    built = KIND.build(ResolvedData("set", path, ""), config, SilentProgress())
    assert built.details["image"].channels == 3
    assert built.labels == ("0", "1", "2", "3")
    assert built.data.split == dict(zip(("train", "validation", "test"), sizes, strict=True))
    answers = np.array(built.answers["probabilities"].to_pylist())
    assert answers.shape == (30, 4)
    np.testing.assert_allclose(answers.sum(axis=1), 1, atol=1e-5)
    assert set(built.parity) == {"probabilities", "unusualness", "saliency"}
    assert np.isfinite(built.metrics["test"]["auc"].value)


@pytest.mark.parametrize("channels", [1, 3])
def test_eight_classes_and_labels_in_a_column_are_read(tmp_path: Path, channels: int) -> None:
    path = archive(tmp_path / "set.npz", (100, 30, 30), channels, [0.3] + [0.1] * 7)
    data = read_images(ResolvedData("set", path, ""), ImageConfig(), None)
    assert len(data.labels) == 8
    assert data.train.pixels.shape == (100, SIDE, SIDE, channels)
    assert data.train.target.shape == (100,)


def test_a_baseline_that_drew_no_row_of_a_rare_class_has_a_column_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = archive(tmp_path / "set.npz", (300, 40, 40), 1, [0.5, 0.0, 0.5])
    monkeypatch.setattr(building, "_BASELINE_ROWS", 20)
    config = ImageConfig(resamples=5, seed=1)
    data = read_images(ResolvedData("set", path, ""), config, None)
    drawn = np.random.default_rng(1).permutation(300)[:20]
    assert 1 not in data.train.target[drawn]
    found = building._baselines(data, config)["logistic_regression"]["test"]
    assert 0.5 < found["auc"].value <= 1
