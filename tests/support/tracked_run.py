"""A run as trackers are told of it, and what an epoch of it measured."""

from __future__ import annotations

from datetime import UTC, datetime

from model_builder.tracking.runs import Run

VALUES = {"epoch": 1.0, "loss": 0.5, "validation": 0.75}


def tracked_run() -> Run:
    """Return a run that is finished."""
    return Run(
        id="r-1",
        task="risk",
        data="d",
        data_sha256="0",
        config={"seed": 0, "training": {"optimizer": "lion"}},
        started=datetime(2026, 11, 23, tzinfo=UTC),
        state="finished",
        metrics={"test": {"auc": 0.9, "ndcg@10": 0.2}},
    )
