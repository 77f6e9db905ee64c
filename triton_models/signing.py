"""Signatures of manifests, as OpenSSF model-signing makes and checks them with a key.

The library takes a good part of a second to import, so it is imported where something is signed
or checked, and nowhere else.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any


class SignatureInvalid(Exception):
    """What is signed, by whom, or the signature itself is not as it must be."""


class SigningImpossible(Exception):
    """Nothing can be signed or checked here; root of the two below."""


class SigningMissing(SigningImpossible):
    """The library is not installed."""

    def __init__(self, cause: ImportError) -> None:
        super().__init__(f"Signatures need model-signing ({cause}): pip install 'trident[signing]'")


class KeyUnusable(SigningImpossible):
    """A file that holds no key that can be used."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path} holds no usable key: {reason}")
        self.path = path


class Signer:
    """Signs with a private key.

    Args:
        private_key: A PEM file with a key on an elliptic curve (P-256, P-384 or P-521).
        password: Of the file, if it is encrypted.

    Raises:
        KeyUnusable: If it is no such key.
        SigningMissing: If the library is not installed.
    """

    def __init__(self, private_key: Path, password: str | None = None) -> None:
        try:
            from model_signing import signing
        except ImportError as error:
            raise SigningMissing(error) from error
        self.private_key = private_key
        # The library says that it takes a str, and hands it to one that takes bytes.
        secret: Any = None if password is None else password.encode()
        try:
            self._config = signing.Config().use_elliptic_key_signer(
                private_key=private_key, password=secret
            )
        except (OSError, ValueError, TypeError) as error:
            raise KeyUnusable(private_key, _one_line(error)) from error

    def __call__(self, content: bytes) -> bytes:
        """Return the signature of a content, a Sigstore bundle in JSON."""
        with tempfile.TemporaryDirectory(prefix="trident-sign-") as folder:
            signed, signature = Path(folder, "manifest"), Path(folder, "signature")
            signed.write_bytes(content)
            self._config.sign(signed, signature)
            return signature.read_bytes()


class Verifier:
    """Checks signatures with a public key.

    Args:
        public_key: A PEM file.

    Raises:
        KeyUnusable: If it holds no such key.
        SigningMissing: If the library is not installed.
    """

    def __init__(self, public_key: Path) -> None:
        try:
            from model_signing import verifying
        except ImportError as error:
            raise SigningMissing(error) from error
        try:
            self._config = verifying.Config().use_elliptic_key_verifier(public_key=public_key)
        except (OSError, ValueError, TypeError) as error:
            raise KeyUnusable(public_key, _one_line(error)) from error

    def check(self, content: bytes, signature: bytes) -> None:
        """Return if the key's owner has signed this content.

        Raises:
            SignatureInvalid: If not.
        """
        with tempfile.TemporaryDirectory(prefix="trident-verify-") as folder:
            signed, bundle = Path(folder, "manifest"), Path(folder, "signature")
            signed.write_bytes(content)
            bundle.write_bytes(signature)
            try:
                self._config.verify(signed, bundle)
            except Exception as error:
                # A signature is what a stranger may have written: whatever the library makes of
                # it, it is not one of ours.
                raise SignatureInvalid(_one_line(error)) from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
