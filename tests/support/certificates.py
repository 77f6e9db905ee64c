"""Authorities and certificates, made for a test."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = timedelta(days=1)


@dataclass(frozen=True)
class Pair:
    """A certificate and its key."""

    certificate: x509.Certificate
    private_key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def key(self) -> bytes:
        return self.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def key_with_password(self, password: bytes) -> bytes:
        encryption = BestAvailableEncryption(password)
        return self.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)

    def write(self, folder: Path, name: str) -> tuple[Path, Path]:
        """The files of both."""
        files = folder / f"{name}.pem", folder / f"{name}.key"
        files[0].write_bytes(self.pem)
        files[1].write_bytes(self.key)
        return files


def authority(name: str = "authority") -> Pair:
    """Who signs certificates."""
    return _made(name, None, is_authority=True, valid=(-DAY, DAY), alternatives=(), usage=None)


def signed(
    by: Pair,
    name: str,
    *,
    alternatives: tuple[x509.GeneralName, ...] = (),
    valid: tuple[timedelta, timedelta] = (-DAY, DAY),
    usage: x509.ObjectIdentifier | None = None,
) -> Pair:
    """A certificate of somebody, valid from and until what is so far from now."""
    return _made(name, by, is_authority=False, valid=valid, alternatives=alternatives, usage=usage)


def of_server(by: Pair, name: str = "gateway") -> Pair:
    """A certificate of a server on this machine."""
    local = (
        x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
    )  # fmt: skip
    return signed(by, name, alternatives=local, usage=ExtendedKeyUsageOID.SERVER_AUTH)


def of_client(by: Pair, name: str = "client") -> Pair:
    """A certificate of a client, with a SPIFFE ID."""
    uri = x509.UniformResourceIdentifier(f"spiffe://test/{name}")
    return signed(by, name, alternatives=(uri,), usage=ExtendedKeyUsageOID.CLIENT_AUTH)


def _made(
    name: str,
    by: Pair | None,
    *,
    is_authority: bool,
    valid: tuple[timedelta, timedelta],
    alternatives: tuple[x509.GeneralName, ...],
    usage: x509.ObjectIdentifier | None,
) -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)] if name else [])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.certificate.subject if by else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + valid[0])
        .not_valid_after(now + valid[1])
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
    )
    if alternatives:
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    if usage is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    signer = by.private_key if by else key
    return Pair(builder.sign(signer, hashes.SHA256()), key)
