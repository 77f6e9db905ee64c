"""What a note release is measured beside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy.typing as npt
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from model_builder.diagnosis.note.dataset import NoteData, Part


def words_regression(data: NoteData) -> Callable[[Part], npt.NDArray[Any]]:
    """Learn from how often words and pairs occur; return what gives ``(rows, K)`` of a part."""
    words = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True),
        LogisticRegression(C=10, max_iter=1000),
    )
    words.fit(data.train.notes, data.train.target)
    return lambda part: words.predict_proba(part.notes)
