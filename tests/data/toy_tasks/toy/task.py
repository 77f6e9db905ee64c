"""The smallest task that uses all of the builder: three steps, one of them reads strings."""

from __future__ import annotations

import json
from typing import ClassVar

import numpy as np
import polars as pl
import pyarrow as pa
import spox.opset.ai.onnx.ml.v3 as ml
import spox.opset.ai.onnx.v18 as op
import torch
from spox import Tensor, argument
from spox import build as build_graph
from torch import nn

from model_builder.errors import DataFault, Fault
from model_builder.evaluation import metrics, parity
from model_builder.evaluation.bootstrap import interval
from model_builder.export.chain import run_steps
from model_builder.export.fused import FusedModel
from model_builder.export.onnx import export_core
from model_builder.progress import Progress
from model_builder.proof.recorded import Recorded
from model_builder.task import Candidate, ResolvedData, StepModel, TaskConfig
from model_builder.training.loop import FitSettings, fit
from triton_models.release import DataSource, FeatureSpec, ScoreBand
from triton_models.signatures import SCORE_RISK

PURPOSES = ("car", "holiday")


class ToyConfig(TaskConfig):
    epochs: int = 15
    learning_rate: float = 0.1
    tolerance: float = 1e-5
    shift: float = 0.0
    """Added to what torch is said to answer, to break parity."""


class Linear(nn.Module):
    """Gives the log-odds and what each feature adds to them."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.Linear(3, 1)

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """``features``: ``(B, 3)``; returns ``(B, 1)`` and ``(B, 3)``."""
        return self.weights(features), features * self.weights.weight


class ToyTask:
    name: ClassVar[str] = "toy"
    summary: ClassVar[str] = "learns a linear rule"
    default_data: ClassVar[str] = "generated-credit"
    config_type: ClassVar[type[TaskConfig]] = ToyConfig

    def build(self, data: ResolvedData, config: ToyConfig, progress: Progress) -> Candidate:
        table = pl.read_csv(data.path)
        if "default" not in table.columns:
            raise DataFault([Fault(str(data.path), "a column 'default'", "none", row=1)])
        table = table.head(1000)
        numbers = (
            table.select(pl.col("late_payments").fill_null(float("nan")), pl.col("months") / 60)
            .to_numpy()
            .astype(np.float32)
        )
        purpose = np.where(table["purpose"] == "car", "car", "holiday").astype(object)[:, None]
        target = table["default"].to_numpy()

        encode = _encode()
        features = torch.from_numpy(
            run_steps([encode], {"numbers": numbers, "categories": purpose})["features"]
        )
        network = Linear()
        rows = torch.tensor(target).float()[:, None]
        fit(
            network,
            batches=lambda epoch: [(features, rows)] * 4,
            steps=4 * config.epochs,
            loss=lambda model, batch: nn.functional.binary_cross_entropy_with_logits(
                model(batch[0])[0], batch[1]
            ),
            validate=lambda model: metrics.auc(target, model(features)[0][:, 0].numpy()),
            settings=FitSettings(
                config.epochs,
                len(target),
                config.learning_rate,
                patience=config.epochs,
                training=config.training,
            ),
            progress=progress,
        )
        core = export_core(network, {"features": features[:2]}, ["logit", "contributions"])
        steps = (encode, StepModel("score", "core", core), _decode())

        with torch.no_grad():
            logit, contributions = network(features)
        probability = torch.sigmoid(logit).numpy() + np.float32(config.shift)
        expected = {
            "default_probability": probability,
            "score": 850 - 550 * probability,
            "contributions": contributions.numpy(),
        }
        actual = run_steps(steps, {"numbers": numbers, "categories": purpose})
        tolerances = dict.fromkeys(expected, config.tolerance) | {"score": 1e-2}
        compared = parity.compare(expected, actual, tolerances, len(target))
        fused = FusedModel(steps, SCORE_RISK).run({"numbers": numbers, "categories": purpose})
        fused_parity = parity.compare(expected, fused, tolerances, len(target))
        measured = {"auc": interval(metrics.auc, target, probability[:, 0], resamples=20)}
        return Candidate(
            line="score-risk",
            steps=steps,
            data=DataSource(
                name=data.name,
                sha256=data.sha256,
                rows=len(target),
                generated=data.generated,
                split={"test": len(target)},
            ),
            metrics={"test": measured},
            baselines={"coin": {"test": measured}},
            parity=compared,
            fused_parity=fused_parity,
            answers=pa.table(
                {
                    "features": [json.dumps(row) for row in _rows(numbers, purpose)],
                    "default_probability": probability[:, 0],
                    "score": expected["score"][:, 0],
                    "target": target.astype("int64"),
                }
            ),
            recorded=Recorded({"numbers": numbers, "categories": purpose}, expected),
            features=(
                FeatureSpec(name="late_payments", kind="number"),
                FeatureSpec(name="months", kind="number"),
                FeatureSpec(name="purpose", kind="category", categories=PURPOSES),
            ),
            bands=(ScoreBand(name="A", minimum_score=300),),
            headline=("auc",),
            extra_files={"note.txt": b"for people"},
        )


def _rows(numbers: np.ndarray, purpose: np.ndarray) -> list[dict[str, float | str]]:
    """The same as a client sends it; what is missing is left out."""
    return [
        {
            name: value
            for name, value in zip(("late_payments", "months"), map(float, row), strict=True)
            if not np.isnan(value)
        }
        | {"purpose": word}
        for row, (word,) in zip(numbers, purpose, strict=True)
    ]


def _encode() -> StepModel:
    numbers = argument(Tensor(np.float32, ("B", 2)))
    categories = argument(Tensor(np.str_, ("B", 1)))
    missing = op.isnan(numbers)
    filled = op.where(missing, op.const(np.float32(0)), numbers)
    code = ml.label_encoder(
        categories, keys_strings=PURPOSES, values_floats=(0.0, 1.0), default_float=0.5
    )
    rules = op.concat(
        [
            op.cast(missing, to=np.int32),
            op.cast(op.equal(code, op.const(np.float32(0.5))), to=np.int32),
        ],
        axis=1,
    )
    graph = build_graph(
        {"numbers": numbers, "categories": categories},
        {"features": op.concat([filled, code], axis=1), "input_rules": rules},
    )
    return StepModel("encode", "pre", graph)


def _decode() -> StepModel:
    logit = argument(Tensor(np.float32, ("B", 1)))
    probability = op.sigmoid(logit)
    score = op.sub(op.const(np.float32(850)), op.mul(op.const(np.float32(550)), probability))
    graph = build_graph({"logit": logit}, {"default_probability": probability, "score": score})
    return StepModel("decode", "post", graph)


TASK = ToyTask()
