"""The spans of a call that has ended: server, its stages, its calls to Triton.

Attribute names are OpenTelemetry's semantic conventions for RPC where there is one, else
``trident.*``.

Calls that travel to Triton together share one client span. It lies in the trace of one of them,
with Triton's spans below it. Each call has a span ``batch`` of its own for the same time, joined to
the client span by links both ways: from every call's trace one finds what Triton did, and with whom
the call travelled. A trace that is kept only because its call failed or was slow has a client span
of its own, unless it travelled with one that Triton traced.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar
from urllib.parse import unquote

from google.rpc import code_pb2

from gateway.telemetry.record import ADMISSION, BATCH, SERVER_FAULTS, TRITON
from gateway.telemetry.recording import Failure, Inference, RecordedCall
from gateway.telemetry.span import ALL_BITS, Attributes, Event, Kind, Status
from gateway.telemetry.span_encoding import SpanEncoder

T = TypeVar("T")

_ASKING = frozenset({BATCH, TRITON})
"""Stages that inferences say more of."""
_AT_ONCE_NS = 20_000
"""Who is admitted so fast did not wait: most are, and a span for each would say nothing."""
TRITON_METHOD = "inference.GRPCInferenceService/ModelInfer"

_NAMES: dict[int, str] = {number: name for name, number in code_pb2.Code.items()}
_RPC: Attributes = {"rpc.system.name": "grpc"}
_MAX_CONSTANTS = 4096


class CallSpans(Generic[T]):
    """Encodes the spans of calls; remembers what many have in common."""

    def __init__(self, encoder: SpanEncoder[T]) -> None:
        self._encoder = encoder
        self._constants: dict[Hashable, T] = {}

    def encode(self, call: RecordedCall) -> list[T]:
        """Return the spans of a call, the server's last; of a part of a stream, those so far."""
        encoder, failures, constants = self._encoder, call.failures, self._constants
        trace_number, server_number = call.ids()
        trace, server = encoder.trace_id(trace_number), encoder.span_id(server_number)
        child = encoder.child
        # The same for every exporter, and for no other stage of the call.
        first_number = server_number + call.sent_stages + 1
        spans = []
        for place, (name, start_ns, end_ns) in enumerate(call.stages):
            error = failures.get(place, "") if failures else ""
            if name in _ASKING or (
                name == ADMISSION and not error and end_ns - start_ns < _AT_ONCE_NS
            ):
                continue
            constant = constants.get((name, error)) or self._stage(name, error)
            own = encoder.span_id(first_number + place & ALL_BITS or 1)
            spans.append(child(trace, own, server, start_ns, end_ns, constant))
        for inference, span_number in call.inferences:
            spans += self._inference(call, inference, span_number, trace, server)
        if call.end_ns:
            spans.append(self._server_span(call, trace, server))
        if call.trace_state:
            spans = [encoder.extended(one, trace_state=call.trace_state) for one in spans]
        return spans

    def _inference(
        self, call: RecordedCall, inference: Inference, span_number: int, trace: T, server: T
    ) -> list[T]:
        """Return the span of the call's batch, and of the call to Triton if it lies here."""
        encoder, parent = self._encoder, server
        begin_ns, end_ns = inference.start_ns, inference.end_ns
        owner_id = inference.owner_trace_id
        is_mine = owner_id == call.trace_id and inference.owner_span_id == span_number
        spans = []
        if inference.size > 1:
            span_id = encoder.span_id(span_number)
            constant = self._batch(inference)
            left_ns = min(end_ns, call.end_ns) if call.end_ns else end_ns
            batch = encoder.child(trace, span_id, server, begin_ns, left_ns, constant)
            if owner_id and not is_mine:
                link = encoder.trace_id(owner_id), encoder.span_id(inference.span_id)
                batch = encoder.linked(batch, (link,))
            spans.append(batch)
            parent = span_id
        if is_mine or not owner_id:
            # Where Triton was told of none, each call has one of its own; numbers up to `size`
            # are those of the spans `batch`.
            number = inference.span_id if is_mine else span_number + inference.size
            client_id = encoder.span_id(number & ALL_BITS or 1)
            constant = self._client(inference, call.step)
            client = encoder.child(trace, client_id, parent, begin_ns, end_ns, constant)
            if inference.mates:
                mates = [
                    (encoder.trace_id(one), encoder.span_id(other))
                    for one, other in inference.mates
                ]
                client = encoder.linked(client, mates)
            spans.append(client)
        return spans

    def _server_span(self, call: RecordedCall, trace: T, server: T) -> T:
        encoder, times, constant = self._encoder, (call.start_ns, call.end_ns), self._server(call)
        if call.parent_id:
            parent = encoder.span_id(call.parent_id)
            span = encoder.child(trace, server, parent, *times, constant)
        else:
            span = encoder.root(trace, server, *times, constant)
        if call.code in SERVER_FAULTS and call.failure is not None:
            span = encoder.extended(span, events=[_exception(call.failure, call.end_ns)])
        return span

    def _once(self, key: Hashable, make: Callable[[], T]) -> T:
        constant = self._constants.get(key)
        if constant is None:
            if len(self._constants) >= _MAX_CONSTANTS:
                self._constants.clear()
            constant = self._constants[key] = make()
        return constant

    def _stage(self, name: str, error: str) -> T:
        attributes: Attributes = {"error.type": error} if error else {}
        return self._once(
            (name, error), lambda: self._encoder.constant(name, Kind.INTERNAL, attributes)
        )

    def _batch(self, inference: Inference) -> T:
        error = inference.failure.type if inference.failure else ""
        attributes: Attributes = {"trident.batch.calls": inference.size}
        if error:
            attributes["error.type"] = error
        return self._once(
            (BATCH, inference.size, error),
            lambda: self._encoder.constant(BATCH, Kind.INTERNAL, attributes),
        )

    def _client(self, inference: Inference, step: str) -> T:
        if inference.failure is not None:
            return self._make_client(inference, inference.failure, step)
        key = (TRITON, inference.model, inference.size)
        return self._once(key, lambda: self._make_client(inference, None, ""))

    def _make_client(self, inference: Inference, failure: Failure | None, step: str) -> T:
        attributes = {**_RPC, "rpc.method": TRITON_METHOD, "trident.model": inference.model}
        if inference.size > 1:
            attributes["trident.batch.calls"] = inference.size
        if failure is None:
            attributes["rpc.response.status_code"] = "OK"
            return self._encoder.constant(TRITON_METHOD, Kind.CLIENT, attributes)
        if failure.status:
            attributes["rpc.response.status_code"] = failure.status
        attributes["error.type"] = failure.status or failure.type
        if step:
            attributes["trident.step"] = step
        return self._encoder.constant(
            TRITON_METHOD, Kind.CLIENT, attributes, Status.ERROR, failure.details
        )

    def _server(self, call: RecordedCall) -> T:
        if call.code in SERVER_FAULTS:
            message = call.failure.text if call.failure else ""
            return self._encoder.constant(
                call.method, Kind.SERVER, _attributes(call), Status.ERROR, message
            )
        key = (
            call.method, call.code, call.peer, call.line, call.release, call.variant,
            call.step, call.dropped_stages, repr(call.attributes),
        )  # fmt: skip
        return self._once(
            key, lambda: self._encoder.constant(call.method, Kind.SERVER, _attributes(call))
        )


def _attributes(call: RecordedCall) -> Attributes:
    name = _NAMES.get(call.code, str(call.code))
    attributes = {**_RPC, "rpc.method": call.method, "rpc.response.status_code": name}
    attributes |= peer_attributes(call.peer)
    if call.line:
        attributes |= {
            "trident.line": call.line,
            "trident.release": call.release,
            "trident.variant": call.variant,
        }
    if call.attributes:
        attributes |= call.attributes
    if call.dropped_stages:
        attributes["trident.dropped_stages"] = call.dropped_stages
    if call.code in SERVER_FAULTS:
        attributes["error.type"] = name
    if call.step:
        attributes["trident.step"] = call.step
    return attributes


def _exception(failure: Failure, time_ns: int) -> Event:
    attributes: Attributes = {
        "exception.type": failure.type,
        "exception.message": failure.text,
    }
    if failure.trace:
        attributes["exception.stacktrace"] = failure.trace
    return Event("exception", time_ns, attributes)


def peer_attributes(peer: str) -> Attributes:
    """Return the client's address and port from gRPC's ``ipv4:127.0.0.1:4711``."""
    scheme, _, rest = peer.partition(":")
    if scheme not in ("ipv4", "ipv6"):
        return {"client.address": peer} if peer else {}
    address, _, port = unquote(rest).rpartition(":")
    attributes: Attributes = {"client.address": address.strip("[]")}
    if port.isdigit():
        attributes["client.port"] = int(port)
    return attributes
