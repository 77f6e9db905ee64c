"""``model-builder verify``: everything that can be said of a release that lies in a store."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import onnx

from model_builder.errors import ProofFailed
from model_builder.previous import WEIGHTS
from model_builder.progress import Progress
from model_builder.proof.answers import ANSWERS, answers_from_parquet
from model_builder.proof.proving import Proof, one_release_store, prove
from model_builder.proof.questions import Row
from model_builder.proof.recorded import CALIBRATION, FILE, Recorded, from_parquet
from triton_models.embedded.errors import EmbeddedTritonError
from triton_models.plan_check import RunsOn, plan_faults
from triton_models.release import Manifest
from triton_models.server import EmbeddedTriton
from triton_models.store import ReleaseStore
from triton_models.trust import Trust


@dataclass(frozen=True)
class Verified:
    """A release without a fault."""

    manifest: Manifest
    signed: bool
    """Whether its signature was checked."""
    onnx_files: int
    proof: Proof


def verify(
    store: ReleaseStore,
    line: str,
    release: str,
    progress: Progress,
    *,
    trust: Trust | None = None,
    triton: str | None = None,
    where: RunsOn | None = None,
) -> Verified:
    """Check a release: signature, checksums, ONNX, and what a real Triton and a gateway answer.

    Args:
        store: Has it.
        line: Its line.
        release: Its name.
        progress: Shows the parts.
        trust: Checks the signature; by default none is asked for.
        triton: A Triton in explicit mode that reads this store; by default one of its own, on
            exactly this release.
        where: What is known of that Triton; ``None``: nothing.

    Raises:
        StoreError: If it is missing, unsigned or altered; names the file.
        ProofFailed: If it cannot be served or answers otherwise.
    """
    trust = trust or Trust()
    with progress.stage("signature and checksums"):
        manifest = trust.manifest(store, line, release)
        store.check_files(manifest)
        if where is not None and (faults := plan_faults(manifest, where)):
            raise ProofFailed(f"{line}/{release} cannot run there: {'; '.join(faults)}")
        reports = {name: _report(store, manifest, name) for name in manifest.recorded}
    if FILE not in reports:
        raise ProofFailed(
            f"{line}/{release} has no recorded answers: it was built before they were"
        )
    with tempfile.TemporaryDirectory(prefix="trident-verify-") as scratch:
        models = Path(scratch, "models")
        store.fetch_models(manifest, models)
        proof = prove_models(
            manifest,
            models,
            from_parquet(reports[FILE]),
            answers_from_parquet(reports[ANSWERS]).to_pylist(),
            progress,
            triton=triton,
        )
    signed = trust.verifier is not None and manifest.signature is not None
    return Verified(manifest, signed, len(onnx_files(manifest)), proof)


def prove_models(
    manifest: Manifest,
    models: Path,
    recorded: Recorded,
    answers: Sequence[Row],
    progress: Progress,
    *,
    triton: str | None = None,
) -> Proof:
    """Check the networks of a release, and compare what is served with what was recorded.

    Args:
        manifest: Of the release.
        models: A folder with its models and nothing else.
        recorded: The test split as tensors.
        answers: The same as a client would ask it.
        progress: Shows the parts.
        triton: A Triton in explicit mode that has the release; by default one of its own.

    Raises:
        ProofFailed: If it cannot be served, or answers otherwise.
    """
    with tempfile.TemporaryDirectory(prefix="trident-proof-") as scratch:
        folder = Path(scratch)
        (folder / "models").symlink_to(models.absolute())
        one_release_store(folder, manifest)
        with progress.stage("check ONNX"):
            check_onnx(models, manifest)
        with triton_on(models, triton) as target:
            return prove(
                manifest, recorded, answers, triton=target, store=folder, progress=progress
            )


def onnx_files(manifest: Manifest) -> list[str]:
    """Return the networks of a release, by their path below its models."""
    return [name for name in manifest.files if name.endswith(".onnx")]


def check_onnx(models: Path, manifest: Manifest) -> None:
    """Have ONNX's own checker look at every network.

    Raises:
        ProofFailed: If one is at fault.
    """
    for name in onnx_files(manifest):
        try:
            onnx.checker.check_model(str(models / name), full_check=True)
        except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
            raise ProofFailed(f"{name}: {' '.join(str(error).split())}") from error


@contextmanager
def triton_on(models: Path, target: str | None) -> Iterator[str]:
    """Give the address of a Triton: ``target``, or one of its own that reads ``models``.

    Raises:
        ProofFailed: If there is none on this machine, or it does not start.
    """
    if target is not None:
        yield target
        return
    try:
        with EmbeddedTriton(models, restart=False) as triton:
            triton.wait_ready()
            yield triton.target
    except EmbeddedTritonError as error:
        raise ProofFailed(str(error)) from error


def hashes_of(reports: Mapping[str, bytes]) -> dict[str, str]:
    """Return what the manifest says of what is compared with or built on later."""
    return {
        name: hashlib.sha256(reports[name]).hexdigest()
        for name in (FILE, ANSWERS, CALIBRATION, WEIGHTS)
        if name in reports
    }


def _report(store: ReleaseStore, manifest: Manifest, name: str) -> bytes:
    content = store.report(manifest.line, manifest.release, name)
    if content is None or hashlib.sha256(content).hexdigest() != manifest.recorded[name]:
        fault = "is missing" if content is None else "was changed"
        raise ProofFailed(f"{name} of {manifest.line}/{manifest.release} {fault}")
    return content
