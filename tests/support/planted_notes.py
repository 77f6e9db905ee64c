"""Notes whose label is told by planted words alone, and a small release that has learnt them."""

from __future__ import annotations

import functools
import random
import tempfile
from pathlib import Path
from typing import Any

import polars as pl

from model_builder.build import reports_of, stage_release
from model_builder.diagnosis.note.building import KIND
from model_builder.diagnosis.note.config import NoteConfig
from model_builder.progress import SilentProgress
from model_builder.proof.verifying import hashes_of
from model_builder.task import Candidate, ResolvedData
from model_builder.training.seeding import seed_everything
from triton_models.release import Manifest, Routes, RouteTarget
from triton_models.store import ReleaseStore

LINE = "diagnose-note"
PLANTED = {"heart": ("palpitations", "murmur"), "lung": ("wheezing", "phlegm"), "skin": ("rash",)}
_FILLER = (
    "the patient comes today and says that since some weeks he or she feels not so well in the",
    "evening but sleep is good appetite was normal no travel no pets works in an office",
)


def planted_notes(rows: int, seed: int = 0) -> tuple[list[str], list[str]]:
    """Return notes and their labels; one word of each note says which."""
    draws = random.Random(seed)
    filler = " ".join(_FILLER).split()
    notes, labels = [], []
    for number in range(rows):
        label = list(PLANTED)[number % len(PLANTED)]
        words = [draws.choice(filler) for _ in range(draws.randint(4, 14))]
        words.insert(draws.randint(0, len(words)), draws.choice(PLANTED[label]))
        notes.append(" ".join(words))
        labels.append(label)
    return notes, labels


def write_csv(path: Path, rows: int, seed: int = 0) -> Path:
    """Write notes with the columns ``text`` and ``label``; return ``path``."""
    notes, labels = planted_notes(rows, seed)
    pl.DataFrame({"text": notes, "label": labels}).write_csv(path)
    return path


CONFIG = NoteConfig(
    epochs=30, width=24, vocabulary=300, max_tokens=16, resamples=10,
    learning_rate=1e-2, word_dropout=0.0, usual_share=0.95,
)  # fmt: skip


@functools.cache
def candidate(rows: int = 300) -> Candidate:
    """A trained network with what it answers: the same in every test."""
    with tempfile.TemporaryDirectory() as folder:
        data = ResolvedData("planted", write_csv(Path(folder) / "notes.csv", rows), "0" * 64)
        seed_everything(CONFIG.seed)
        return KIND.build(data, CONFIG, SilentProgress())


def publish(store: ReleaseStore, release: str = "r1", **changes: Any) -> Manifest:
    """Put a release into the store and give it all calls."""
    built = candidate()
    with tempfile.TemporaryDirectory() as folder:
        models = Path(folder)
        manifest = stage_release(built, CONFIG, release, models)
        reports = reports_of(built)
        manifest = manifest.model_copy(update={"recorded": hashes_of(reports), **changes})
        store.publish(manifest, models, reports)
    number, routes = store.routes()
    lines = {**routes.lines, LINE: (RouteTarget(release=release),)}
    store.add_routes(Routes(lines=lines), after=number)
    return manifest
