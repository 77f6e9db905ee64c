"""What TLS is spoken with: certificates and keys, in files that may change."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from gateway.security.errors import UnusableFile


@dataclass(frozen=True)
class ServerTls:
    """How TLS is spoken with clients.

    Attributes:
        certificate: Ours, with those between it and the root; PEM.
        key: Its private key; PEM, without a password.
        client_ca: Whose certificates clients must show; ``None``: they show none.
    """

    certificate: Path
    key: Path
    client_ca: Path | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """What is read."""
        given = (self.certificate, self.key, self.client_ca)
        return tuple(one for one in given if one is not None)

    def check(self) -> None:
        """Check that all can be used, and that key and certificate are of each other.

        Raises:
            UnusableFile: If not; says nothing of what is in them.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        load_pair(context, self.certificate, self.key)
        if self.client_ca is not None:
            load_ca(context, self.client_ca)


@dataclass(frozen=True)
class ClientTls:
    """How TLS is spoken with a server.

    Attributes:
        ca: Whose certificates servers must show; PEM.
        certificate: Ours, if servers want one; PEM.
        key: Its private key; PEM, without a password.
    """

    ca: Path
    certificate: Path | None = None
    key: Path | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """What is read."""
        return tuple(one for one in (self.ca, self.certificate, self.key) if one is not None)

    def context(self) -> ssl.SSLContext:
        """Return what speaks TLS.

        Raises:
            UnusableFile: If a file cannot be used.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        load_ca(context, self.ca)
        if self.certificate is not None and self.key is not None:
            load_pair(context, self.certificate, self.key)
        return context


def load_pair(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    """Use a certificate with its key.

    Raises:
        UnusableFile: If they cannot be used.
    """
    for path in (certificate, key):
        _readable(path)
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except (ssl.SSLError, ValueError) as error:
        reason = getattr(error, "reason", "") or str(error)
        raise UnusableFile(certificate, {"": f"cannot be used with {key}: {reason}"}) from None


def load_ca(context: ssl.SSLContext, ca: Path) -> None:
    """Trust an authority.

    Raises:
        UnusableFile: If its certificate cannot be used.
    """
    _readable(ca)
    try:
        context.load_verify_locations(ca)
    except ssl.SSLError as error:
        raise UnusableFile(ca, {"": f"holds no certificate: {error.reason}"}) from None


def _readable(path: Path) -> None:
    try:
        path.read_bytes()
    except OSError as error:
        raise UnusableFile(path, {"": error.strerror or str(error)}) from None


def _no_password() -> str:
    raise ValueError("the key has a password")
