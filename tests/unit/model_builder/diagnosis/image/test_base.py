from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from planted_images import write_archive

from model_builder.diagnosis.image.base import BaseNetwork, find_base
from model_builder.diagnosis.image.building import KIND
from model_builder.diagnosis.image.config import Augmentation, ImageConfig
from model_builder.errors import BaseUnusable
from model_builder.progress import SilentProgress
from model_builder.task import ResolvedData
from model_builder.training.config import TrainingConfig
from triton_models.release import ImageSpec

pytestmark = pytest.mark.usefixtures("quick_torch")


@pytest.fixture(scope="session")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny models with random weights, saved as pretrained ones are."""
    from transformers import BertConfig, BertModel, ResNetConfig, ResNetModel, ViTConfig, ViTModel
    from transformers.utils import logging

    logging.disable_progress_bar()
    folder = tmp_path_factory.mktemp("bases")
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ViTModel(
            ViTConfig(
                hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48,
                image_size=28, patch_size=7,
            )
        ).save_pretrained(folder / "vit")  # fmt: skip
        ResNetModel(
            ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic")
        ).save_pretrained(folder / "resnet")
        BertModel(
            BertConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
                       intermediate_size=16, vocab_size=30)
        ).save_pretrained(folder / "bert")  # fmt: skip
    (folder / "vit" / "preprocessor_config.json").write_text(
        json.dumps({"size": {"height": 28, "width": 28}, "image_mean": [0.5, 0.4, 0.3],
                    "image_std": [0.2, 0.2, 0.2]})
    )  # fmt: skip
    return folder


def test_what_a_base_was_trained_with_is_taken_over(bases: Path) -> None:
    base = find_base(str(bases / "vit"))
    assert (base.side, base.channels, base.mean) == (28, 3, (0.5, 0.4, 0.3))
    assert find_base(str(bases / "resnet")).side == 224


@pytest.mark.parametrize("name", ["vit", "resnet"])
def test_maps_add_up_to_the_logits_of_any_base(bases: Path, name: str) -> None:
    base = find_base(str(bases / name))
    network = base.network(3, dropout=0.1)
    assert isinstance(network, BaseNetwork)
    assert network.training
    with torch.no_grad():
        seen = network.eval()(torch.randn(2, 3, base.side, base.side))
    torch.testing.assert_close(
        seen.maps.mean((2, 3)) + network.head.bias, seen.logits, atol=1e-5, rtol=1e-4
    )
    assert seen.maps.shape[1] == 3
    assert seen.maps.shape[2] >= 4


def test_a_model_of_texts_is_refused(bases: Path) -> None:
    with pytest.raises(BaseUnusable, match="--base"):
        find_base(str(bases / "bert")).network(2, 0.0)


def test_images_that_a_base_does_not_take_are_refused_by_name(bases: Path, tmp_path: Path) -> None:
    data = ResolvedData("a", write_archive(tmp_path / "a.npz", (16, 8, 8)), "")
    config = ImageConfig(base=str(bases / "vit"), image_size=35, steps=1)
    with pytest.raises(BaseUnusable, match=r"--base .*35"):
        KIND.build(data, config, SilentProgress())
    spec = ImageSpec(height=28, width=28, channels=3, fit="crop")
    grey = replace(find_base(str(bases / "vit")), channels=1)
    with pytest.raises(BaseUnusable, match="images of 1 channel, these have 3"):
        grey.check(spec)


@pytest.mark.parametrize(
    ("name", "strategy", "layer_decay"),
    [("vit", "full", 0.8), ("vit", "lora", 1.0), ("vit", "head", 1.0), ("resnet", "full", 1.0)],
)
def test_a_base_is_fine_tuned_by_every_strategy(
    bases: Path, tmp_path: Path, name: str, strategy: str, layer_decay: float
) -> None:
    config = ImageConfig(
        base=str(bases / name), image_size=28, steps=20, batch_size=16, resamples=10,
        learning_rate=3e-3, augment=Augmentation(mixup=0, cutout=0),
        training=TrainingConfig(strategy=strategy, layer_decay=layer_decay, ema_decay=0.5),
    )  # fmt: skip
    path = write_archive(tmp_path / "a.npz", (48, 16, 16))
    built = KIND.build(ResolvedData("a", path, ""), config, SilentProgress())
    assert built.details["image"].channels == 1  # the base's three are made of it in the release
    assert built.metrics["test"]["auc"].value > 0.6
    assert set(built.parity) == {"probabilities", "unusualness", "saliency"}
