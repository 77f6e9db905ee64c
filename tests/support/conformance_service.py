"""The service of the conformance suite: one RPC of each kind, on free-form messages."""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pool, struct_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorProto

NAME = "trident.conformance.v1.ConformanceService"
_STRUCT = ".google.protobuf.Struct"
KINDS = {
    # client streams, server streams
    "Unary": (False, False),
    "ClientStream": (True, False),
    "ServerStream": (False, True),
    "BidiStream": (True, True),
}


def _service() -> Any:
    package, _, name = NAME.rpartition(".")
    file = FileDescriptorProto(
        name="trident/conformance/v1/conformance_service.proto",
        package=package,
        dependency=[struct_pb2.DESCRIPTOR.name],
        syntax="proto3",
    )
    service = file.service.add(name=name)
    for method, (client_streams, server_streams) in KINDS.items():
        service.method.add(
            name=method,
            input_type=_STRUCT,
            output_type=_STRUCT,
            client_streaming=client_streams,
            server_streaming=server_streams,
        )
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(file.SerializeToString())
    return pool.FindServiceByName(NAME)


SERVICE = _service()
