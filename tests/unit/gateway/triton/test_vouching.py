from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest
from manifests import manifest
from small_tokenizer import tokenizer_json
from staged_release import stage

from gateway.triton.vouching import Voucher
from triton_models.hashing import file_hashes
from triton_models.note_tokenizers import TOKENIZERS
from triton_models.release import Manifest
from triton_models.store import ReleaseStore


@pytest.fixture
def published(tmp_path: Path) -> tuple[ReleaseStore, Manifest]:
    store = ReleaseStore(tmp_path / "store")
    manifest, models = stage(tmp_path)
    store.publish(manifest, models, {})
    return store, manifest


async def test_a_release_as_released_has_no_fault(
    published: tuple[ReleaseStore, Manifest],
) -> None:
    store, manifest = published
    assert await Voucher(store).fault(manifest) == ""


async def test_an_altered_file_is_the_fault_and_in_the_log(
    published: tuple[ReleaseStore, Manifest], caplog: pytest.LogCaptureFixture
) -> None:
    store, manifest = published
    path = "score-risk__r1__encode/1/model.onnx"
    Path(store.models_path, path).write_bytes(b"Weights")
    voucher = Voucher(store)
    assert f"changed: {path}" in await voucher.fault(manifest)
    assert f"score-risk/r1 is not loaded: The files of score-risk/r1 are not those released (changed: {path})." in caplog.text  # fmt: skip # noqa: E501
    Path(store.models_path, path).write_bytes(b"weights")
    assert await voucher.fault(manifest) == "", "it is looked at anew each time"


async def test_all_who_ask_at_once_wait_for_one_look(
    published: tuple[ReleaseStore, Manifest],
) -> None:
    store, manifest = published
    looks, go_on = [], threading.Event()

    def check_files(one: Manifest) -> None:
        looks.append(one)
        go_on.wait(20)

    store.check_files = check_files  # type: ignore[method-assign]
    voucher = Voucher(store)
    asked = [asyncio.create_task(voucher.fault(manifest)) for _ in range(3)]
    while not looks:
        await asyncio.sleep(0)
    asked[0].cancel()
    go_on.set()
    assert await asyncio.gather(*asked[1:]) == ["", ""]
    assert len(looks) == 1


def published_notes(folder: Path, content: bytes) -> tuple[ReleaseStore, Manifest]:
    store, models = ReleaseStore(folder / "notes"), folder / "staged"
    path = models / "diagnose-note__r1" / "1" / "tokenizer.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    release = manifest("diagnose-note", files=file_hashes(models))
    store.publish(release, models, {})
    return store, release


async def test_the_tokenizer_of_a_release_for_notes_is_known_from_then_on(tmp_path: Path) -> None:
    store, release = published_notes(tmp_path, tokenizer_json())
    assert await Voucher(store).fault(release) == ""
    assert TOKENIZERS.of(release).ids("fever")
    TOKENIZERS.forget(release)


async def test_a_release_whose_tokenizer_is_none_is_not_loaded(tmp_path: Path) -> None:
    store, release = published_notes(tmp_path, b"{}")
    assert "no tokenizer" in await Voucher(store).fault(release)
