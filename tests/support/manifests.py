"""Small manifests, one for each line, as a release would have them, and a store with one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from triton_models.release import (
    DataSource,
    FeatureSpec,
    ImageSpec,
    Manifest,
    Metric,
    NoteSpec,
    Routes,
    RouteTarget,
    ScoreBand,
    Step,
    Tensor,
)
from triton_models.signatures import SIGNATURES, TensorSpec
from triton_models.store import ReleaseStore

CATALOGUE = tuple(f"m{number}" for number in range(1, 51))
LABELS = ("benign", "malignant", "unclear")
NOTE_TOKENS = 8
MEASUREMENTS = (
    FeatureSpec(
        name="mean radius", kind="number", minimum=5.0, maximum=30.0, typical=14.0,
        missing_rule="refuse", unknown_rule="clip",
    ),
    FeatureSpec(name="mean texture", kind="number", minimum=9.0, maximum=40.0, typical=19.0),
    FeatureSpec(name="smoothness", kind="number", minimum=0.0, maximum=1.0, unknown_rule="refuse"),
)  # fmt: skip
FEATURES = (
    FeatureSpec(
        name="age", kind="number", unit="years", description="Age", minimum=18.0, maximum=90.0,
        typical=35.0, missing_rule="refuse", unknown_rule="clip",
        high_text="An age of {value} years is high", low_text="Only {value} years old",
    ),
    FeatureSpec(
        name="housing", kind="category", description="Housing", categories=("own", "rent", "free"),
        typical="own", unknown_rule="refuse",
    ),
    FeatureSpec(name="amount", kind="number", minimum=100.0, maximum=20000.0, typical=2000.0),
    FeatureSpec(
        name="status", kind="number", codes=(1.0, 2.0, 3.0), typical=1.0, unknown_rule="refuse"
    ),
    FeatureSpec(name="purpose", kind="category", categories=("car", "radio"), typical="car"),
)  # fmt: skip


TIMES = tuple(
    Tensor(name=spec.name, data_type=spec.data_type, dims=spec.dims)
    for spec in SIGNATURES["recommend"].inputs
    if spec.name in ("history_times", "request_time")
)
"""What a recommender that reads times takes besides."""


def manifest(line: str, release: str = "r1", **changes: Any) -> Manifest:
    """The manifest of a release of a line, with what a test wants otherwise."""
    of_line: dict[str, dict[str, Any]] = {
        "recommend": {"item_count": len(CATALOGUE)},
        "diagnose-image": {
            "image": ImageSpec(height=8, width=8, channels=1),
            "labels": LABELS,
            "review_threshold": 0.6,
        },
        "diagnose-note": {
            "note": NoteSpec(max_tokens=NOTE_TOKENS),
            "labels": LABELS,
            "review_threshold": 0.6,
        },
        "diagnose-measurements": {
            "features": MEASUREMENTS,
            "labels": LABELS,
            "review_threshold": 0.6,
        },
        "score-risk": {
            "features": FEATURES,
            "bands": (
                ScoreBand(name="A", minimum_score=700),
                ScoreBand(name="B", minimum_score=500),
                ScoreBand(name="C", minimum_score=300),
            ),
        },
    }
    signature = SIGNATURES[line]
    features = changes.get("features", of_line[line].get("features", ()))
    kinds = [spec.kind for spec in features]
    sizes = {"F": len(kinds), "N": kinds.count("number"), "S": kinds.count("category")}

    def tensors(specs: Sequence[TensorSpec]) -> tuple[Tensor, ...]:
        return tuple(
            Tensor(name=spec.name, data_type=spec.data_type, dims=spec.dims)
            for spec in specs
            if not spec.optional or all(sizes.get(axis.letter) for axis in spec.axes)
        )

    fields: dict[str, Any] = {
        "line": line,
        "release": release,
        "create_time": datetime(2026, 11, 23, 10, 15, tzinfo=UTC),
        "seed": 1,
        "data": DataSource(name="german-credit", sha256="0" * 64, rows=1000),
        "metrics": {"test": {"auc": Metric(value=0.8, low=0.7, high=0.9)}},
        "parity": {},
        "steps": (Step(name="core", role="core", model=f"{line}__{release}__core"),),
        "inputs": tensors(signature.inputs),
        "outputs": tensors(signature.outputs),
        "files": {},
    }
    return Manifest(**(fields | of_line[line] | changes))


def timed(release: Manifest) -> Manifest:
    """The manifest of a recommender that reads times."""
    return release.model_copy(update={"inputs": (*release.inputs, *TIMES)})


def routed_store(folder: Path) -> ReleaseStore:
    """A store with ``score-risk/r1``, routed, that has no model."""
    store = ReleaseStore(folder)
    with TemporaryDirectory() as empty:
        store.publish(manifest("score-risk"), Path(empty), {})
    store.add_routes(Routes(lines={"score-risk": (RouteTarget(release="r1"),)}), after=0)
    return store
