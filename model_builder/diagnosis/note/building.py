"""Builds releases of the line ``diagnose-note``: findings from free text."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from model_builder.diagnosis.calibrate_step import Calibrate
from model_builder.diagnosis.judging import calibrate_step, calibrated, judged, measured_baselines
from model_builder.diagnosis.note.base import Base, find_base
from model_builder.diagnosis.note.baselines import words_regression
from model_builder.diagnosis.note.config import NoteConfig
from model_builder.diagnosis.note.dataset import NoteData
from model_builder.diagnosis.note.explaining import Explain
from model_builder.diagnosis.note.network import NoteNetwork, SmallEncoder
from model_builder.diagnosis.note.reading import read_notes
from model_builder.diagnosis.note.tokenizing import learn_tokenizer
from model_builder.diagnosis.note.training import Fitted, padded, train
from model_builder.diagnosis.note.training import answers as answers_to
from model_builder.diagnosis.report import Shown, page
from model_builder.diagnosis.unusual import Usual
from model_builder.errors import BaseUnusable
from model_builder.evaluation.scaling import Scaling
from model_builder.export.onnx import export_core
from model_builder.export.variants import compare_variants
from model_builder.progress import Progress
from model_builder.proof.recorded import Recorded, calibration_rows
from model_builder.task import Candidate, ResolvedData, StepModel, TaskConfig
from model_builder.training.seeding import seed_everything
from triton_models.note_limits import most_notes
from triton_models.note_tokenizers import TOKENIZER_FILE, TokenizerUnusable
from triton_models.notes import NoteTokenizer
from triton_models.release import NoteSpec
from triton_models.signatures import DIAGNOSE_NOTE

TOLERANCES = {
    "probabilities": 1e-4,
    "unusualness": 1e-3,
    "token_weights": 1e-3,
}
"""How far the exported steps may be from torch, by output."""

_ROWS_AT_ONCE = 128
_AXES = {"token_ids": {1: "T"}, "attention_mask": {1: "T"}}

Answers = dict[str, npt.NDArray[Any]]


class Notes:
    """Builds releases of the line ``diagnose-note``."""

    name: ClassVar[str] = "diagnosis"
    summary: ClassVar[str] = "Names a finding from a note, with its probability."
    default_data: ClassVar[str] = "breast-cancer"
    config_type: ClassVar[type[TaskConfig]] = NoteConfig

    def build(self, data: ResolvedData, config: NoteConfig, progress: Progress) -> Candidate:
        """Train, evaluate and export.

        Raises:
            DataFault: If the data cannot be used.
            BaseUnusable: If the base cannot be.
            ParityBroken: If an exported step does not answer like torch.
        """
        with progress.stage("read"):
            base = find_base(config.base) if config.base else None
            notes = read_notes(data, config).without_leaks(config.drop_duplicates)
        for finding in notes.findings:
            progress.say(f"{data.path.name}: {finding}.")
        if base is not None and base.pooling not in ("", "mean tokens"):
            progress.say(f"{base.name} was trained for '{base.pooling}'; its mean is taken.")
        fitted = fit_notes(notes, base, config, progress)
        return candidate(fitted, data, config, progress)


def fit_notes(data: NoteData, base: Base | None, config: NoteConfig, progress: Progress) -> Fitted:
    """Train a network.

    Raises:
        BaseUnusable: If the base is no model for tokens.
    """
    content = (
        learn_tokenizer(data.train.notes, config.vocabulary) if base is None else base.tokenizer
    )
    most = config.max_tokens
    if base is not None and base.most_tokens is not None:
        most = min(most, base.most_tokens)
    config = config.model_copy(update={"max_tokens": most})
    try:
        tokenizer = NoteTokenizer(content, most)
    except TokenizerUnusable as error:
        raise BaseUnusable(config.base or "", str(error)) from error
    seed_everything(config.seed)
    network = _network(base, tokenizer, len(data.labels), config)
    rows = {name: [tokenizer.ids(note) for note in part.notes] for name, part in data.parts.items()}
    result = train(network, rows, data, config, progress)
    return Fitted(data, tokenizer, content, network, rows, result, config)


def _network(
    base: Base | None, tokenizer: NoteTokenizer, classes: int, config: NoteConfig
) -> NoteNetwork:
    if base is not None:
        return base.network(classes, config.dropout)
    encoder = SmallEncoder(
        tokenizer.size, config.width, config.layers, config.dropout, config.word_dropout
    )
    return NoteNetwork(encoder, config.width, classes, config.dropout)


def candidate(
    fitted: Fitted, data: ResolvedData, config: NoteConfig, progress: Progress
) -> Candidate:
    """Measure a network, export it and compare.

    Raises:
        ParityBroken: If an exported step does not answer like the network.
    """
    notes = fitted.data
    with progress.stage("evaluate"):
        validation = answers_to(fitted.network, fitted.rows["validation"])
        learnt = answers_to(fitted.network, fitted.rows["train"]).features
        scaling, usual = calibrated(notes, learnt, validation, config)
        answers = _test_answers(fitted, scaling, usual)
        measured = judged(notes, validation, answers, usual, config)
        baselines = measured_baselines(notes, "words_regression", words_regression(notes), config)
        source = notes.source(data)
    with progress.stage("export"):
        steps = _steps(fitted, scaling, usual)
    tensors = test_tensors(fitted)
    with progress.stage("compare"):
        longest = tensors["token_ids"].shape[1]
        parity, fused_parity = compare_variants(
            steps,
            DIAGNOSE_NOTE,
            tensors,
            answers,
            TOLERANCES,
            rows_at_once=min(most_notes(longest), _ROWS_AT_ONCE),
        )
    return Candidate(
        line=DIAGNOSE_NOTE.line,
        steps=steps,
        data=source,
        metrics=measured.metrics,
        baselines=baselines,
        parity=parity,
        fused_parity=fused_parity,
        answers=_answer_table(notes, answers),
        recorded=Recorded(tensors, answers),
        calibration=_calibration(fitted),
        labels=notes.labels,
        review_threshold=measured.threshold,
        details={
            "note": NoteSpec(max_tokens=fitted.config.max_tokens),
            "operating_points": measured.points,
        },
        headline=("auc", "accuracy", "balanced_accuracy", "ece"),
        model_files={TOKENIZER_FILE: fitted.content},
        extra_files={
            "report.html": page(
                Shown(source, measured, baselines, scaling.temperature, _said(fitted))
            )
        },
    )


def test_tensors(fitted: Fitted) -> dict[str, npt.NDArray[np.int32]]:
    """Return what goes into the release for the test rows, all as long as the longest."""
    ids, mask = padded(fitted.rows["test"])
    return {"token_ids": ids.int().numpy(), "attention_mask": mask.int().numpy()}


def _calibration(fitted: Fitted) -> Recorded:
    rows = fitted.rows["train"]
    ids, mask = padded([rows[place] for place in calibration_rows(len(rows), fitted.config.seed)])
    return Recorded({"token_ids": ids.int().numpy(), "attention_mask": mask.int().numpy()}, {})


def _test_answers(fitted: Fitted, scaling: Scaling, usual: Usual) -> Answers:
    """Return what the release must answer for the test rows, by torch, each row by itself."""
    rows = fitted.rows["test"]
    weights = np.zeros((len(rows), max(map(len, rows))), np.float32)
    calibrate, explain = Calibrate(scaling, usual), Explain(scaling)
    probabilities, unusualness = [], []
    with torch.no_grad():
        for place, row in enumerate(rows):
            seen = fitted.network(*padded([row]))
            probability, distance = calibrate(seen.logits, seen.features)
            probabilities.append(probability.numpy())
            unusualness.append(distance.numpy())
            weights[place, : len(row)] = explain(seen.logits, seen.shares)[0].numpy()
    return {
        "probabilities": np.concatenate(probabilities),
        "unusualness": np.concatenate(unusualness),
        "token_weights": weights,
    }


def _steps(fitted: Fitted, scaling: Scaling, usual: Usual) -> tuple[StepModel, ...]:
    ids, mask = padded(fitted.rows["train"][:2])
    tensors = {"token_ids": ids.int(), "attention_mask": mask.int()}
    with torch.no_grad():
        logits, shares, features = fitted.network(ids, mask)
    seen = ["logits", "shares", "features"]
    return (
        StepModel("encode", "core", export_core(fitted.network, tensors, seen, _AXES)),
        StepModel(
            "explain",
            "post",
            export_core(
                Explain(scaling),
                {"logits": logits, "shares": shares},
                ["token_weights"],
                {"shares": {1: "T"}},
            ),
        ),
        calibrate_step(scaling, usual, logits, features),
    )


def _said(fitted: Fitted) -> list[str]:
    config, result = fitted.config, fitted.result
    weights = sum(weight.numel() for weight in fitted.network.parameters())
    tokens = [len(row) for row in fitted.rows["train"]]
    cut = sum(fitted.tokenizer.cuts(note) for note in fitted.data.train.notes)
    return [
        f"{weights:,} weights; a token is one of {fitted.tokenizer.size:,} pieces of words.",
        f"Training notes have {np.median(tokens):.0f} tokens in the median; {cut} of "
        f"{len(tokens)} have more than the {config.max_tokens} that are read.",
        f"Best validation loss, once calibrated, {-result.best:.4f} after epoch "
        f"{result.best_epoch + 1} of {result.epochs}.",
    ]


def _answer_table(notes: NoteData, answers: Answers) -> pa.Table:
    return pa.table(
        {
            "note": pa.array(notes.test.notes, pa.string()),
            "probabilities": pa.array(answers["probabilities"].tolist(), pa.list_(pa.float64())),
            "unusual": answers["unusualness"][:, 0] > 1,
            "target": notes.test.target,
        }
    )


KIND = Notes()
