"""What an Envoy is told: one listener that speaks HTTP/2 to our Python, and nothing else.

Field names are those of Envoy's v3 API.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gateway.security.tls import ServerTls
from gateway.transport.envoy_tls import failure_log, transport_socket
from gateway.transport.protection import Protection

STAT_PREFIX = "trident"
LISTENER = "grpc"

_TYPES = "type.googleapis.com/envoy.extensions.filters"
_HTTP_MANAGER = f"{_TYPES}.network.http_connection_manager.v3.HttpConnectionManager"
_MODULE_FILTER = f"{_TYPES}.http.dynamic_modules.v3.DynamicModuleFilter"

_OWN_HEADERS = 16
"""Of each call, beside the client's metadata: the method, the deadline, and what Envoy adds."""
_OWN_HEADER_BYTES = 1024
_BUFFER_BYTES = 256 * 1024
"""What of a connection Envoy reads before it looks at it, and writes before its client takes it.

Messages may be larger, and wait for our Python within the window of their stream. It must not
grow with them: of headers without an end, Envoy reads so much before it sees that they are too
many, and keeps the memory.
"""

_HTTP2: Mapping[str, Any] = {
    # 64 KiB, as HTTP/2 starts with, would make every larger message wait for a round trip.
    "initial_stream_window_size": 1024 * 1024,
    "initial_connection_window_size": 16 * 1024 * 1024,
    # Finds clients that vanished without a word. Pings of clients are answered anyway, and those
    # that send far too many are cut off by Envoy's own limits.
    "connection_keepalive": {"interval": "60s", "timeout": "20s"},
}
_HANDSHAKE = "10s"
"""Time that a client has for it."""
_MAX_CONNECTION_AGE = "1800s"
"""Sends clients a GOAWAY now and then, so that they find replicas that came later. What is in
flight then, streams too, goes on to its end."""


def envoy_config(
    *,
    app: str,
    module: str,
    addresses: Sequence[tuple[str, int]],
    admin_socket: str,
    protection: Protection,
    folder: Path,
) -> dict[str, Any]:
    """Return the bootstrap of an Envoy.

    Args:
        app: The ASGI application, as ``module:attribute``.
        module: The path of pyvoy's shared library.
        addresses: IP addresses and ports to listen at, at least one.
        admin_socket: The path of the socket for orders to this Envoy; only its owner may use it.
        protection: What is asked of connections, and borne with.
        folder: Of this Envoy alone.
    """
    tls = protection.tls
    first, *others = [
        {"address": {"socket_address": {"address": ip, "port_value": port}}}
        for ip, port in addresses
    ]
    manager = {
        "@type": _HTTP_MANAGER,
        "stat_prefix": STAT_PREFIX,
        "codec_type": "HTTP2",
        "http2_protocol_options": {
            **_HTTP2,
            "max_concurrent_streams": protection.max_concurrent_streams,
        },
        "common_http_protocol_options": {
            "max_connection_duration": _MAX_CONNECTION_AGE,
            "max_headers_count": protection.max_metadata_count + _OWN_HEADERS,
        },
        "max_request_headers_kb": -(-(protection.max_metadata_bytes + _OWN_HEADER_BYTES) // 1024),
        **_certificate_header(tls),
        # A stream may be silent for as long as it likes; its deadline is ours to keep.
        "stream_idle_timeout": "0s",
        "request_headers_timeout": "10s",
        # Between the two GOAWAYs of a connection: what a client sends meanwhile is answered.
        "drain_timeout": "1s",
        "generate_request_id": False,
        "skip_xff_append": True,
        "server_header_transformation": "PASS_THROUGH",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"]}]},
        "http_filters": [_python_filter(app, module)],
    }
    listener = {
        "name": LISTENER,
        **first,
        "additional_addresses": others,
        "enable_reuse_port": True,
        "per_connection_buffer_limit_bytes": _BUFFER_BYTES,
        "access_log": [failure_log()] if tls else [],
        "filter_chains": [
            {
                **({"transport_socket": transport_socket(tls, folder)} if tls else {}),
                "transport_socket_connect_timeout": _HANDSHAKE,
                "filters": [
                    {"name": "envoy.filters.network.http_connection_manager",
                     "typed_config": manager}
                ]
            }
        ],
    }  # fmt: skip
    return {
        # Whatever names the node is unused, but secrets are not given without.
        "node": {"id": STAT_PREFIX, "cluster": STAT_PREFIX},
        "admin": {"address": {"pipe": {"path": admin_socket, "mode": 0o600}}},
        "static_resources": {"listeners": [listener]},
        # Every counter costs memory and a little time; these few are looked at.
        "stats_config": {
            "stats_matcher": {
                "inclusion_list": {"patterns": [{"prefix": f"http.{STAT_PREFIX}.downstream_"}]}
            }
        },
    }


def _certificate_header(tls: ServerTls | None) -> dict[str, Any]:
    """Return how our Python learns of the client's certificate.

    No client can write that header: unasked, Envoy takes it away.
    """
    if tls is None or tls.client_ca is None:
        return {}
    return {
        "forward_client_cert_details": "SANITIZE_SET",
        "set_current_client_cert_details": {"cert": True},
    }


def _python_filter(app: str, module: str) -> dict[str, Any]:
    settings = {"app": app, "interface": "asgi", "lifespan": True, "loop": "uvloop"}
    return {
        "name": "pyvoy",
        "typed_config": {
            "@type": f"{_MODULE_FILTER}",
            "dynamic_module_config": {"module": {"local": {"filename": module}}},
            "filter_name": "pyvoy",
            "terminal_filter": True,
            "filter_config": {
                "@type": "type.googleapis.com/google.protobuf.StringValue",
                "value": json.dumps(settings),
            },
        },
    }


def resolve(listen: str) -> list[tuple[str, int]]:
    """Return the IP addresses of ``host:port``, each once; Envoy looks up no names itself.

    Raises:
        OSError: If the host is not known.
    """
    host, _, port = listen.rpartition(":")
    found = socket.getaddrinfo(
        host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    return list(dict.fromkeys((str(info[4][0]), int(info[4][1])) for info in found))
