"""How a client shows who it is, and whom it trusts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    import grpc

Options = Sequence[tuple[str, Any]]

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@dataclass(frozen=True)
class Identity:
    """What a client shows; it never shows itself in a text.

    Attributes:
        tls_ca: Whose certificate the gateway must have (PEM); ``None``: plain text.
        tls_certificate: The client's own (PEM).
        tls_key: Its key (PEM).
        token: A token of an issuer.
        api_key: A key of ``gateway keys``.
    """

    tls_ca: Path | None = None
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    token: str | None = field(default=None, repr=False)
    api_key: str | None = field(default=None, repr=False)

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What goes with each call."""
        shown = []
        if self.token:
            shown.append(("authorization", f"Bearer {self.token}"))
        if self.api_key:
            shown.append(("x-api-key", self.api_key))
        return tuple(shown)

    def channel(self, target: str, options: Options) -> grpc.Channel:
        """Return a channel to a gateway."""
        import grpc

        if self.tls_ca is None:
            return grpc.insecure_channel(target, options)
        return grpc.secure_channel(target, self._credentials(), options)

    def aio_channel(self, target: str, options: Options) -> grpc.aio.Channel:
        """Return a channel to a gateway, for an event loop."""
        import grpc

        if self.tls_ca is None:
            return grpc.aio.insecure_channel(target, options)
        return grpc.aio.secure_channel(target, self._credentials(), options)

    def _credentials(self) -> grpc.ChannelCredentials:
        import grpc

        return grpc.ssl_channel_credentials(
            self.tls_ca.read_bytes() if self.tls_ca else None,
            self.tls_key.read_bytes() if self.tls_key else None,
            self.tls_certificate.read_bytes() if self.tls_certificate else None,
        )


NOBODY = Identity()
"""Shows nothing, in plain text."""


def identified(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of whoever calls, as one parameter ``identity``."""

    @wraps(command)
    def with_identity(
        *,
        tls_ca: Path | None,
        tls_cert: Path | None,
        tls_key: Path | None,
        token: str | None,
        api_key: str | None,
        **rest: Any,
    ) -> None:
        if (tls_cert is None) != (tls_key is None):
            raise click.UsageError("--tls-cert and --tls-key go together")
        if tls_cert is not None and tls_ca is None:
            raise click.UsageError("--tls-cert needs --tls-ca")
        if (token or api_key) and tls_ca is None:
            click.echo("Without --tls-ca the credentials travel in plain text.", err=True)
        command(identity=Identity(tls_ca, tls_cert, tls_key, token, api_key), **rest)

    options = (
        click.option("--tls-ca", type=_FILE, envvar="TRIDENT_TLS_CA", metavar="FILE",
                     help="Speak TLS; the authority of the gateway's certificate (PEM)."),
        click.option("--tls-cert", type=_FILE, envvar="TRIDENT_TLS_CERT", metavar="FILE",
                     help="A certificate of yours to show (PEM)."),
        click.option("--tls-key", type=_FILE, envvar="TRIDENT_TLS_CERT_KEY", metavar="FILE",
                     help="Its private key (PEM)."),
        click.option("--token", envvar="TRIDENT_TOKEN", metavar="TOKEN",
                     help="A token to show. Better in TRIDENT_TOKEN: others see command lines."),
        click.option("--api-key", envvar="TRIDENT_API_KEY", metavar="KEY",
                     help="An API key to show. Better in TRIDENT_API_KEY."),
    )  # fmt: skip
    run: Callable[..., None] = with_identity
    for option in reversed(options):
        run = option(run)
    return run
