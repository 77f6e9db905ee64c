"""The protos of health and reflection, as they are now.

The packages that Trident can have (their successors need a protobuf that Triton's client does
not work with) carry ``grpc.health.v1`` without ``List`` and only the alpha of reflection, so
both are completed here, in a pool of their own.
"""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

_ALPHA = "grpc.reflection.v1alpha"
_V1 = "grpc.reflection.v1"


def _health_file() -> FileDescriptorProto:
    file = FileDescriptorProto()
    health_pb2.DESCRIPTOR.CopyToProto(file)
    if any(message.name == "HealthListRequest" for message in file.message_type):
        return file
    file.message_type.add(name="HealthListRequest")
    response = file.message_type.add(name="HealthListResponse")
    name = ".grpc.health.v1.HealthListResponse"
    entry = response.nested_type.add(name="StatusesEntry")
    entry.options.map_entry = True
    optional = FieldDescriptorProto.LABEL_OPTIONAL
    entry.field.add(name="key", number=1, label=optional, type=FieldDescriptorProto.TYPE_STRING)
    entry.field.add(
        name="value",
        number=2,
        label=optional,
        type=FieldDescriptorProto.TYPE_MESSAGE,
        type_name=".grpc.health.v1.HealthCheckResponse",
    )
    response.field.add(
        name="statuses",
        number=1,
        label=FieldDescriptorProto.LABEL_REPEATED,
        type=FieldDescriptorProto.TYPE_MESSAGE,
        type_name=f"{name}.StatusesEntry",
    )
    file.service[0].method.add(
        name="List", input_type=".grpc.health.v1.HealthListRequest", output_type=name
    )
    return file


def _reflection_file(package: str) -> FileDescriptorProto:
    """Return reflection under another package: v1 is v1alpha, renamed."""
    file = FileDescriptorProto()
    reflection_pb2.DESCRIPTOR.CopyToProto(file)
    file.name = f"{package.replace('.', '/')}/reflection.proto"
    file.package = package
    for message in file.message_type:
        for field in message.field:
            if field.type_name:
                field.type_name = field.type_name.replace(f".{_ALPHA}.", f".{package}.")
    for method in file.service[0].method:
        method.input_type = method.input_type.replace(f".{_ALPHA}.", f".{package}.")
        method.output_type = method.output_type.replace(f".{_ALPHA}.", f".{package}.")
    return file


POOL = DescriptorPool()
"""Knows health and reflection, nothing else."""

for _file in (_health_file(), _reflection_file(_ALPHA), _reflection_file(_V1)):
    POOL.AddSerializedFile(_file.SerializeToString())


def _service(name: str) -> ServiceDescriptor:
    return POOL.FindServiceByName(name)


def _message(name: str) -> Any:
    return GetMessageClass(POOL.FindMessageTypeByName(name))


HEALTH = _service("grpc.health.v1.Health")
REFLECTION = tuple(_service(f"{package}.ServerReflection") for package in (_V1, _ALPHA))

HealthCheckResponse = _message("grpc.health.v1.HealthCheckResponse")
HealthListResponse = _message("grpc.health.v1.HealthListResponse")
