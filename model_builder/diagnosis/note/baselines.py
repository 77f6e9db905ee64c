"""What a note release is measured beside."""

from __future__ import annotations

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from model_builder.diagnosis.note.config import NoteConfig
from model_builder.diagnosis.note.dataset import NoteData
from model_builder.tabular.evaluation import DIAGNOSIS_MEASURES, base_rate, measure
from model_builder.task import Metrics


def measured_baselines(data: NoteData, config: NoteConfig) -> dict[str, dict[str, Metrics]]:
    """Measure a regression on how often words and pairs occur, and the shares of the classes."""
    words = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True),
        LogisticRegression(C=10, max_iter=1000),
    )
    words.fit(data.train.notes, data.train.target)
    classes = len(data.labels)
    found: dict[str, dict[str, Metrics]] = {"words_regression": {}, "base_rate": {}}
    for split in ("validation", "test"):
        part = data.parts[split]
        for name, answers in (
            ("words_regression", words.predict_proba(part.notes)),
            ("base_rate", base_rate(data.train.target, len(part), classes)),
        ):
            found[name][split] = measure(
                DIAGNOSIS_MEASURES,
                part.target,
                answers,
                seed=config.seed,
                resamples=config.resamples,
            )
    return found
