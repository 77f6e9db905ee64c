"""Answers one RPC inside Envoy (pyvoy) with one fixed message: that server's floor.

As ``on_grpc_aio.py``: the request is parsed and the response serialised, nothing else.

    python on_envoy.py METHOD REQUEST_TYPE RESPONSE_TYPE RESPONSE_FILE

This file is also the application that Envoy's Python imports.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

from google.protobuf import symbol_database

import trident.diagnose.v1.diagnose_service_pb2
import trident.recommend.v1.recommend_service_pb2  # noqa: F401 - both make their messages known

_VARIABLES = ("ECHO_METHOD", "ECHO_REQUEST_TYPE", "ECHO_RESPONSE_TYPE", "ECHO_RESPONSE_FILE")
_FRAME_BYTES = 5
_START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"application/grpc")],
    "trailers": True,
}
_TRAILERS = {"type": "http.response.trailers", "headers": [(b"grpc-status", b"0")]}


def build_app() -> Any:
    """Return the ASGI application that the environment describes."""
    method, request_type, response_type, file = (os.environ[name] for name in _VARIABLES)
    request_class: Any = symbol_database.Default().GetSymbol(request_type)
    response_class: Any = symbol_database.Default().GetSymbol(response_type)
    response = response_class.FromString(Path(file).read_bytes())

    async def app(scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while True:
            event = await receive()
            body += event["body"]
            if not event["more_body"]:
                break
        if scope["path"] != method:
            raise LookupError(scope["path"])
        request_class.FromString(body[_FRAME_BYTES:])
        answer = response.SerializeToString()
        framed = b"\0" + len(answer).to_bytes(4, "big") + answer
        await send(_START)
        await send({"type": "http.response.body", "body": framed, "more_body": False})
        await send(_TRAILERS)

    return app


async def serve() -> None:
    """Serve until SIGTERM; say the address on standard error, as the gateway does."""
    from pyvoy import PyvoyServer

    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    async with (
        PyvoyServer(
            f"{Path(__file__).stem}:app",
            lifespan=False,
            additional_envoy_args=["--concurrency", "1"],  # as the gateway's transport runs it
            env=dict(zip(_VARIABLES, sys.argv[1:], strict=True)),
            stderr=None,
        ) as server
    ):
        print(f"Gateway 127.0.0.1:{server.listener_port}", file=sys.stderr, flush=True)
        await stopped.wait()


if __name__ == "__main__":
    asyncio.run(serve())
else:
    app = build_app()
