from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from gpu_readiness import reasons
from onnx import numpy_helper
from PIL import Image
from planted_images import SIDE, SQUARE, write_archive

from model_builder.diagnosis.image import building
from model_builder.diagnosis.image.building import KIND, TOLERANCES, networks
from model_builder.diagnosis.image.config import Augmentation, ImageConfig
from model_builder.diagnosis.image.explaining import Explain
from model_builder.diagnosis.image.reading import read_images
from model_builder.diagnosis.image.training import Fitted, train_members
from model_builder.errors import BaseUnusable, ParityBroken
from model_builder.evaluation.scaling import Scaling
from model_builder.export.chain import run_steps
from model_builder.export.ensemble import write_models
from model_builder.progress import SilentProgress
from model_builder.task import Candidate, ResolvedData
from model_builder.training.config import TrainingConfig
from model_builder.training.results import Epoch
from model_builder.training.session import Session
from triton_models.images import saliency_png
from triton_models.signatures import DIAGNOSE_IMAGE

pytestmark = pytest.mark.usefixtures("quick_torch")

CALM = Augmentation(cutout=0, mixup=0, noise=0, elastic=0)
CONFIG = ImageConfig(
    steps=40, members=2, width=8, batch_size=32, resamples=30, augment=CALM,
    training=TrainingConfig(ema_decay=0.8),
)  # fmt: skip


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> ResolvedData:
    path = write_archive(tmp_path_factory.mktemp("planted") / "planted.npz")
    return ResolvedData("planted", path, "")


@pytest.fixture(scope="session")
def built(data: ResolvedData, quick_torch: None) -> Candidate:
    return KIND.build(data, CONFIG, SilentProgress())


def test_the_steps_are_an_ensemble_of_the_line(built: Candidate, tmp_path: Path) -> None:
    inputs, outputs = write_models(tmp_path, built.line, "r1", built.steps, DIAGNOSE_IMAGE)
    assert [(one.name, one.data_type, one.dims) for one in inputs] == [
        ("pixels", "UINT8", (SIDE, SIDE, 1))
    ]
    assert [one.name for one in outputs] == ["probabilities", "unusualness", "saliency"]
    assert [step.role for step in built.steps] == ["pre", "core", "post", "post"]


def test_the_square_is_found_by_network_and_release_alike(built: Candidate) -> None:
    assert built.metrics["test"]["auc"].value > 0.99
    assert built.metrics["test"]["accuracy"].value > 0.95
    assert built.recorded is not None
    made = run_steps(built.steps, dict(built.recorded.inputs))
    for name, tolerance in TOLERANCES.items():
        np.testing.assert_allclose(made[name], built.recorded.outputs[name], atol=tolerance)
    assert built.parity.keys() == built.fused_parity.keys() == TOLERANCES.keys()


def test_classes_that_count_alike_come_with_a_constant_each(built: Candidate) -> None:
    assert CONFIG.class_weights == "balanced"
    (calibrate,) = (step.model for step in built.steps if step.name == "calibrate")
    held = {one.name: numpy_helper.to_array(one) for one in calibrate.graph.initializer}
    (constants,) = (value for name, value in held.items() if name.endswith("constants"))
    assert constants.shape == (2,)
    assert constants.any()
    assert 0 <= built.metrics["test"]["classwise_ece"].value < 0.2


def test_the_explanation_points_at_the_square(built: Candidate) -> None:
    assert built.recorded is not None
    pixels = built.recorded.inputs["pixels"]
    with_square = np.flatnonzero(pixels[:, 8, 18, 0] == 230)
    saliency = run_steps(built.steps, {"pixels": pixels[with_square]})["saliency"]
    spec = built.details["image"]
    inside = 0
    for one in saliency:
        shown = np.asarray(Image.open(io.BytesIO(saliency_png(one, (SIDE, SIDE), spec))))
        y, x = np.unravel_index(shown.argmax(), shown.shape)
        inside += SQUARE[0].start - 2 <= y < SQUARE[0].stop + 2 and (
            SQUARE[1].start - 2 <= x < SQUARE[1].stop + 2
        )
    assert inside >= 0.95 * len(with_square)


def test_noise_and_the_negative_of_an_image_are_unusual(built: Candidate) -> None:
    assert built.recorded is not None
    usual = built.recorded.inputs["pixels"]
    assert built.metrics["test"]["unusual_share"].value < 0.2
    draws = np.random.default_rng(0)
    strange = draws.integers(0, 256, (20, 3, 3, 1), dtype=np.uint8).repeat(10, 1).repeat(10, 2)
    answers = run_steps(built.steps, {"pixels": strange[:, :SIDE, :SIDE]})
    assert np.mean(answers["unusualness"] > 1) > 0.8
    negative = 255 - usual[usual[:, 8, 18, 0] == 230]
    assert np.mean(run_steps(built.steps, {"pixels": negative})["unusualness"] > 1) > 0.8


def test_a_report_and_the_operating_points_come_along(built: Candidate) -> None:
    assert b"Operating points" in built.extra_files["report.html"]
    assert built.details["operating_points"][0].name == "balanced"
    assert built.review_threshold is not None
    assert built.baselines["logistic_regression"]["test"]["auc"].value > 0.9


def test_steps_that_answer_otherwise_are_refused(
    built: Candidate, data: ResolvedData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building, "_steps", lambda *_: built.steps)
    with pytest.raises(ParityBroken, match="differs from torch"):
        KIND.build(data, CONFIG.model_copy(update={"steps": 3, "seed": 5}), SilentProgress())


def test_a_training_that_was_interrupted_goes_on_to_the_same_networks(
    data: ResolvedData, tmp_path: Path
) -> None:
    settings = CONFIG.training.model_copy(update={"checkpoint_steps": 1})
    config = CONFIG.model_copy(update={"steps": 6, "training": settings})
    images = read_images(data, config, None)
    prepare, network = networks(images, config, None)

    def trained() -> Fitted:
        return train_members(images, prepare, network, config, SilentProgress())

    class Stop(Exception):
        pass

    def stop(stage: str, epoch: Epoch) -> None:
        if stage == "train 2 of 2" and epoch.number == 3:
            raise Stop

    whole = trained()
    with pytest.raises(Stop), Session(folder=tmp_path, observe=stop):
        trained()
    with Session(folder=tmp_path, resume=True):
        again = trained()
    for one, other in zip(whole.test_answers, again.test_answers, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_explanation_is_of_the_likeliest_class() -> None:
    maps = torch.zeros(2, 3, 4, 4)
    maps[0, 2, 1, 3] = 5
    maps[0, 0, 0, 0] = 9
    maps[1, 1] = -1
    logits = torch.tensor([[0.0, 0.0, 3.0], [0.0, 3.0, 0.0]])
    shown = Explain(Scaling(1.0, (0.0, 0.0, 0.0)))(logits, maps)
    assert shown[0].argmax() == 1 * 4 + 3
    assert shown[0, 0, 0] == 0
    assert not shown[1].any()
    calibrated = Explain(Scaling(1.0, (8.0, 0.0, 0.0)))(logits, maps)
    assert calibrated[0].argmax() == 0


def test_a_base_that_is_none_says_so(data: ResolvedData, tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"base": str(tmp_path)})
    with pytest.raises(BaseUnusable, match="--base"):
        KIND.build(data, config, SilentProgress())


def test_tensorrt_takes_every_core(built: Candidate) -> None:
    assert reasons(built) == {"classify": ()}
