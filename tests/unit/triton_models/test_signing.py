from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from signing_keys import make_keys

from triton_models.signing import (
    KeyUnusable,
    SignatureInvalid,
    Signer,
    SigningMissing,
    Verifier,
)

CONTENT = b'{"line": "score-risk"}'


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    return make_keys(tmp_path)


def test_what_was_signed_is_accepted(keys: tuple[Path, Path]) -> None:
    private, public = keys
    Verifier(public).check(CONTENT, Signer(private)(CONTENT))


def test_a_signature_is_a_sigstore_bundle_that_names_the_hash(keys: tuple[Path, Path]) -> None:
    bundle = json.loads(Signer(keys[0])(CONTENT))
    assert bundle["mediaType"].startswith("application/vnd.dev.sigstore.bundle")
    assert bundle["dsseEnvelope"]["payloadType"] == "application/vnd.in-toto+json"


def test_one_changed_byte_is_refused(keys: tuple[Path, Path]) -> None:
    private, public = keys
    signature = Signer(private)(CONTENT)
    with pytest.raises(SignatureInvalid):
        Verifier(public).check(CONTENT.replace(b"risk", b"rush"), signature)


def test_the_signature_of_another_key_is_refused(keys: tuple[Path, Path], tmp_path: Path) -> None:
    other, _ = make_keys(tmp_path, "other")
    with pytest.raises(SignatureInvalid, match=r"[Kk]ey"):
        Verifier(keys[1]).check(CONTENT, Signer(other)(CONTENT))


@pytest.mark.parametrize("bundle", [b"", b"{}", b"[1]", b'{"dsseEnvelope": 3}', b"\xff"])
def test_whatever_is_no_signature_is_refused(bundle: bytes, keys: tuple[Path, Path]) -> None:
    with pytest.raises(SignatureInvalid) as caught:
        Verifier(keys[1]).check(CONTENT, bundle)
    assert "\n" not in str(caught.value)


def test_an_encrypted_key_signs_with_its_password_only(tmp_path: Path) -> None:
    private, public = make_keys(tmp_path, password=b"open sesame")
    Verifier(public).check(CONTENT, Signer(private, "open sesame")(CONTENT))
    for password in (None, "wrong"):
        with pytest.raises(KeyUnusable, match=r"key\.pem holds no usable key"):
            Signer(private, password)


def test_a_file_that_is_no_key_is_named(tmp_path: Path) -> None:
    nothing = tmp_path / "nothing.pem"
    nothing.write_text("hello")
    with pytest.raises(KeyUnusable, match=r"nothing\.pem"):
        Verifier(nothing)
    with pytest.raises(KeyUnusable, match=r"missing\.pem"):
        Signer(tmp_path / "missing.pem")


@pytest.mark.parametrize("kind", [Signer, Verifier])
def test_where_the_library_is_missing_it_is_named(
    kind: type[Signer] | type[Verifier], keys: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "model_signing", None)
    with pytest.raises(SigningMissing, match=r"pip install 'trident\[signing\]'"):
        kind(keys[0])
