"""A release whose networks were pruned and have learnt again, as a change of its parent."""

from __future__ import annotations

from typing import Any

from model_builder.child_release import Change
from model_builder.errors import CannotDerive
from model_builder.opened_release import Opened
from model_builder.previous import WEIGHTS
from model_builder.progress import Progress
from model_builder.task import Candidate, Learnt, Prunes, ResolvedData
from model_builder.training.seeding import seed_everything
from triton_models.release import Manifest

LEARNT_AGAIN = (
    "operating_points",
    "review_threshold",
    "stages",
    "hyperparameters",
)
"""Fields of a manifest that follow from what a network learnt."""


def pruning_task(line: str) -> Prunes | None:
    """Return the task that can prune releases of a line, if one can."""
    if line == "diagnose-image":
        from model_builder.diagnosis.image.building import KIND

        return KIND
    if line == "recommend":
        from model_builder.recsys.task import TASK

        return TASK
    return None


def prune(parent: Opened, share: float, data: ResolvedData, progress: Progress) -> Change:
    """Prune what a release has learnt, and train it until it has recovered.

    Args:
        parent: Has the weights.
        share: That is removed.
        data: What it was built from.
        progress: Shows the training.

    Raises:
        CannotDerive: If it cannot be pruned, or the data are others; says all that is wrong.
        BuilderError: If the task fails.
    """
    old = parent.manifest
    task = pruning_task(old.line)
    faults = []
    if task is None:
        faults.append(f"the networks of '{old.line}' cannot be pruned")
    elif WEIGHTS not in parent.reports:
        faults.append(f"it has no {WEIGHTS}: it was built before weights were kept")
    if data.sha256 != old.data.sha256:
        faults.append(f"it learnt from other data than {data.name}")
    if faults or task is None:
        raise CannotDerive(parent.name, "; ".join(faults))
    config = task.config_type.model_validate(  # type: ignore[attr-defined]
        {
            name: value
            for name, value in old.hyperparameters.items()
            if name in task.config_type.model_fields  # type: ignore[attr-defined]
        }
        | {"prune": share}
    )
    seed_everything(config.seed)
    learnt = Learnt(parent.name, parent.reports[WEIGHTS])
    candidate = task.pruned_from(data, config, progress, learnt)
    if candidate.data.split_sha256 != old.data.split_sha256:
        raise CannotDerive(parent.name, "the data fall into other splits than when it was built")
    return Change(
        variant=f"prune-{share:g}",
        precision="fp32",
        how="",
        steps={step.name: step.model for step in candidate.steps},
        details={
            "prune": {
                "share": share,
                "bytes_before": sum(step.model.ByteSize() for step in parent.steps),
                "bytes_after": sum(step.model.ByteSize() for step in candidate.steps),
                "from_torch": {name: one.max_difference for name, one in candidate.parity.items()},
            }
        },
        fields=_fields(old, config.model_dump(mode="json"), candidate),
        reports={WEIGHTS: candidate.extra_files[WEIGHTS]},
    )


def _fields(old: Manifest, config: dict[str, Any], candidate: Candidate) -> dict[str, Any]:
    found: dict[str, Any] = {
        **candidate.details,
        "hyperparameters": {**config, **candidate.chosen},
    }
    if candidate.review_threshold is not None:
        found["review_threshold"] = candidate.review_threshold
    return {name: value for name, value in found.items() if name in LEARNT_AGAIN}
