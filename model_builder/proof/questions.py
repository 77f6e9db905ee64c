"""What a client asks of each line, and what of its answer is compared with the recorded one."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from triton_models.release import Manifest

Row = Mapping[str, Any]
"""A row of ``answers.parquet``."""
Outputs = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Question:
    """How a line is asked by a client."""

    service: str
    single: str
    """The RPC that takes one."""
    batch: str
    """The RPC that takes many."""
    needs: str
    """The column of the answers that a request is made from."""
    request: Callable[[Row], dict[str, Any]]
    expected: Callable[[Sequence[Row], Manifest], Outputs]
    """From recorded rows, the outputs ``(rows, …)`` that an answer shows."""
    answered: Callable[[Sequence[Row], Manifest], Outputs]
    """The same from responses."""


def _risk_request(row: Row) -> dict[str, Any]:
    features = {
        name: {"category": value} if isinstance(value, str) else {"number": value}
        for name, value in json.loads(row["features"]).items()
    }
    return {"features": features, "reason_count": 0}


def _recommend_request(row: Row) -> dict[str, Any]:
    context = {
        name: {"category": value} if isinstance(value, str) else {"number": value}
        for name, value in json.loads(row.get("context") or "{}").items()
    }
    request = {
        "history_item_ids": row["history_item_ids"],
        "item_count": _ITEMS,
        "context": context,
    }
    if (times := row.get("history_times")) is not None:
        request["history_times"] = [_moment(seconds) for seconds in times]
        request["request_time"] = _moment(row["request_time"])
    return request


def _moment(seconds: int) -> str:
    """Return a time as JSON has it: in UTC, as RFC 3339 says."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _columns(*names: str) -> Callable[[Sequence[Row], Manifest], Outputs]:
    """Return what reads numbers of these names, each ``(rows, 1)``."""

    def read(rows: Sequence[Row], manifest: Manifest) -> Outputs:
        return {name: np.array([[row[name]] for row in rows], np.float64) for name in names}

    return read


def _image_request(row: Row) -> dict[str, Any]:
    content = base64.b64encode(row["image"]).decode()  # how JSON has bytes
    return {"image": {"content": content, "media_type": "image/png"}}


def _recorded_probabilities(rows: Sequence[Row], manifest: Manifest) -> Outputs:
    return {"probabilities": np.array([row["probabilities"] for row in rows])}


def _findings(rows: Sequence[Row], manifest: Manifest) -> Outputs:
    found = [{one["label"]: one["probability"] for one in row["findings"]} for row in rows]
    return {
        "probabilities": np.array(
            [[row.get(label, np.nan) for label in manifest.labels] for row in found]
        )
    }


def _recorded_items(rows: Sequence[Row], manifest: Manifest) -> Outputs:
    return _items([(row["item_ids"], row["scores"]) for row in rows])


def _answered_items(rows: Sequence[Row], manifest: Manifest) -> Outputs:
    return _items(
        [
            ([one["item_id"] for one in row["items"]], [one["score"] for one in row["items"]])
            for row in rows
        ]
    )


def _items(rows: Sequence[tuple[Sequence[str], Sequence[float]]]) -> Outputs:
    width = _ITEMS
    ids = np.full((len(rows), width), "", object)
    scores = np.zeros((len(rows), width))
    for place, (names, values) in enumerate(rows):
        ids[place, : len(names)] = names
        scores[place, : len(values)] = values
    return {"item_ids": ids, "scores": scores}


_ITEMS = 10

QUESTIONS: Mapping[str, Question] = {
    "score-risk": Question(
        "trident.risk.v1.RiskService",
        "ScoreRisk",
        "BatchScoreRisk",
        "features",
        _risk_request,
        _columns("default_probability", "score"),
        _columns("default_probability", "score"),
    ),
    "diagnose-measurements": Question(
        "trident.diagnose.v1.DiagnoseService",
        "Diagnose",
        "BatchDiagnose",
        "measurements",
        lambda row: {"measurements": {"values": json.loads(row["measurements"])}},
        _recorded_probabilities,
        _findings,
    ),
    "diagnose-image": Question(
        "trident.diagnose.v1.DiagnoseService",
        "Diagnose",
        "BatchDiagnose",
        "image",
        _image_request,
        _recorded_probabilities,
        _findings,
    ),
    "diagnose-note": Question(
        "trident.diagnose.v1.DiagnoseService",
        "Diagnose",
        "BatchDiagnose",
        "note",
        lambda row: {"note": row["note"]},
        _recorded_probabilities,
        _findings,
    ),
    "recommend": Question(
        "trident.recommend.v1.RecommendService",
        "Recommend",
        "BatchRecommend",
        "history_item_ids",
        _recommend_request,
        _recorded_items,
        _answered_items,
    ),
}
"""By line. A line that is not here is proven on Triton alone."""
