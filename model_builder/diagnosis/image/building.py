"""Builds releases of the line ``diagnose-image``: findings from pictures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch import nn
from torch.nn import functional

from model_builder.diagnosis.calibrate_step import Calibrate
from model_builder.diagnosis.image.base import Base, find_base
from model_builder.diagnosis.image.config import ImageConfig
from model_builder.diagnosis.image.dataset import ImageData, Part
from model_builder.diagnosis.image.explaining import Explain
from model_builder.diagnosis.image.network import CompactNetwork
from model_builder.diagnosis.image.preparing import Prepare, unit
from model_builder.diagnosis.image.pruning import weights_file
from model_builder.diagnosis.image.reading import read_images
from model_builder.diagnosis.image.training import Fitted, train_members
from model_builder.diagnosis.judging import (
    Answered,
    calibrate_step,
    calibrated,
    judged,
    measured_baselines,
)
from model_builder.diagnosis.report import Shown, page
from model_builder.diagnosis.unusual import Usual
from model_builder.evaluation.scaling import Scaling
from model_builder.export.onnx import export_core
from model_builder.export.variants import compare_variants
from model_builder.previous import WEIGHTS
from model_builder.progress import Progress
from model_builder.proof.recorded import Recorded, calibration_rows
from model_builder.tabular.evaluation import (
    logistic_regression,
)
from model_builder.task import Candidate, Learnt, Metrics, ResolvedData, StepModel, TaskConfig
from triton_models.images import encode_png
from triton_models.signatures import DIAGNOSE_IMAGE

TOLERANCES = {
    "probabilities": 1e-4,
    "unusualness": 1e-3,
    "saliency": 2e-3,
}
"""How far the exported steps may be from torch, by output: convolutions sum in other orders."""

_ROWS_AT_ONCE = 128
"""Pictures fill the memory."""
_BASELINE_SIDE = 14
_BASELINE_ROWS = 10_000

Answers = dict[str, npt.NDArray[Any]]


class Images:
    """Builds releases of the line ``diagnose-image``."""

    name: ClassVar[str] = "diagnosis"
    summary: ClassVar[str] = "Names a finding from an image, with its probability."
    default_data: ClassVar[str] = "pneumoniamnist"
    config_type: ClassVar[type[TaskConfig]] = ImageConfig

    def build(self, data: ResolvedData, config: ImageConfig, progress: Progress) -> Candidate:
        """Train, evaluate and export.

        Raises:
            DataFault: If the data cannot be used.
            ParityBroken: If an exported step does not answer like torch.
        """
        return self._built(data, config, progress, None)

    def pruned_from(
        self, data: ResolvedData, config: ImageConfig, progress: Progress, learnt: Learnt
    ) -> Candidate:
        """Prune what a release had learnt from the same images, and train it until it recovers.

        Raises:
            CannotGoOn: If its network is of another kind.
            DataFault: If the data cannot be used.
            ParityBroken: If an exported step does not answer like torch.
        """
        return self._built(data, config, progress, learnt)

    def _built(
        self, data: ResolvedData, config: ImageConfig, progress: Progress, learnt: Learnt | None
    ) -> Candidate:
        with progress.stage("read"):
            base = find_base(config.base) if config.base else None
            images = read_images(data, config, base.side if base else None)
        for finding in images.findings:
            progress.say(f"{data.path.name}: {finding}.")
        prepare, network = networks(images, config, base)
        fitted = train_members(images, prepare, network, config, progress, learnt)
        return candidate(fitted, data, config, progress)


def networks(
    data: ImageData, config: ImageConfig, base: Base | None
) -> tuple[Prepare, Callable[[], nn.Module]]:
    """Return what makes an image ready, and what makes a network that is not trained.

    Raises:
        BaseUnusable: If the base does not take such images.
    """
    spec = data.spec
    if base is not None:
        base.check(spec)
        prepare = Prepare(base.channels, base.mean, base.spread, equalise=False)
        return prepare, lambda: base.network(len(data.labels), config.dropout, spec.width)
    train = unit(torch.from_numpy(data.train.pixels[:_BASELINE_ROWS]))
    prepare = Prepare(
        spec.channels,
        tuple(train.mean((0, 2, 3)).tolist()),
        tuple(train.std((0, 2, 3)).clamp(min=1e-3).tolist()),
        config.equalise,
    )
    return prepare, lambda: CompactNetwork(
        spec.channels, len(data.labels), spec.width, config.width, config.dropout
    )


def candidate(
    fitted: Fitted, data: ResolvedData, config: ImageConfig, progress: Progress
) -> Candidate:
    """Measure networks, export them and compare.

    Raises:
        ParityBroken: If an exported step does not answer like the networks.
    """
    images = fitted.data
    with progress.stage("evaluate"):
        logits, _, features = fitted.validation_answers
        validation = Answered(logits, features)
        scaling, usual = calibrated(images, fitted.train_answers[2], validation, config)
        answers = _test_answers(fitted, scaling, usual)
        measured = judged(images, validation, answers, usual, config)
        baselines = _baselines(images, config)
        source = images.source(data)
    with progress.stage("export"):
        steps = _steps(fitted, scaling, usual)
    tensors = {"pixels": images.test.pixels}
    with progress.stage("compare"):
        parity, fused_parity = compare_variants(
            steps, DIAGNOSE_IMAGE, tensors, answers, TOLERANCES, rows_at_once=_ROWS_AT_ONCE
        )
    return Candidate(
        line=DIAGNOSE_IMAGE.line,
        steps=steps,
        data=source,
        metrics=measured.metrics,
        baselines=baselines,
        parity=parity,
        fused_parity=fused_parity,
        answers=_answer_table(images, answers),
        recorded=Recorded(tensors, {name: answers[name] for name in TOLERANCES}),
        calibration=Recorded(
            {"pixels": images.train.pixels[calibration_rows(len(images.train), config.seed)]}, {}
        ),
        labels=images.labels,
        review_threshold=measured.threshold,
        details={"image": images.spec, "operating_points": measured.points},
        headline=("auc", "accuracy", "balanced_accuracy", "ece"),
        extra_files={
            WEIGHTS: weights_file(fitted.members),
            "report.html": page(
                Shown(source, measured, baselines, scaling.temperature, _notes(fitted, config))
            ),
        },
    )


def _test_answers(fitted: Fitted, scaling: Scaling, usual: Usual) -> Answers:
    """Return what the release must answer for the test rows, by torch."""
    logits, maps, features = (torch.from_numpy(one) for one in fitted.test_answers)
    with torch.no_grad():
        probabilities, unusualness = Calibrate(scaling, usual)(logits, features)
        saliency = Explain(scaling)(logits, maps)
    return {
        "probabilities": probabilities.numpy(),
        "unusualness": unusualness.numpy(),
        "saliency": saliency.numpy(),
    }


def _steps(fitted: Fitted, scaling: Scaling, usual: Usual) -> tuple[StepModel, ...]:
    pixels = torch.from_numpy(fitted.data.train.pixels[:2])
    with torch.no_grad():
        images = fitted.prepare(pixels)
        logits, maps, features = fitted.members(images)
    seen = ["logits", "maps", "features"]
    return (
        StepModel("prepare", "pre", export_core(fitted.prepare, {"pixels": pixels}, ["images"])),
        StepModel("classify", "core", export_core(fitted.members, {"images": images}, seen)),
        StepModel(
            "explain",
            "post",
            export_core(Explain(scaling), {"logits": logits, "maps": maps}, ["saliency"]),
        ),
        calibrate_step(scaling, usual, logits, features),
    )


def _baselines(data: ImageData, config: ImageConfig) -> dict[str, dict[str, Metrics]]:
    """Measure a regression on coarse pixels, and the shares of the classes."""
    train = data.train
    some = np.random.default_rng(config.seed).permutation(len(train))[:_BASELINE_ROWS]
    learnt, target = _coarse(train.pixels[some]), train.target[some]

    def regression(part: Part) -> npt.NDArray[Any]:
        answers = np.zeros((len(part), len(data.labels)))
        # A rare class may not be among the rows that were drawn.
        answers[:, np.unique(target)] = logistic_regression(learnt, target, _coarse(part.pixels))
        return answers

    return measured_baselines(data, "logistic_regression", regression, config)


def _coarse(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    images = unit(torch.from_numpy(pixels)).mean(1, keepdim=True)
    side = min(_BASELINE_SIDE, images.shape[2])
    return np.asarray(functional.adaptive_avg_pool2d(images, side).flatten(1).numpy())


def _notes(fitted: Fitted, config: ImageConfig) -> list[str]:
    spec = fitted.data.spec
    weights = sum(weight.numel() for weight in fitted.members.parameters())
    return [
        f"{len(fitted.members.networks)} networks, {weights:,} weights in all, on images of "
        f"{spec.width} x {spec.height} with {spec.channels} channels (fit: {spec.fit}).",
        *(
            f"Network {number}: best validation loss {-result.best:.4f} at "
            f"{result.best_epoch + 1} of {result.epochs} validations."
            for number, result in enumerate(fitted.results, start=1)
        ),
    ]


def _answer_table(images: ImageData, answers: Answers) -> pa.Table:
    return pa.table(
        {
            "image": pa.array([encode_png(row) for row in images.test.pixels], pa.binary()),
            "probabilities": pa.array(answers["probabilities"].tolist(), pa.list_(pa.float64())),
            "unusual": answers["unusualness"][:, 0] > 1,
            "target": images.test.target,
        }
    )


KIND = Images()
