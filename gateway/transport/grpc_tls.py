"""TLS on grpc.aio, with certificates that may change while it listens."""

from __future__ import annotations

from typing import Any

import grpc

from gateway.security.tls import ServerTls
from gateway.security.watching import Watched


class ServerCredentials:
    """What grpc is given; a handshake takes the certificates that are in force then.

    Args:
        tls: How TLS is spoken.

    Attributes:
        credentials: For a secure port.
        watched: Reads the certificates anew when they change.

    Raises:
        UnusableFile: If a file cannot be used.
    """

    def __init__(self, tls: ServerTls) -> None:
        self._tls = tls
        self._new: grpc.ServerCertificateConfiguration | None = None
        fetch: Any = self._fetch  # which may give nothing, though grpc's stubs do not say so
        self.credentials = grpc.dynamic_ssl_server_credentials(
            self._configuration(), fetch, tls.client_ca is not None
        )
        self.watched = Watched("Certificates", tls.files, self._read)

    def _read(self) -> None:
        self._new = self._configuration()

    def _fetch(self) -> grpc.ServerCertificateConfiguration | None:
        """Return what has changed since the last handshake; called by threads of grpc."""
        new, self._new = self._new, None
        return new

    def _configuration(self) -> grpc.ServerCertificateConfiguration:
        tls = self._tls
        tls.check()  # grpc would take anything, and fail each handshake
        return grpc.ssl_server_certificate_configuration(
            [(tls.key.read_bytes(), tls.certificate.read_bytes())],
            root_certificates=tls.client_ca.read_bytes() if tls.client_ca else None,
        )
