"""From a task and a data set to a release in the store: the same for every task.

Everything is made in memory and in a temporary folder; the store is touched once, at the end,
by ``ReleaseStore.publish``. So whatever fails before, also the proof and the gate, leaves no
trace.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from model_builder.errors import CannotGoOn, ExportBroken
from model_builder.export.ensemble import write_models
from model_builder.export.profiles import Profiles
from model_builder.previous import Previous
from model_builder.progress import Progress
from model_builder.proof.answers import ANSWERS, answers_to_parquet
from model_builder.proof.recorded import CALIBRATION, FILE, to_parquet
from model_builder.proof.verifying import hashes_of
from model_builder.provenance import git_commit, versions
from model_builder.releasing import Releasing, judged, promoted_release, proven, published
from model_builder.report import model_card
from model_builder.routing import route_first
from model_builder.task import Candidate, GoesOn, ResolvedData, Task, TaskConfig
from model_builder.training.devices import leave_the_rest_to_the_first
from model_builder.training.seeding import seed_everything
from model_builder.training.session import current_session
from triton_models.hashing import file_hashes
from triton_models.release import (
    ENSEMBLE,
    FUSED,
    Manifest,
    Step,
    check_release_name,
    default_release_name,
    network_path,
    step_name,
)
from triton_models.signatures import SIGNATURES
from triton_models.store import ReleaseStore


@dataclass(frozen=True)
class Built:
    """A release that is in the store."""

    manifest: Manifest
    manifest_path: str
    report_path: str
    routed: bool
    """Whether it answers its line's calls from now on."""
    seconds: float
    step_bytes: dict[str, int]
    """Size of each step's model, by the step's name."""
    headline: tuple[str, ...]


def build_release(
    task: Task,
    data: ResolvedData,
    config: TaskConfig,
    store: ReleaseStore,
    progress: Progress,
    release: str | None = None,
    how: Releasing | None = None,
    previous: Previous | None = None,
) -> Built:
    """Train, measure, export and publish; route the release if it is its line's first.

    Args:
        task: What to build.
        data: What to learn from.
        config: The task's hyperparameters.
        store: Where the release goes.
        progress: Shows the stages.
        release: Its name; by default the time.
        how: What else is done on the way to the store.
        previous: The release to start from, if ``task`` can (``GoesOn``).

    Raises:
        BuilderError: If the data, the training or the export is at fault, if it is not proven, or
            not good enough.
        StoreError: If the store refuses it, such as a name that is taken.
    """
    started = time.monotonic()
    how = how or Releasing()
    release = check_release_name(release) if release else default_release_name()
    store.routes()  # a store that cannot be read is found out before the training
    seed_everything(config.seed)
    if previous is None:
        candidate = task.build(data, config, progress)
    elif isinstance(task, GoesOn):
        candidate = task.build_from(data, config, progress, previous)
    else:
        raise CannotGoOn(previous.name, f"{task.name} always begins anew")
    leave_the_rest_to_the_first()
    with tempfile.TemporaryDirectory(prefix="model-builder-") as scratch:
        models = Path(scratch)
        with progress.stage("stage"):
            manifest = stage_release(candidate, config, release, models)
            parent = promoted_release(store, manifest.line)
            if parent is not None:
                manifest = manifest.model_copy(update={"parent": parent.release})
        reports = reports_of(candidate)
        manifest = manifest.model_copy(update={"recorded": hashes_of(reports)})
        if how.proven:
            manifest = proven(manifest, candidate, models, progress)
        manifest = judged(manifest, how, store, models)
        with progress.stage("publish"):
            reports |= {"report.md": model_card(manifest, candidate.headline).encode()}
            sizes = {
                step.name: (models / network_path(step.model)).stat().st_size
                for step in manifest.steps
            }
            manifest_path = published(manifest, models, reports, how, store)
            routed = route_first(store, manifest)
    return Built(
        manifest=manifest,
        manifest_path=manifest_path,
        report_path=store.report_path(manifest.line, release),
        routed=routed,
        seconds=time.monotonic() - started,
        step_bytes=sizes,
        headline=candidate.headline,
    )


def stage_release(candidate: Candidate, config: TaskConfig, release: str, models: Path) -> Manifest:
    """Write the candidate's models into ``models`` and return the manifest that goes with them.

    Raises:
        ExportBroken: If the steps do not fit the line's signature, or a variant is not proven.
    """
    signature = SIGNATURES.get(candidate.line)
    if signature is None:
        raise ExportBroken(f"line '{candidate.line}' has no declared tensors")
    if unproven := candidate.parity.keys() ^ candidate.fused_parity.keys():
        raise ExportBroken(f"not compared in both variants: {', '.join(sorted(unproven))}")
    profiles = Profiles.of(
        candidate.line, candidate.steps, candidate.recorded, candidate.details.get("note")
    )
    inputs, outputs = write_models(
        models, candidate.line, release, candidate.steps, signature, candidate.model_files, profiles
    )
    return Manifest(
        line=candidate.line,
        release=release,
        create_time=datetime.now(UTC).replace(microsecond=0),
        git_commit=git_commit(),
        versions=versions(),
        seed=config.seed,
        run=current_session().run_id,
        data=candidate.data,
        hyperparameters={**config.model_dump(mode="json"), **candidate.chosen},
        metrics={split: dict(metrics) for split, metrics in candidate.metrics.items()},
        baselines={
            name: {split: dict(metrics) for split, metrics in splits.items()}
            for name, splits in candidate.baselines.items()
        },
        parity=dict(candidate.parity),
        fused_parity=dict(candidate.fused_parity),
        variants=(ENSEMBLE, FUSED),
        steps=tuple(
            Step(
                name=step.name,
                role=step.role,
                model=step_name(candidate.line, release, step.name),
            )
            for step in candidate.steps
        ),
        inputs=inputs,
        outputs=outputs,
        features=candidate.features,
        labels=candidate.labels,
        review_threshold=candidate.review_threshold,
        bands=candidate.bands,
        item_count=candidate.item_count,
        tensorrt=dict(profiles.ready),
        files=file_hashes(models),
        **candidate.details,
    )


def reports_of(candidate: Candidate) -> dict[str, bytes]:
    """Return what lies beside a release: for people, and to compare with."""
    reports = {**candidate.extra_files, ANSWERS: answers_to_parquet(candidate.answers)}
    if candidate.recorded is not None:
        reports[FILE] = to_parquet(candidate.recorded)
    if candidate.calibration is not None:
        reports[CALIBRATION] = to_parquet(candidate.calibration)
    return reports
