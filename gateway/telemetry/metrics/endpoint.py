"""Where Prometheus finds the metrics, ``GET /metrics``, and Kubernetes whether all is well."""

from __future__ import annotations

import gzip
import logging
import socket
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer, ThreadingMixIn
from typing import Any

from gateway.telemetry.metrics.exposition import Resource, choose_format
from gateway.telemetry.metrics.snapshot import Snapshot

_log = logging.getLogger(__name__)

Probe = Callable[[], str]

_PATH = "/metrics"
_NO_PROBES: Mapping[str, Probe] = {}
_CLIENT_S = 10.0
"""For a client that says nothing, or takes nothing."""


class MetricsEndpoint:
    """Listens from the beginning, answers once started; an address in use is refused.

    Args:
        listen: ``host:port``; port 0 for a free one.
        gather: Gives all there is; called on a thread for each request.
        resource: What the metrics are of.
        probes: By path: what says why something is not well, and ``""`` if it is.

    Raises:
        OSError: If the address is in use or not of this machine.
    """

    def __init__(
        self,
        listen: str,
        gather: Callable[[], Snapshot],
        resource: Resource,
        probes: Mapping[str, Probe] = _NO_PROBES,
    ) -> None:
        host, _, port = listen.rpartition(":")
        info = socket.getaddrinfo(
            host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, *_, address = info[0]
        self._server = _Server(family, address, gather, resource, probes)
        self._host = host
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="metrics-http", daemon=True
        )

    @property
    def url(self) -> str:
        """Where to look."""
        return f"http://{self._host}:{self._server.server_address[1]}{_PATH}"

    def start(self) -> None:
        """Answer from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Listen no more."""
        if self._thread.is_alive():
            self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingMixIn, TCPServer):
    """Not an HTTPServer, which asks who this machine is: that can take seconds."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False

    def __init__(
        self,
        family: socket.AddressFamily,
        address: Any,
        gather: Callable[[], Snapshot],
        resource: Resource,
        probes: Mapping[str, Probe],
    ) -> None:
        self.probes = probes
        self.address_family = family
        self.gather = gather
        self.resource = resource
        super().__init__(address, _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Take note; a client that goes is no news."""
        _log.debug("A client of the metrics went", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = _CLIENT_S
    server_version = "trident"
    sys_version = ""

    def do_GET(self) -> None:  # named by http.server
        """Answer."""
        path = self.path.partition("?")[0]
        if (probe := self.server.probes.get(path)) is not None:
            self._tell(probe())
            return
        if path != _PATH:
            self.send_error(404, explain=f"The metrics are at {_PATH}.")
            return
        chosen = choose_format(self.headers.get("Accept", ""))
        try:
            body = chosen.write(self.server.gather(), self.server.resource)
        except Exception:
            _log.exception("The metrics could not be shown")
            self.send_error(500)
            return
        packed = "gzip" in self.headers.get("Accept-Encoding", "")
        if packed:
            body = gzip.compress(body, compresslevel=1)
        self.send_response(200)
        self.send_header("Content-Type", chosen.content_type)
        if packed:
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def _tell(self, why_not: str) -> None:
        """Answer a probe."""
        body = f"{why_not or 'ok'}\n".encode()
        self.send_response(503 if why_not else 200)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815 - named by http.server

    def log_message(self, format: str, *arguments: Any) -> None:
        """Be quiet: scrapers come every few seconds."""
