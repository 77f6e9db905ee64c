"""What the spans of a call say: their attributes.

Names are OpenTelemetry's semantic conventions for RPC where there is one, else ``trident.*``.
"""

from __future__ import annotations

from urllib.parse import unquote

from google.rpc import code_pb2

from gateway.telemetry.passage import Failure, Inference
from gateway.telemetry.record import SERVER_FAULTS
from gateway.telemetry.recording import NOTHING_RARE, Rare, RecordedCall
from gateway.telemetry.span import Attributes, server_attributes

TRITON_METHOD = "inference.GRPCInferenceService/ModelInfer"

_RPC: Attributes = {"rpc.system.name": "grpc"}
_RELEASE = ("trident.line", "trident.release", "trident.variant")
_NAMES: dict[int, str] = {number: name for name, number in code_pb2.Code.items()}


def rare_of(call: RecordedCall) -> Rare:
    """Return what few calls have, of one that may have nothing of it."""
    return call.rare or NOTHING_RARE


def answerer_of(call: RecordedCall) -> tuple[str, str, str] | None:
    """Return line, release and variant of the release that answered, if one was chosen."""
    one = call.answerer
    return None if one is None else (one.line, one.release, one.variant)


def of_server(call: RecordedCall) -> Attributes:
    """Return the attributes of a call's server span."""
    rare, answerer = rare_of(call), answerer_of(call)
    name = _NAMES.get(call.code, str(call.code))
    attributes = {**_RPC, "rpc.method": call.method, "rpc.response.status_code": name}
    attributes |= of_peer(call.peer)
    if answerer is not None:
        attributes |= dict(zip(_RELEASE, answerer, strict=True))
    attributes |= rare.attributes
    if rare.dropped_stages:
        attributes["trident.dropped_stages"] = rare.dropped_stages
    if call.code in SERVER_FAULTS:
        attributes["error.type"] = name
    if rare.step:
        attributes["trident.step"] = rare.step
    return attributes


def of_peer(peer: str) -> Attributes:
    """Return the client's address and port from gRPC's ``ipv4:127.0.0.1:4711``."""
    scheme, _, rest = peer.partition(":")
    if scheme not in ("ipv4", "ipv6"):
        return {"client.address": peer} if peer else {}
    address, _, port = unquote(rest).rpartition(":")
    attributes: Attributes = {"client.address": address.strip("[]")}
    if port.isdigit():
        attributes["client.port"] = int(port)
    return attributes


def of_batch(size: int, error: str = "") -> Attributes:
    """Return the attributes of a span ``batch``.

    Args:
        size: How many calls there are in it.
        error: The class of what went wrong, if anything.
    """
    attributes: Attributes = {"trident.batch.calls": size}
    if error:
        attributes["error.type"] = error
    return attributes


def of_client(inference: Inference, failure: Failure | None = None, step: str = "") -> Attributes:
    """Return the attributes of the span of a call to Triton; ``step`` is the one that failed."""
    attributes = {**_RPC, "rpc.method": TRITON_METHOD, "trident.model": inference.model}
    if inference.size > 1:
        attributes["trident.batch.calls"] = inference.size
    attributes |= server_attributes(inference.target)
    if inference.attempts:
        attributes["trident.attempts"] = len(inference.attempts)
    if failure is None:
        attributes["rpc.response.status_code"] = "OK"
        return attributes
    if failure.status:
        attributes["rpc.response.status_code"] = failure.status
    attributes["error.type"] = failure.status or failure.type
    if step:
        attributes["trident.step"] = step
    return attributes
