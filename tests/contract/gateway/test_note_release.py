"""A small note release, made on the spot, on a real Triton and behind a real gateway."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import planted_notes
import pytest
from planted_notes import LINE, PLANTED
from served import Gateway, run

from model_builder.progress import SilentProgress
from model_builder.proof.verifying import verify
from triton_models.release import Manifest
from triton_models.store import ReleaseStore
from triton_models.store_errors import FilesAltered

pytestmark = pytest.mark.contract


@pytest.fixture(scope="module")
def store(
    tmp_path_factory: pytest.TempPathFactory, embedded_triton_available: None
) -> ReleaseStore:
    found = ReleaseStore(tmp_path_factory.mktemp("notes"))
    planted_notes.publish(found)
    return found


@pytest.fixture(scope="module")
def gateway(store: ReleaseStore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    process = Gateway(Path(store.models_path).parent, tmp_path_factory.mktemp("gateway"))
    process.start()
    yield process
    process.stop()


def called(gateway: Gateway, *words: str) -> dict[str, object]:
    done = run("gateway", "call", "diagnose", *words, "--target", gateway.target, "--json")
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_triton_and_the_gateway_answer_every_test_row_as_torch_did(store: ReleaseStore) -> None:
    manifest: Manifest = store.manifest(LINE, "r1")
    found = verify(store, LINE, "r1", SilentProgress()).proof.served_parity
    outputs = {"probabilities", "unusualness", "token_weights"}
    assert {who: set(parity) for who, parity in found.items()} == {
        "ensemble": outputs,
        "fused": outputs,
        "gateway": {"probabilities"},
    }
    rows = {parity.rows for some in found.values() for parity in some.values()}
    assert rows == {manifest.data.split["test"]}


def test_a_note_is_called_and_explained_by_its_words(gateway: Gateway) -> None:
    answer = called(gateway, "--note", "The patient comes today, palpitations.", "--explain")
    assert answer["findings"][0]["label"] == "heart"  # type: ignore[index]
    words = answer["explanation"]["token_weights"]["tokens"]  # type: ignore[index]
    assert [one["token"] for one in words] == [
        "The", "patient", "comes", "today", ",", "palpitations", ".",
    ]  # fmt: skip
    assert max(words, key=lambda one: one["weight"])["token"] in PLANTED["heart"]
    assert answer["model"]["line"] == LINE  # type: ignore[index]


def test_a_note_that_is_too_long_is_answered_and_says_so(gateway: Gateway) -> None:
    answer = called(gateway, "--note", "rash " + "the evening was good " * 900)
    assert answer["input_notes"] == [{"feature": "note", "rule": "INPUT_RULE_TRUNCATED"}]


def test_a_tokenizer_that_was_changed_is_named(tmp_path: Path) -> None:
    store = ReleaseStore(tmp_path / "store")
    manifest = planted_notes.publish(store)
    path = Path(store.models_path, manifest.extra_file("tokenizer.json"))
    path.write_bytes(path.read_bytes().replace(b"rash", b"rush"))
    with pytest.raises(FilesAltered, match=r"changed: .*tokenizer\.json"):
        verify(store, LINE, "r1", SilentProgress())
