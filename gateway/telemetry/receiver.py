"""Takes the spans that the embedded Triton sends: OTLP/HTTP, JSON or protobuf."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from gateway.telemetry.otlp_protobuf import protobuf_to_json

if TYPE_CHECKING:
    from aiohttp import web

_log = logging.getLogger(__name__)
MAX_REQUEST_BYTES = 16 * 1024 * 1024
_HOST = "127.0.0.1"
_PATH = "/v1/traces"
_JSON = "application/json"
_PROTOBUF = "application/x-protobuf"
_STOP_S = 2.0


class OtlpReceiver:
    """A small OTLP/HTTP server on this machine, at a free port.

    It has its address from the beginning: who connects before it has started waits. Stop it even
    if it never started.

    Args:
        sink: Gets every request as parsed OTLP/JSON, on a thread; raises ``ValueError`` if it is
            none.
        max_request_bytes: The largest request, unpacked.
    """

    def __init__(
        self,
        sink: Callable[[Any], object],
        *,
        max_request_bytes: int = MAX_REQUEST_BYTES,
    ) -> None:
        self._sink = sink
        self._one_at_a_time = threading.Lock()
        self._listener = socket.create_server((_HOST, 0))
        self._port = self._listener.getsockname()[1]
        self._max_request_bytes = max_request_bytes
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """Where to send spans."""
        return f"http://{_HOST}:{self._port}{_PATH}"

    async def start(self) -> None:
        """Take what comes."""
        from aiohttp import web  # takes its time: others start meanwhile

        app = web.Application(client_max_size=self._max_request_bytes)
        app.router.add_post(_PATH, self._receive)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=_STOP_S)
        await self._runner.setup()
        await web.SockSite(self._runner, self._listener).start()

    async def stop(self) -> None:
        """Finish what is arriving and stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        self._listener.close()

    async def _receive(self, request: web.Request) -> web.Response:
        from aiohttp import web

        content_type = request.content_type
        if content_type not in (_JSON, _PROTOBUF):
            return web.Response(status=415, text=f"send {_JSON} or {_PROTOBUF}")
        try:
            body = await request.read()
        except web.HTTPException:  # too large
            raise
        except Exception as error:  # aiohttp's errors of a body that cannot be unpacked
            return web.Response(status=400, text=f"unreadable body: {type(error).__name__}")
        try:
            # On a thread: Triton's batches are large, and calls are served on this loop.
            await asyncio.to_thread(self._take, content_type, body)
        except (ValueError, RecursionError) as error:  # the latter: JSON as deep as a well
            return web.Response(status=400, text=str(error))
        if content_type == _JSON:
            return web.json_response({})
        return web.Response(
            body=ExportTraceServiceResponse().SerializeToString(), content_type=_PROTOBUF
        )

    def _take(self, content_type: str, body: bytes) -> None:
        content = json.loads(body) if content_type == _JSON else protobuf_to_json(body)
        with self._one_at_a_time:
            try:
                self._sink(content)
            except ValueError:
                raise
            except Exception:
                _log.exception("Spans that were received could not be passed on")
