"""A small image release that has learnt to find a square, as a build makes it."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

from planted_images import write_archive

from model_builder.build import reports_of, stage_release
from model_builder.datasets import resolve
from model_builder.diagnosis.image.building import KIND
from model_builder.diagnosis.image.config import Augmentation, ImageConfig
from model_builder.progress import SilentProgress
from model_builder.proof.verifying import hashes_of
from model_builder.task import Candidate, ResolvedData
from model_builder.training.config import TrainingConfig
from model_builder.training.seeding import seed_everything
from triton_models.release import Manifest
from triton_models.store import ReleaseStore

LINE = "diagnose-image"
CONFIG = ImageConfig(
    steps=40,
    members=1,
    width=16,
    batch_size=32,
    resamples=30,
    augment=Augmentation(cutout=0, mixup=0, noise=0, elastic=0),
    training=TrainingConfig(ema_decay=0.8),
)


@cache
def data() -> ResolvedData:
    """The images, in a file that lies there as long as the tests run."""
    folder = tempfile.mkdtemp(prefix="trident-planted-")
    return resolve(str(write_archive(Path(folder) / "planted.npz")))


@cache
def candidate() -> Candidate:
    """What was learnt of them."""
    seed_everything(CONFIG.seed)
    return KIND.build(data(), CONFIG, SilentProgress())


def publish(store: ReleaseStore, release: str = "r1") -> Manifest:
    """Put it into a store, unproven."""
    with tempfile.TemporaryDirectory() as folder:
        manifest = stage_release(candidate(), CONFIG, release, Path(folder))
        reports = reports_of(candidate())
        manifest = manifest.model_copy(update={"recorded": hashes_of(reports)})
        store.publish(manifest, Path(folder), reports)
    return manifest
