from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from signing_keys import make_keys
from staged_release import stage

from triton_models.signing import Signer, Verifier
from triton_models.store import ReleaseStore
from triton_models.store_errors import FilesAltered, Untrusted
from triton_models.trust import Trust

LINE = "score-risk"
ONNX = f"{LINE}__r1__encode/1/model.onnx"


@pytest.fixture(params=["folder", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ReleaseStore:
    return ReleaseStore(
        tmp_path / "store" if request.param == "folder" else f"memory://{tmp_path.name}"
    )


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def signed(store: ReleaseStore, tmp_path: Path, keys: tuple[Path, Path]) -> ReleaseStore:
    manifest, models = stage(tmp_path)
    store.publish(manifest, models, {}, Signer(keys[0]))
    return store


@pytest.fixture
def trust(keys: tuple[Path, Path]) -> Trust:
    return Trust(Verifier(keys[1]), required=True)


def write(store: ReleaseStore, path: str, change: Callable[[bytes], bytes]) -> None:
    """Change a file behind the store's back."""
    store._storage.replace(path, change(store._storage.read(path)))


def test_a_signed_release_is_trusted_and_says_where_its_signature_is(
    signed: ReleaseStore, trust: Trust
) -> None:
    manifest = trust.manifest(signed, LINE, "r1")
    assert manifest.signature == "r1.sig"
    assert signed.signature(LINE, "r1") is not None
    assert signed.releases() == [(LINE, "r1")], "a signature is no release"
    signed.check_files(manifest)


def test_a_manifest_edited_after_signing_is_refused(signed: ReleaseStore, trust: Trust) -> None:
    def brag(content: bytes) -> bytes:
        return content.replace(b'"value": 0.8', b'"value": 0.9')

    write(signed, f"releases/{LINE}/r1.json", brag)
    with pytest.raises(Untrusted, match=r"r1\.json is not to be trusted: it is not as it was"):
        trust.manifest(signed, LINE, "r1")
    assert signed.manifest(LINE, "r1").metrics["test"]["auc"].value == 0.9, "it was changed"


def test_a_manifest_without_its_signature_is_refused_only_where_one_is_required(
    signed: ReleaseStore, trust: Trust
) -> None:
    signed._storage.remove(f"releases/{LINE}/r1.sig")
    with pytest.raises(Untrusted, match="it is not signed"):
        trust.manifest(signed, LINE, "r1")
    assert Trust(trust.verifier).manifest(signed, LINE, "r1").release == "r1"
    assert Trust().manifest(signed, LINE, "r1").release == "r1"


def test_a_signature_that_is_there_must_be_right_also_where_none_is_required(
    signed: ReleaseStore, trust: Trust
) -> None:
    write(signed, f"releases/{LINE}/r1.sig", lambda content: content[:-40])
    with pytest.raises(Untrusted):
        Trust(trust.verifier).manifest(signed, LINE, "r1")


def test_the_signature_of_another_release_is_refused(
    signed: ReleaseStore, trust: Trust, tmp_path: Path, keys: tuple[Path, Path]
) -> None:
    manifest, models = stage(tmp_path, "r2")
    signed.publish(manifest, models, {}, Signer(keys[0]))
    theirs = signed.signature(LINE, "r2")
    assert theirs is not None
    write(signed, f"releases/{LINE}/r1.sig", lambda _: theirs)
    with pytest.raises(Untrusted):
        trust.manifest(signed, LINE, "r1")


def test_a_flipped_byte_names_the_file(signed: ReleaseStore) -> None:
    write(signed, f"models/{ONNX}", lambda content: bytes([content[0] ^ 1]) + content[1:])
    with pytest.raises(FilesAltered, match=f"score-risk/r1 .*changed: {ONNX}") as caught:
        signed.check_files(signed.manifest(LINE, "r1"))
    assert caught.value.changed == (ONNX,)
    assert not caught.value.missing
    assert not caught.value.unexpected


def test_a_truncated_and_a_missing_file_are_both_named(signed: ReleaseStore) -> None:
    write(signed, f"models/{ONNX}", lambda content: content[:3])
    gone = f"{LINE}__r1/config.pbtxt"
    signed._storage.remove(f"models/{gone}")
    with pytest.raises(FilesAltered) as caught:
        signed.check_files(signed.manifest(LINE, "r1"))
    assert (caught.value.changed, caught.value.missing) == ((ONNX,), (gone,))


def test_a_version_that_was_slipped_in_is_named(signed: ReleaseStore) -> None:
    """Triton would serve the highest number."""
    path = f"{LINE}__r1__encode/2/model.onnx"
    signed._storage.replace(f"models/{path}", b"another network")
    with pytest.raises(FilesAltered, match=f"not in the manifest: {path}"):
        signed.check_files(signed.manifest(LINE, "r1"))


def test_another_release_of_a_longer_name_is_left_alone(
    signed: ReleaseStore, tmp_path: Path
) -> None:
    manifest, models = stage(tmp_path, "r1.more")
    signed.publish(manifest, models, {})
    signed.check_files(signed.manifest(LINE, "r1"))


def test_the_signed_bytes_are_those_that_are_read(signed: ReleaseStore) -> None:
    content = signed.manifest_bytes(LINE, "r1")
    assert json.loads(content)["signature"] == "r1.sig"
    assert signed.understood(LINE, "r1", content) == signed.manifest(LINE, "r1")
