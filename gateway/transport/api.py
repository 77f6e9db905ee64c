"""The services of the API, and the methods that can be permitted."""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor import ServiceDescriptor

from gateway.security.permissions import Methods
from trident.diagnose.v1 import diagnose_service_pb2
from trident.model.v1 import model_service_pb2
from trident.recommend.v1 import recommend_service_pb2
from trident.risk.v1 import risk_service_pb2


def _service(module: Any) -> ServiceDescriptor:
    """Return the one service of a generated module."""
    (descriptor,) = module.DESCRIPTOR.services_by_name.values()
    return descriptor  # type: ignore[no-any-return]


RECOMMEND = _service(recommend_service_pb2)
DIAGNOSE = _service(diagnose_service_pb2)
RISK = _service(risk_service_pb2)
MODEL = _service(model_service_pb2)

SERVICES = (RECOMMEND, DIAGNOSE, RISK, MODEL)


def api_methods() -> Methods:
    """Return every method of the API."""
    return Methods(
        tuple(
            f"{service.full_name}/{method.name}"
            for service in SERVICES
            for method in service.methods
        )
    )
