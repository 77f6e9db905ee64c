"""Who a client's certificate says that it is."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import unquote_to_bytes

from cachetools import LRUCache
from cryptography import x509
from cryptography.x509.oid import ExtensionOID, NameOID

from gateway.security.client import Client, ClientKind, client_id, known_client
from gateway.security.errors import Refused
from gateway.security.permissions import Grants, Methods

_MAX_KNOWN = 10_000
_CERTIFICATE = 'Cert="'


class Certificates:
    """Tells whose a certificate is that the handshake has accepted.

    Args:
        methods: What can be permitted.
        grants: What is permitted to whom; returns ``None`` where every certificate may all.
    """

    def __init__(self, methods: Methods, grants: Callable[[], Grants | None]) -> None:
        self._methods = methods
        self._grants = grants
        self._known: LRUCache[bytes, Client] = LRUCache(_MAX_KNOWN)

    def forget(self) -> None:
        """Look at every certificate anew: permissions have changed."""
        self._known = LRUCache(_MAX_KNOWN)

    def client(self, certificate: bytes) -> Client:
        """Return whose a certificate is.

        Args:
            certificate: As the transport tells it: PEM, or Envoy's header about it.

        Raises:
            Refused: If it names nobody.
        """
        known = self._known
        client = known.get(certificate)
        if client is None:
            name = certificate_name(pem_of(certificate))
            grants = self._grants()
            who = client_id(ClientKind.CERTIFICATE, name)
            patterns = ["*"] if grants is None else grants.of(who)
            methods = self._methods.permitted(patterns)
            client = known[certificate] = known_client(ClientKind.CERTIFICATE, name, methods)
        return client


def pem_of(told: bytes) -> bytes:
    """Return the certificate in what a transport tells: PEM, or Envoy's header.

    The header's ``Cert`` is percent-encoded, so nothing in a certificate can look like a field.

    Raises:
        Refused: If there is none.
    """
    if told.startswith(b"-----BEGIN"):
        return told
    _, found, rest = told.decode("latin-1").partition(_CERTIFICATE)
    if not found:
        raise Refused("no certificate came with the connection")
    return unquote_to_bytes(rest.partition('"')[0])


def certificate_name(pem: bytes) -> str:
    """Return whose a certificate is: its URI (SPIFFE), else its first DNS name, else its CN.

    Raises:
        Refused: If it says none of them.
    """
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        names = _alternative_names(certificate)
        common = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    except ValueError as error:
        raise Refused(f"the certificate cannot be read ({type(error).__name__})") from None
    names += [str(one.value) for one in common]
    usable = [name for name in names if name and name.isprintable()]
    if not usable:
        raise Refused("the certificate names nobody")
    return usable[0]


def _alternative_names(certificate: x509.Certificate) -> list[str]:
    try:
        extension = certificate.extensions.get_extension_for_oid(
            ExtensionOID.SUBJECT_ALTERNATIVE_NAME
        ).value
    except x509.ExtensionNotFound:
        return []
    assert isinstance(extension, x509.SubjectAlternativeName)
    return [
        *extension.get_values_for_type(x509.UniformResourceIdentifier),
        *extension.get_values_for_type(x509.DNSName),
    ]
