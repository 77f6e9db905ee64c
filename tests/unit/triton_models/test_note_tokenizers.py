from __future__ import annotations

from pathlib import Path

import pytest
from manifests import manifest
from small_tokenizer import tokenizer_json

from triton_models.hashing import file_hashes
from triton_models.note_limits import MAX_NOTE_TOKENS, most_notes
from triton_models.note_tokenizers import NoteTokenizers, TokenizerUnusable
from triton_models.release import Manifest, NoteSpec, most_rows
from triton_models.store import ReleaseStore
from triton_models.store_errors import FilesAltered


@pytest.fixture
def tokenizers() -> NoteTokenizers:
    return NoteTokenizers()


@pytest.fixture
def store(tmp_path: Path) -> ReleaseStore:
    return ReleaseStore(tmp_path / "store")


def published(
    store: ReleaseStore, folder: Path, release: str = "r1", content: bytes = b"", tokens: int = 8
) -> Manifest:
    """A release that is nothing but its tokenizer."""
    models = folder / f"staged-{release}"
    path = models / f"diagnose-note__{release}" / "1" / "tokenizer.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(content or tokenizer_json())
    made = manifest(
        "diagnose-note", release, files=file_hashes(models), note=NoteSpec(max_tokens=tokens)
    )
    store.publish(made, models, {})
    return made


def test_a_tokenizer_is_known_from_its_reading_to_its_forgetting(
    tokenizers: NoteTokenizers, store: ReleaseStore, tmp_path: Path
) -> None:
    release = published(store, tmp_path)
    tokenizers.read(store, release)
    assert tokenizers.of(release).ids("fever")
    tokenizers.forget(release)
    assert len(tokenizers) == 0
    with pytest.raises(KeyError):
        tokenizers.of(release)


def test_two_releases_with_one_file_share_it_until_both_are_gone(
    tokenizers: NoteTokenizers, store: ReleaseStore, tmp_path: Path
) -> None:
    one, two = (published(store, tmp_path, name) for name in ("r1", "r2"))
    for release in (one, two, one):
        tokenizers.read(store, release)
    assert tokenizers.of(one) is tokenizers.of(two)
    tokenizers.forget(one)
    assert tokenizers.of(two).ids("fever")
    tokenizers.forget(two)
    assert len(tokenizers) == 0


def test_the_same_file_cut_elsewhere_is_another(
    tokenizers: NoteTokenizers, store: ReleaseStore, tmp_path: Path
) -> None:
    short, long = published(store, tmp_path, "r1", tokens=4), published(store, tmp_path, "r2")
    for release in (short, long):
        tokenizers.read(store, release)
    note = "fever cough fever cough"
    assert (len(tokenizers.of(short).ids(note)), len(tokenizers.of(long).ids(note))) == (4, 6)


def test_a_file_that_was_changed_or_is_missing_is_not_read(
    tokenizers: NoteTokenizers, store: ReleaseStore, tmp_path: Path
) -> None:
    release = published(store, tmp_path)
    path = Path(store.models_path, release.extra_file("tokenizer.json"))
    path.write_bytes(tokenizer_json(special=False))
    with pytest.raises(FilesAltered, match=r"changed: diagnose-note__r1/1/tokenizer\.json"):
        tokenizers.read(store, release)
    path.unlink()
    with pytest.raises(FilesAltered, match=r"missing: diagnose-note__r1/1/tokenizer\.json"):
        tokenizers.read(store, release)
    with pytest.raises(FilesAltered, match="missing"):
        tokenizers.read(store, release.model_copy(update={"files": {}}))


def test_a_file_that_was_released_and_is_no_tokenizer_is_refused(
    tokenizers: NoteTokenizers, store: ReleaseStore, tmp_path: Path
) -> None:
    release = published(store, tmp_path, content=b"import os")
    with pytest.raises(TokenizerUnusable):
        tokenizers.read(store, release)


def test_other_releases_have_none(tokenizers: NoteTokenizers, store: ReleaseStore) -> None:
    tokenizers.read(store, manifest("score-risk"))
    assert len(tokenizers) == 0


def test_fewer_long_notes_than_short_ones_are_asked_at_once() -> None:
    assert most_notes(1) == most_notes(91) == 1000
    assert most_notes(256) == 128
    assert most_notes(MAX_NOTE_TOKENS) == 32
    assert most_rows(manifest("diagnose-note", note=NoteSpec(max_tokens=256))) == 128
    assert most_rows(manifest("score-risk")) == 1000
