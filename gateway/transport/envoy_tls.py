"""TLS of an Envoy, with certificates that may change while it listens.

Envoy reads them again when a file is moved into a folder that it watches. Which changes count, and
whether what has changed can be used, is looked at by our Python in it, the same way as on grpc.aio;
then it moves a file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gateway.security.tls import ServerTls
from gateway.security.watching import Watched

RELOAD_FOLDER = "TRIDENT_ENVOY_RELOAD"
"""The variable with the folder that Envoy watches."""

_TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3"
_ACCESS = "type.googleapis.com/envoy.extensions.access_loggers"
_FAILED = (
    "connection.transport_failure_reason != '' "
    "&& !connection.transport_failure_reason.contains('system library')"
)
"""What the system library says is no failure of TLS: clients that went without a word."""

_CERTIFICATE, _CLIENT_CA = "certificate", "client-ca"


def transport_socket(tls: ServerTls, folder: Path) -> dict[str, Any]:
    """Return how a listener speaks TLS; writes what it says of the certificates' files.

    Args:
        tls: How.
        folder: Of this Envoy alone; it watches the folder ``reload`` there.
    """
    watched = {"path": str(reload_folder(folder))}
    common: dict[str, Any] = {
        "alpn_protocols": ["h2"],
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
        "tls_certificate_sds_secret_configs": [
            _secret(
                folder,
                _CERTIFICATE,
                {
                    "tls_certificate": {
                        "certificate_chain": {"filename": str(tls.certificate.absolute())},
                        "private_key": {"filename": str(tls.key.absolute())},
                        "watched_directory": watched,
                    }
                },
            )
        ],
    }
    if tls.client_ca is not None:
        trusted = {"filename": str(tls.client_ca.absolute())}
        common["validation_context_sds_secret_config"] = _secret(
            folder,
            _CLIENT_CA,
            {"validation_context": {"trusted_ca": trusted, "watched_directory": watched}},
        )
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": f"{_TLS}.DownstreamTlsContext",
            "require_client_certificate": tls.client_ca is not None,
            "common_tls_context": common,
        },
    }


def failure_log() -> dict[str, Any]:
    """Return what says on standard error why handshakes failed; of others it says nothing."""
    said = "TLS with %DOWNSTREAM_REMOTE_ADDRESS% failed: %DOWNSTREAM_TRANSPORT_FAILURE_REASON%\n"
    return {
        "name": "envoy.access_loggers.stderr",
        "filter": {
            "extension_filter": {
                "name": "envoy.access_loggers.extension_filters.cel",
                "typed_config": {
                    "@type": f"{_ACCESS}.filters.cel.v3.ExpressionFilter",
                    "expression": _FAILED,
                },
            }
        },
        "typed_config": {
            "@type": f"{_ACCESS}.stream.v3.StderrAccessLog",
            "log_format": {"text_format_source": {"inline_string": said}},
        },
    }


def reload_folder(folder: Path) -> Path:
    """Return the folder that Envoy watches, made if need be."""
    path = folder / "reload"
    path.mkdir(exist_ok=True)
    return path


def watched_certificates(tls: ServerTls, environment: Mapping[str, str]) -> Watched:
    """Return what makes Envoy read the certificates anew when they change.

    Args:
        tls: Which.
        environment: Of the Envoy.
    """
    folder = Path(environment[RELOAD_FOLDER])

    def read() -> None:
        tls.check()
        draft = folder.with_name("changed")
        draft.touch()
        os.replace(draft, folder / "changed")

    return Watched("Certificates", tls.files, read)


def _secret(folder: Path, name: str, secret: Mapping[str, Any]) -> dict[str, Any]:
    """Write a secret's description, of files alone, and return where it is."""
    path = folder / f"{name}.json"
    resource = {"@type": f"{_TLS}.Secret", "name": name, **secret}
    path.write_text(json.dumps({"resources": [resource]}))
    return {
        "name": name,
        "sds_config": {"path_config_source": {"path": str(path)}, "resource_api_version": "V3"},
    }
