"""The spans of a call that has ended: server, its stages, its calls to Triton.

Calls that travel to Triton together share one client span. It lies in the trace of one of them,
with Triton's spans below it. Each call has a span ``batch`` of its own for the same time, joined to
the client span by links both ways: from every call's trace one finds what Triton did, and with whom
the call travelled. A trace that is kept only because its call failed or was slow has a client span
of its own, unless it travelled with one that Triton traced.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from gateway.telemetry.call_attributes import (
    TRITON_METHOD,
    answerer_of,
    of_batch,
    of_client,
    of_server,
    rare_of,
)
from gateway.telemetry.passage import Failure, Inference
from gateway.telemetry.plain_calls import APART, AT_ONCE_NS, FAR, PlainCalls
from gateway.telemetry.record import ADMISSION, ATTEMPT, BATCH, SERVER_FAULTS, TRITON
from gateway.telemetry.recording import RecordedCall
from gateway.telemetry.span import ALL_BITS, Attributes, Event, Kind, Status, server_attributes
from gateway.telemetry.span_encoding import SpanEncoder

_SPECIAL = frozenset({ADMISSION, BATCH, TRITON})
"""Stages that get no span: inferences say more of them, or most of them are over at once."""
_MAX_CONSTANTS = 4096


class CallSpans:
    """Encodes the spans of calls; remembers what many have in common."""

    def __init__(self, encoder: SpanEncoder) -> None:
        self._encoder = encoder
        self._plain = PlainCalls(encoder)
        self._constants: dict[Hashable, bytes] = {}
        # The last inference: its calls come one after the other, and their spans say the same.
        self._company: tuple[Inference | None, bytes, bytes] = (None, b"", b"")

    def encode(self, call: RecordedCall) -> tuple[Sequence[bytes], int]:
        """Return the spans of a call, the server's last; of a part of a stream, those so far.

        In one piece or several, and how many there are.
        """
        call.ids()
        plain = self._plain.encode(call)
        if plain is not None:
            return plain
        spans = self.one_by_one(call)
        return spans, len(spans)

    def one_by_one(self, call: RecordedCall) -> list[bytes]:
        """Return the spans of a call, whatever it is."""
        encoder, constants = self._encoder, self._constants
        trace_number, number = call.ids()
        trace, server = encoder.trace(trace_number), encoder.parent(number)
        state = encoder.rest(trace_state=call.trace_state) if call.trace_state else b""
        # The same for every exporter, and for no other stage of the call.
        number += rare_of(call).sent_stages
        far = number + FAR
        span, spans = encoder.span, []
        for name, start_ns, end_ns, error in call.all_stages():
            number += 1
            if name in _SPECIAL and (
                name != ADMISSION or (not error and end_ns - start_ns < AT_ONCE_NS)
            ):
                continue
            status = _status(call, error)
            key = (name, error, status) if error else name
            constant = constants.get(key) or self._remember(key, self._stage(name, error, status))
            own = number & ALL_BITS or 1
            spans.append(span(constant, trace, own, server, start_ns, end_ns, state))
        for passage in call.passages():
            far += APART
            trip = passage.trip
            if trip is not None and trip.start_ns:
                number = passage.span_id or far & ALL_BITS or 1
                spans += self._inference(call, trip, number, trace, server, state)
        if call.end_ns:
            spans.append(self._server_span(call, trace, state))
        return spans

    def _inference(
        self,
        call: RecordedCall,
        inference: Inference,
        span_number: int,
        trace: bytes,
        server: bytes,
        state: bytes,
    ) -> list[bytes]:
        """Return the span of the call's batch, and of the call to Triton if it lies here."""
        encoder, parent = self._encoder, server
        begin_ns, end_ns = inference.start_ns, inference.end_ns
        owner_id = inference.owner_trace_id
        is_mine = owner_id == call.trace_id and inference.owner_span_id == span_number
        spans = []
        if inference.size > 1:
            left_ns = min(end_ns, call.end_ns) if call.end_ns else end_ns
            known, constant, links = self._company
            if known is not inference:
                constant, links = self._travels_with(inference, call)
            rest = state if is_mine else state + links
            spans.append(
                encoder.span(constant, trace, span_number, server, begin_ns, left_ns, rest)
            )
        if is_mine or not owner_id:
            if inference.size > 1:
                parent = encoder.parent(span_number)
            # Where Triton was told of none, each call has one of its own; numbers up to `size`
            # are those of the spans `batch`.
            number = inference.span_id if is_mine else span_number + inference.size
            client_id = number & ALL_BITS or 1
            rest = state + encoder.links(inference.mates) if inference.mates else state
            constant = self._client(inference, rare_of(call).step)
            spans.append(encoder.span(constant, trace, client_id, parent, begin_ns, end_ns, rest))
            if inference.attempts:
                spans += self._in_vain(inference, number, trace, client_id, state)
        return spans

    def _in_vain(
        self, inference: Inference, number: int, trace: bytes, client_id: int, state: bytes
    ) -> list[bytes]:
        """Return the spans of what was asked before the attempt that answered."""
        encoder, spans, parent = self._encoder, [], self._encoder.parent(client_id)
        for target, begin_ns, end_ns in inference.in_vain():
            number += 2 * inference.size  # what lies between are numbers of other calls' spans
            key = (ATTEMPT, target)
            constant = self._constants.get(key) or self._remember(
                key, encoder.constant(ATTEMPT, Kind.INTERNAL, server_attributes(target))
            )
            own = number & ALL_BITS or 1
            spans.append(encoder.span(constant, trace, own, parent, begin_ns, end_ns, state))
        return spans

    def _travels_with(self, inference: Inference, call: RecordedCall) -> tuple[bytes, bytes]:
        """Return constant and links of the spans ``batch`` of the calls that are not its owner."""
        links, owner_id = b"", inference.owner_trace_id
        if owner_id:
            links = self._encoder.links(((owner_id, inference.span_id),))
        constant = self._batch(inference, call)
        if not inference.failure:  # what its calls say of a failure depends on how each ended
            self._company = (inference, constant, links)
        return constant, links

    def _server_span(self, call: RecordedCall, trace: bytes, state: bytes) -> bytes:
        encoder, rest, failure = self._encoder, state, rare_of(call).failure
        if call.code in SERVER_FAULTS and failure is not None:
            rest += encoder.rest(events=[_exception(failure, call.end_ns)])
        return encoder.span(
            self._server(call),
            trace,
            call.span_id,
            encoder.parent(call.parent_id),
            call.start_ns,
            call.end_ns,
            rest,
        )

    def _remember(self, key: Hashable, constant: bytes) -> bytes:
        if len(self._constants) >= _MAX_CONSTANTS:
            self._constants.clear()
        self._constants[key] = constant
        return constant

    def _stage(self, name: str, error: str, status: Status) -> bytes:
        attributes: Attributes = {"error.type": error} if error else {}
        return self._encoder.constant(name, Kind.INTERNAL, attributes, status)

    def _batch(self, inference: Inference, call: RecordedCall) -> bytes:
        error = inference.failure.type if inference.failure else ""
        status = _status(call, error)
        key = (BATCH, inference.size, error, status)
        return self._constants.get(key) or self._remember(
            key,
            self._encoder.constant(BATCH, Kind.INTERNAL, of_batch(inference.size, error), status),
        )

    def _client(self, inference: Inference, step: str) -> bytes:
        failure = inference.failure
        if failure is not None:
            attributes = of_client(inference, failure, step)
            return self._encoder.constant(
                TRITON_METHOD, Kind.CLIENT, attributes, Status.ERROR, failure.details
            )
        key = (TRITON, inference.model, inference.size, inference.target, len(inference.attempts))
        return self._constants.get(key) or self._remember(
            key, self._encoder.constant(TRITON_METHOD, Kind.CLIENT, of_client(inference))
        )

    def _server(self, call: RecordedCall) -> bytes:
        if call.code in SERVER_FAULTS:
            failure = rare_of(call).failure
            message = failure.text if failure else ""
            return self._encoder.constant(
                call.method, Kind.SERVER, of_server(call), Status.ERROR, message
            )
        rare = rare_of(call)
        key = (
            call.method, call.code, call.peer, answerer_of(call), rare.step, rare.dropped_stages,
            repr(rare.attributes) if rare.attributes else "",
        )  # fmt: skip
        return self._constants.get(key) or self._remember(
            key, self._encoder.constant(call.method, Kind.SERVER, of_server(call))
        )


def _status(call: RecordedCall, error: str) -> Status:
    """Return the status of a part of a call: whose fault it is that it failed, its code says."""
    return Status.ERROR if error and call.code in SERVER_FAULTS else Status.UNSET


def _exception(failure: Failure, time_ns: int) -> Event:
    attributes: Attributes = {
        "exception.type": failure.type,
        "exception.message": failure.text,
    }
    if failure.trace:
        attributes["exception.stacktrace"] = failure.trace
    return Event("exception", time_ns, attributes)
