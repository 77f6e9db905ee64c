"""The metrics of answers to a parent's test split, by the code that measures what is built.

Nothing but a release is needed: its answers have the truth beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from model_builder.errors import CannotDerive
from model_builder.proof.recorded import Recorded
from model_builder.task import Metrics, StepModel
from triton_models.release import Manifest, Metric
from triton_models.signatures import MAX_ITEMS

TARGET = "target"
"""The column of the answers with the class of each row."""
TARGET_ITEM = "target_item_id"
"""The column of the answers with the item that each user really had next."""

_RESAMPLES = 1000
"""Where the manifest does not say."""

Measure = Callable[[Manifest, Sequence[StepModel], pa.Table, Recorded], Metrics]


def remeasured(
    manifest: Manifest, steps: Sequence[StepModel], answers: pa.Table, recorded: Recorded
) -> dict[str, Metric]:
    """Return the metrics of the test split, with intervals, for what these steps answered.

    Args:
        manifest: Of the line's release that was trained: how and of what was measured.
        steps: What answered.
        answers: What a client asks, and the truth.
        recorded: What the steps are given, and their answers.

    Raises:
        CannotDerive: If the truth was not kept with the release, or the line is not known.
    """
    name = f"{manifest.line}/{manifest.release}"
    measure = _MEASURES.get(manifest.line)
    if measure is None:
        raise CannotDerive(name, f"nothing is known of how '{manifest.line}' is measured")
    column = TARGET_ITEM if manifest.line == "recommend" else TARGET
    if column not in answers.column_names:
        raise CannotDerive(
            name, f"the truth ('{column}') was not kept with its answers: build it anew"
        )
    return measure(manifest, steps, answers, recorded)


def _resamples(manifest: Manifest) -> int:
    found = manifest.hyperparameters.get("resamples")
    if found is None:
        measured = manifest.hyperparameters.get("measured")  # of an import
        found = measured.get("resamples") if isinstance(measured, dict) else None
    return found if isinstance(found, int) else _RESAMPLES


def _risk(
    manifest: Manifest, steps: Sequence[StepModel], answers: pa.Table, recorded: Recorded
) -> Metrics:
    from model_builder.risk.task import measured

    probabilities = _array(recorded, "default_probability")[:, 0]
    return measured(_target(answers), probabilities, manifest.seed, _resamples(manifest))


def _diagnosis(
    manifest: Manifest, steps: Sequence[StepModel], answers: pa.Table, recorded: Recorded
) -> Metrics:
    from model_builder.diagnosis.evaluation import Held, measured_again

    unusual = "unusualness" in recorded.outputs
    held = Held(
        _target(answers),
        _array(recorded, "probabilities"),
        _array(recorded, "unusualness")[:, 0] if unusual else None,
    )
    return measured_again(
        held,
        manifest.labels,
        manifest.review_threshold or 0.0,
        manifest.operating_points,
        seed=manifest.seed,
        resamples=_resamples(manifest),
    )


def _recommend(
    manifest: Manifest, steps: Sequence[StepModel], answers: pa.Table, recorded: Recorded
) -> Metrics:
    """Ask for the longest lists: those that are recorded have fewer items."""
    from model_builder.export.chain import StepChain
    from model_builder.recsys.evaluation import listed_ranks, measure_listed

    chain = StepChain(steps)
    count = np.full((recorded.rows, 1), MAX_ITEMS, np.int32)
    asked = Recorded({**recorded.inputs, "item_count": count}, {})
    lists = [
        chain.run(asked.batch(np.array([place]))[0])["item_ids"][0]
        for place in range(recorded.rows)
    ]
    targets = answers[TARGET_ITEM].to_pylist()
    return measure_listed(listed_ranks(lists, targets, manifest.item_count), manifest.seed)


def _target(answers: pa.Table) -> npt.NDArray[np.int64]:
    return np.asarray(answers[TARGET].to_numpy(), np.int64)


def _array(recorded: Recorded, name: str) -> npt.NDArray[Any]:
    column = recorded.outputs[name]
    assert isinstance(column, np.ndarray)
    return column


_MEASURES: Mapping[str, Measure] = {
    "score-risk": _risk,
    "diagnose-image": _diagnosis,
    "diagnose-note": _diagnosis,
    "diagnose-measurements": _diagnosis,
    "recommend": _recommend,
}
"""By line."""
