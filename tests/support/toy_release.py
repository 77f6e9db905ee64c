"""Releases of the toy task, built once a session and published as a test wants them."""

from __future__ import annotations

import functools
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pyarrow as pa

from model_builder.build import reports_of, stage_release
from model_builder.datasets import Places, resolve
from model_builder.progress import SilentProgress
from model_builder.proof.verifying import hashes_of
from model_builder.task import Candidate
from triton_models.hashing import file_hashes
from triton_models.release import Manifest
from triton_models.store import ReleaseStore, Sign

LINE = "score-risk"
DATA = Path(__file__).parents[1] / "data"
ChangeOnnx = Callable[[onnx.ModelProto], None]
ChangeAnswers = Callable[[pa.Table], pa.Table]


@functools.cache
def candidate(seed: int = 0) -> Candidate:
    """A trained toy: the same seed, the same network."""
    from model_builder.discovery import Tasks
    from model_builder.training.seeding import seed_everything

    if str(DATA) not in sys.path:
        sys.path.insert(0, str(DATA))
    toy = Tasks("toy_tasks").load("toy")
    with tempfile.TemporaryDirectory() as cache:
        data = resolve("generated-credit", places=Places(Path(cache)))
        seed_everything(seed)
        return toy.build(data, toy.config_type(seed=seed), SilentProgress())


def publish(
    store: ReleaseStore,
    release: str,
    *,
    seed: int = 0,
    sign: Sign | None = None,
    change_onnx: Mapping[str, ChangeOnnx] | None = None,
    change_answers: ChangeAnswers | None = None,
    **changes: Any,
) -> Manifest:
    """Put a release into the store.

    Args:
        store: Where.
        release: Its name.
        seed: Of the network.
        sign: Signs its manifest.
        change_onnx: Spoils networks, by their step (or ``fused``), before they are hashed: as a
            build would that exports something else than it trained.
        change_answers: Changes what a client asks and must be answered, before it is hashed;
            what Triton is asked stays as it is.
        changes: Fields of the manifest.
    """
    built = candidate(seed)
    if change_answers is not None:
        built = replace(built, answers=change_answers(built.answers))
    config = sys.modules["toy_tasks.toy.task"].ToyConfig(seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        models = Path(folder)
        manifest = stage_release(built, config, release, models)
        for step, change in (change_onnx or {}).items():
            path = models / f"{manifest.ensemble}__{step}" / "1" / "model.onnx"
            model = onnx.load(path)
            change(model)
            onnx.save(model, path)
        reports = reports_of(built)
        fields = {"files": file_hashes(models), "recorded": hashes_of(reports), **changes}
        manifest = manifest.model_copy(update=fields)
        store.publish(manifest, models, reports, sign)
    return manifest
