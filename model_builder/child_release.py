"""Child releases: the network of a release in another form, as a release of its own.

A child has its own name, files, proof, verdict and signature, and is promoted, verified and served
like any other. Its manifest says in ``derived`` what it was made of. Where steps were changed, its
answers are its own: they are recorded anew, measured by the code that measured the parent, and
compared with the parent's. Where only files were added, such as a compiled plan, all that was
measured of the parent still holds.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Any

import onnx
import pyarrow as pa
from pydantic import JsonValue

from model_builder.child_answers import Answers, answer_with, with_answers
from model_builder.errors import CannotDerive
from model_builder.export.ensemble import write_models
from model_builder.export.profiles import Profiles
from model_builder.opened_release import Opened
from model_builder.progress import Progress
from model_builder.proof.answers import ANSWERS, answers_to_parquet
from model_builder.proof.recorded import CALIBRATION, FILE, Recorded, to_parquet
from model_builder.proof.verifying import hashes_of, prove_models
from model_builder.provenance import git_commit, versions
from model_builder.releasing import Releasing, judged, promoted_release, published
from model_builder.remeasuring import remeasured
from model_builder.report import model_card
from model_builder.task import StepModel
from triton_models.hashing import file_hashes
from triton_models.plans import Plan
from triton_models.release import (
    ENSEMBLE,
    FUSED,
    Derived,
    Manifest,
    Metric,
    Step,
    default_release_name,
    step_name,
)
from triton_models.signatures import SIGNATURES
from triton_models.store import ReleaseStore

_OF_THE_PARENT = ("stages", "fairness", "cutoff", "distributions", "operating_points", "bands")
"""Fields that were measured of the parent's answers, and are not measured again."""


@dataclass(frozen=True)
class Change:
    """What is other in a child than in its parent."""

    variant: str
    """Such as ``int8-static``."""
    precision: str
    """Such as ``int8``."""
    how: str
    """In a sentence or two, for people."""
    steps: Mapping[str, onnx.ModelProto] = field(default_factory=dict)
    """By step, what stands in place of its network. Its inputs and outputs are the same."""
    files: Mapping[str, Mapping[str, bytes]] = field(default_factory=dict)
    """By step (or ``fused``), files beside its network or in place of them: by their path below
    the model's folder, such as ``1/model.plan`` and ``configs/tensorrt.pbtxt``."""
    plans: tuple[Plan, ...] = ()
    """What is known of the plans among the files, by their paths below their models' folders;
    those of a parent are not the child's."""
    details: Mapping[str, JsonValue] = field(default_factory=dict)
    """Further facts for ``derived.details``."""
    fields: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the manifest that are other than the parent's, such as thresholds that were chosen
    anew for a network that has learnt again."""
    reports: Mapping[str, bytes] = field(default_factory=dict)
    """Further files among its reports: name to content."""

    @property
    def touched(self) -> tuple[str, ...]:
        """The steps that are other than the parent's, sorted."""
        return tuple(sorted({*self.steps, *self.files}))


@dataclass(frozen=True)
class Staged:
    """A child in a folder, not yet proven or judged."""

    manifest: Manifest
    models: Path
    reports: Mapping[str, bytes]
    recorded: Recorded
    answers: pa.Table


def stage_child(
    parent: Opened, change: Change, models: Path, release: str, progress: Progress
) -> Staged:
    """Write a child's models into ``models``; ask it, measure it and compare it with its parent.

    Args:
        parent: What it is made of.
        change: What becomes of it.
        models: An empty folder.
        release: The child's name.
        progress: Shows the parts.

    Raises:
        CannotDerive: If the change names a step that is not there, or the child cannot be measured.
        ExportBroken: If the steps no longer join up or cannot be fused.
        ParityBroken: If the fused model answers otherwise than the steps.
    """
    _check(parent, change)
    old = parent.manifest
    steps = tuple(
        StepModel(step.name, step.role, change.steps.get(step.name, step.model))
        for step in parent.steps
    )
    with progress.stage("stage"):
        profiles = Profiles.of(old.line, steps, parent.recorded, old.note, change.plans)
        inputs, outputs = write_models(
            models, old.line, release, steps, SIGNATURES[old.line], parent.extra_files(), profiles
        )
        for name, files in change.files.items():
            for path, content in files.items():
                target = models / step_name(old.line, release, name) / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
    facts: dict[str, Any] = {}
    derived = Derived(
        release=parent.name,
        manifest_sha256=parent.manifest_sha256,
        variant=change.variant,
        precision=change.precision,
        how=change.how,
        steps=change.touched,
        details=dict(change.details),
    )
    recorded, answers = parent.recorded, parent.answers
    if change.steps:
        own = answer_with(steps, old, recorded, progress)
        recorded, answers = own.recorded, with_answers(answers, own.recorded)
        asked = old.model_copy(update=dict(change.fields))
        facts = _measured(asked, steps, answers, own, progress)
        derived = derived.model_copy(
            update={
                "apart": own.apart,
                "company": own.company,
                "inherited": tuple(
                    name
                    for name in _OF_THE_PARENT
                    if getattr(old, name) and name not in change.fields
                ),
            }
        )
    reports = {FILE: to_parquet(recorded), ANSWERS: answers_to_parquet(answers), **change.reports}
    if CALIBRATION in parent.reports:
        reports[CALIBRATION] = parent.reports[CALIBRATION]
    changes: dict[str, Any] = {
        "release": release,
        "create_time": datetime.now(UTC).replace(microsecond=0),
        "git_commit": git_commit(),
        "versions": versions(),
        "derived": derived,
        "variants": (ENSEMBLE, FUSED),
        "steps": tuple(
            Step(name=one.name, role=one.role, model=step_name(old.line, release, one.name))
            for one in steps
        ),
        "inputs": inputs,
        "outputs": outputs,
        "tensorrt": dict(profiles.ready),
        "plans": tuple(_renamed(plan, old, release) for plan in change.plans),
        "recorded": hashes_of(reports),
        "files": file_hashes(models),
        "served_parity": {},
        "latency": {},
        "verdict": "accepted",
        "checks": (),
        "signature": None,
    }
    manifest = old.model_copy(update={**changes, **change.fields, **facts})
    return Staged(manifest, models, reports, recorded, answers)


def release_child(
    staged: Staged, parent: Manifest, store: ReleaseStore, how: Releasing, progress: Progress
) -> tuple[Manifest, str]:
    """Prove a child, have the gate judge it, and publish it; nothing routes it.

    Args:
        staged: As :func:`stage_child` made it; further reports may have been added.
        parent: Its parent: the child is to be no worse than it, by the rules that compare it with
            what is promoted.
        store: Where it goes.
        how: What is asked of it.
        progress: Shows the parts.

    Returns:
        The manifest as published, and where it is.

    Raises:
        ProofFailed: If it is not served as it must be.
        GateRefused: If it is not good enough, and is not to be kept.
        StoreError: If the store refuses it.
        UploadFailed: If the network fails; it is kept.
    """
    promoted = promoted_release(store, staged.manifest.line)
    manifest = staged.manifest.model_copy(
        update={"parent": None if promoted is None else promoted.release}
    )
    if how.proven:
        rows = staged.answers.to_pylist()
        proof = prove_models(manifest, staged.models, staged.recorded, rows, progress)
        manifest = manifest.model_copy(
            update={
                "served_parity": {who: dict(found) for who, found in proof.served_parity.items()},
                "latency": dict(proof.latency),
            }
        )
    manifest = judged(manifest, how, store, staged.models, derived_from=parent)
    with progress.stage("publish"):
        reports = {**staged.reports, "report.md": model_card(manifest).encode()}
        return manifest, published(manifest, staged.models, reports, how, store)


def make_child(
    store: ReleaseStore,
    parent: Opened,
    change: Change,
    how: Releasing,
    progress: Progress,
    release: str | None = None,
) -> tuple[Manifest, str]:
    """Stage, prove, judge and publish a child; return its manifest and where that is.

    Raises:
        BuilderError: As :func:`stage_child` and :func:`release_child`.
        StoreError: If the store refuses it.
    """
    with tempfile.TemporaryDirectory(prefix="model-builder-child-") as scratch:
        release = release or free_name(store, parent.manifest.line, datetime.now(UTC))
        staged = stage_child(parent, change, Path(scratch), release, progress)
        return release_child(staged, parent.manifest, store, how, progress)


def free_name(store: ReleaseStore, line: str, now: datetime) -> str:
    """Return the time as a name, or that of the next second whose name no release has."""
    taken = {release for one, release in store.releases() if one == line}
    while (name := default_release_name(now)) in taken:
        now += timedelta(seconds=1)
    return name


def _renamed(plan: Plan, parent: Manifest, release: str) -> Plan:
    """Return a plan with its file where the child has it; the change names it below its step."""
    model = step_name(parent.line, release, plan.step)
    return plan.model_copy(update={"file": f"{model}/{plan.file}"})


def _check(parent: Opened, change: Change) -> None:
    known = {step.name for step in parent.manifest.steps}
    faults = [f"it has no step '{name}'" for name in sorted(change.steps.keys() - known)]
    faults += [
        f"it has no model '{name}'" for name in sorted(change.files.keys() - known - {FUSED})
    ]
    for name, files in change.files.items():
        for path in files:
            parts = PurePosixPath(path)
            if parts.is_absolute() or ".." in parts.parts:
                faults.append(f"'{path}' of '{name}' leads out of the model's folder")
    if faults:
        raise CannotDerive(parent.name, "; ".join(faults))


def _measured(
    old: Manifest,
    steps: tuple[StepModel, ...],
    answers: pa.Table,
    own: Answers,
    progress: Progress,
) -> dict[str, Any]:
    """Return the fields of the manifest that follow from the child's own answers."""
    with progress.stage("measure"):
        test: dict[str, Metric] = remeasured(old, steps, answers, own.recorded)
    return {
        "metrics": {"test": test},
        "baselines": {
            name: {"test": splits["test"]}
            for name, splits in old.baselines.items()
            if "test" in splits
        },
        "parity": own.parity,
        "fused_parity": own.fused_parity,
    }
