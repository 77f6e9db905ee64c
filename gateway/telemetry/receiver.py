"""Takes the spans that the embedded Triton sends: OTLP/HTTP, JSON or protobuf."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable

from aiohttp import web
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from gateway.telemetry.trace_file import json_to_request

_log = logging.getLogger(__name__)
_MAX_REQUEST_BYTES = 16 * 1024 * 1024
_QUEUE_LENGTH = 1000

Sink = Callable[[ExportTraceServiceRequest], object]


class OtlpReceiver:
    """A small OTLP/HTTP server on this machine.

    Args:
        sinks: Each gets every request, on a thread of its own kind (they may block).
        host: Where to listen.
        port: 0 for a free one.
    """

    def __init__(self, *sinks: Sink, host: str = "127.0.0.1", port: int = 0) -> None:
        self._sinks = sinks
        self._host, self._port = host, port
        self._queue: asyncio.Queue[ExportTraceServiceRequest] = asyncio.Queue(_QUEUE_LENGTH)
        self._runner: web.AppRunner | None = None
        self._worker: asyncio.Task[None] | None = None
        self.dropped_requests = 0

    @property
    def url(self) -> str:
        """Where to send spans."""
        return f"http://{self._host}:{self._port}/v1/traces"

    async def start(self) -> None:
        """Listen."""
        app = web.Application(client_max_size=_MAX_REQUEST_BYTES)
        app.router.add_post("/v1/traces", self._receive)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, self._port).start()
        self._port = self._runner.addresses[0][1]
        self._worker = asyncio.create_task(self._deliver())

    async def stop(self) -> None:
        """Deliver what has arrived and stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()
            await self._queue.join()
        if self._worker is not None:
            self._worker.cancel()

    async def _receive(self, request: web.Request) -> web.Response:
        body = await request.read()
        as_json = request.content_type == "application/json"
        try:
            if as_json:
                spans = json_to_request(json.loads(body))
            elif request.content_type == "application/x-protobuf":
                spans = ExportTraceServiceRequest.FromString(body)
            else:
                return web.Response(status=415, text="send application/json or x-protobuf")
        except (ValueError, DecodeError) as error:
            return web.Response(status=400, text=str(error))
        try:
            self._queue.put_nowait(spans)
        except asyncio.QueueFull:
            self.dropped_requests += 1
            return web.Response(status=503, headers={"Retry-After": "1"})
        if as_json:
            return web.json_response({})
        return web.Response(
            body=ExportTraceServiceResponse().SerializeToString(),
            content_type="application/x-protobuf",
        )

    async def _deliver(self) -> None:
        while True:
            spans = await self._queue.get()
            for sink in self._sinks:
                try:
                    await asyncio.to_thread(sink, spans)
                except Exception:
                    _log.exception("Spans of Triton could not be passed on")
            self._queue.task_done()
