"""A release of the store on this machine, to be looked at closely or made into another one."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import onnx
import pyarrow as pa

from model_builder.errors import CannotDerive
from model_builder.proof.answers import ANSWERS, answers_from_parquet
from model_builder.proof.recorded import FILE, Recorded, from_parquet
from model_builder.task import StepModel
from triton_models.release import Manifest, network_path
from triton_models.store import ReleaseStore
from triton_models.trust import Trust

_MADE_ANEW = ("config.pbtxt", "1/model.onnx", "1/ensemble.json")


@dataclass(frozen=True)
class Opened:
    """A release on this machine, checked byte by byte."""

    manifest: Manifest
    manifest_sha256: str
    models: Path
    """Its models and nothing else; not to be written to."""
    reports: Mapping[str, bytes]
    """Those that its manifest has the hash of."""

    @property
    def name(self) -> str:
        """Return ``LINE/RELEASE``."""
        return f"{self.manifest.line}/{self.manifest.release}"

    @property
    def size_bytes(self) -> int:
        """Return the size of all its models' files."""
        return sum((self.models / path).stat().st_size for path in self.manifest.files)

    @cached_property
    def steps(self) -> tuple[StepModel, ...]:
        """Its networks, in the order of the work."""
        return tuple(
            StepModel(step.name, step.role, onnx.load(self.models / network_path(step.model)))
            for step in self.manifest.steps
        )

    @cached_property
    def recorded(self) -> Recorded:
        """The test split as tensors, with the answers to it.

        Raises:
            CannotDerive: If it was built before they were kept.
        """
        if FILE not in self.reports or ANSWERS not in self.reports:
            raise CannotDerive(self.name, "it has no recorded answers: build it anew")
        return from_parquet(self.reports[FILE])

    @cached_property
    def answers(self) -> pa.Table:
        """The same as a client asks it."""
        return answers_from_parquet(self.reports[ANSWERS])

    def extra_files(self) -> dict[str, bytes]:
        """Return what lies beside the models, such as a tokenizer, by name."""
        folder = self.models / self.manifest.ensemble / "1"
        return {
            path.name: path.read_bytes()
            for path in sorted(folder.iterdir())
            if f"1/{path.name}" not in _MADE_ANEW
        }


@contextmanager
def opened_release(
    store: ReleaseStore, line: str, release: str, trust: Trust | None = None
) -> Iterator[Opened]:
    """Give a release of the store.

    Raises:
        StoreError: If there is none, it is not to be trusted, or its files are not as released.
        CannotDerive: If a report that it was proven by is missing or was changed.
    """
    manifest = (trust or Trust()).manifest(store, line, release)
    store.check_files(manifest)
    reports = {}
    for name, digest in manifest.recorded.items():
        content = store.report(line, release, name)
        if content is None or hashlib.sha256(content).hexdigest() != digest:
            fault = "is missing" if content is None else "was changed since it was released"
            raise CannotDerive(f"{line}/{release}", f"its {name} {fault}")
        reports[name] = content
    digest = hashlib.sha256(store.manifest_bytes(line, release)).hexdigest()
    with tempfile.TemporaryDirectory(prefix="model-builder-parent-") as scratch:
        models = Path(scratch) / "models"
        store.fetch_models(manifest, models)
        yield Opened(manifest, digest, models, reports)
