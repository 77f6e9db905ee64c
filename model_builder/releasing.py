"""How a candidate becomes a release: what every build and every import is asked alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from model_builder.errors import GateRefused, ProofFailed, UploadFailed
from model_builder.evaluation.gate import Gate
from model_builder.outgoing import keep, upload
from model_builder.progress import Progress
from model_builder.proof.verifying import prove_models
from model_builder.task import Candidate
from triton_models.release import Manifest
from triton_models.signing import Signer
from triton_models.store import ReleaseStore
from triton_models.store_errors import ReleaseNotFound


@dataclass(frozen=True)
class Releasing:
    """What happens between a measured candidate and the store."""

    sign: Signer | None = None
    """Signs the manifest; ``None``: it is not signed."""
    proven: bool = False
    """Whether a real Triton and a gateway must answer as torch did."""
    gate: Gate | None = None
    """Says whether it is good enough; ``None``: nobody asks."""
    publish_refused: bool = False
    """Whether what the gate refuses is kept, marked."""
    outgoing: Path = Path("outgoing")
    """Where a release is kept until a bucket has it."""


def proven(
    manifest: Manifest,
    candidate: Candidate,
    models: Path,
    progress: Progress,
) -> Manifest:
    """Return the manifest with what a real Triton and a gateway in front of it answered.

    Args:
        manifest: As it is to be published.
        candidate: Has what was recorded.
        models: The staged models.
        progress: Shows the parts.

    Raises:
        ProofFailed: If it cannot be served, or answers otherwise.
    """
    recorded = candidate.recorded
    if recorded is None:
        raise ProofFailed("the task records no answers to compare with; --unproven builds without")
    proof = prove_models(manifest, models, recorded, candidate.answers.to_pylist(), progress)
    return manifest.model_copy(
        update={
            "served_parity": {who: dict(found) for who, found in proof.served_parity.items()},
            "latency": dict(proof.latency),
        }
    )


def judged(
    manifest: Manifest,
    how: Releasing,
    store: ReleaseStore,
    models: Path,
    derived_from: Manifest | None = None,
) -> Manifest:
    """Return the manifest with the gate's verdict.

    Args:
        manifest: The candidate's.
        how: Has the gate.
        store: Says what is promoted.
        models: The staged models.
        derived_from: The parent of a child release: it is compared with that one too.

    Raises:
        GateRefused: If it is refused, and is not to be kept.
    """
    if how.gate is None:
        return manifest
    size = sum(file.stat().st_size for file in models.rglob("*") if file.is_file())
    checks = how.gate.checks(
        manifest, promoted_release(store, manifest.line), size, parent=derived_from
    )
    refused = any(not check.passed for check in checks)
    if refused and not how.publish_refused:
        raise GateRefused(f"{manifest.line}/{manifest.release}", checks)
    verdict = "refused" if refused else "accepted"
    return manifest.model_copy(update={"checks": checks, "verdict": verdict})


def promoted_release(store: ReleaseStore, line: str) -> Manifest | None:
    """Return the release that answers most calls of a line, if any does that is still there."""
    _, routes = store.routes()
    targets = routes.lines.get(line, ())
    if not targets:
        return None
    try:
        return store.manifest(line, max(targets, key=lambda one: one.weight).release)
    except ReleaseNotFound:
        return None


def published(
    manifest: Manifest,
    models: Path,
    reports: Mapping[str, bytes],
    how: Releasing,
    store: ReleaseStore,
) -> str:
    """Publish a release; return where its manifest is.

    Raises:
        StoreError: If the store refuses it.
        UploadFailed: If the network fails; then it is kept, and says where.
    """
    if not store.remote:
        return store.publish(manifest, models, reports, how.sign)
    place = keep(how.outgoing, manifest, models, reports)
    try:
        return upload(place, store, how.sign)[1]
    except OSError as error:
        name = f"{manifest.line}/{manifest.release}"
        key = how.sign.private_key if how.sign is not None else None
        raise UploadFailed(name, place, error, store.url, key) from error
