"""Answers one RPC on grpc.aio with one fixed message: what that server costs without inference.

The request is parsed and the response serialised, as any server of these messages must; there is
no check, no model, no trace. It is the floor of everything that is served by grpc.aio.

    python on_grpc_aio.py METHOD REQUEST_TYPE RESPONSE_TYPE RESPONSE_FILE
"""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import symbol_database

import trident.diagnose.v1.diagnose_service_pb2
import trident.recommend.v1.recommend_service_pb2  # noqa: F401 - both make their messages known


async def serve(method: str, request_type: str, response_type: str, content: bytes) -> None:
    """Serve until SIGTERM; say the address on standard error, as the gateway does."""
    request_class: Any = symbol_database.Default().GetSymbol(request_type)
    response = symbol_database.Default().GetSymbol(response_type).FromString(content)

    async def answer(_request: Any, _context: Any) -> Any:
        return response

    handler = grpc.unary_unary_rpc_method_handler(
        answer,
        request_deserializer=request_class.FromString,
        response_serializer=lambda message: message.SerializeToString(),
    )
    service, _, name = method.strip("/").partition("/")
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(service, {name: handler}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"Gateway 127.0.0.1:{port}", file=sys.stderr, flush=True)
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    await stopped.wait()
    await server.stop(0)


def main() -> None:
    """Serve on uvloop where it is installed, as the gateway does."""
    method, request_type, response_type, file = sys.argv[1:]
    coroutine = serve(method, request_type, response_type, Path(file).read_bytes())
    try:
        import uvloop
    except ImportError:
        asyncio.run(coroutine)
    else:
        uvloop.run(coroutine)


if __name__ == "__main__":
    main()
