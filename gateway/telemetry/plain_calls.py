"""The spans of calls that are like most others, all of a call in one formatting of bytes.

Most calls have one request, which is decoded, waits, travels, comes back and is encoded, and
nothing goes wrong. What their spans say is the same for thousands, but for IDs and times: that is
a frame with places for these. Whatever else a call may be, :mod:`.call_spans` makes its spans one
by one; both give the same.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from google.rpc import code_pb2

from gateway.telemetry.call_attributes import TRITON_METHOD, of_batch, of_client, of_server
from gateway.telemetry.passage import Inference, Passage
from gateway.telemetry.record import BATCH, DECODE, ENCODE, QUEUE
from gateway.telemetry.recording import RecordedCall
from gateway.telemetry.span import ALL_BITS, Kind
from gateway.telemetry.span_encoding import SpanEncoder

AT_ONCE_NS = 20_000
"""Who is admitted so fast did not wait: most are, and a span for each would say nothing."""
FAR, APART = 1 << 48, 1 << 20
"""Between the numbers of a call's stages and those of what it asked Triton without telling it of
the trace, and between two of these, which have one for each call and attempt."""
_STAGES = ((DECODE, 1), (QUEUE, 2), (ENCODE, 5))
"""And their numbers above the call's, whose lowest byte is 0: two stages have no span."""
_MAX_FRAMES = 4096


class PlainCalls:
    """Encodes the spans of plain calls; remembers their frames."""

    def __init__(self, encoder: SpanEncoder) -> None:
        self._encoder = encoder
        # Each with the release that it says, by whose identity it is found: it must not end.
        self._frames: dict[Hashable, tuple[bytes, int, Any]] = {}
        # The last inference: its calls come one after the other, and link to the same span.
        self._linked: tuple[Inference | None, bytes] = (None, b"")

    def encode(self, call: RecordedCall) -> tuple[bytes, int] | None:
        """Return the spans of a call, the server's last, and how many; ``None`` if it isn't plain.

        It has its IDs.
        """
        passage = call.passage
        if passage is None or not _is_plain(call, passage):
            return None
        trip: Inference = passage.trip  # type: ignore[assignment]
        encoder, trace_id, number, size = self._encoder, call.trace_id, call.span_id, trip.size
        owner_id = trip.owner_trace_id
        span_id = passage.span_id or number + FAR + APART & ALL_BITS or 1
        is_mine = owner_id == trace_id and trip.owner_span_id == span_id
        asks, company = is_mine or not owner_id, size > 1
        batch_links = b"" if asks or not company else self._link(trip)
        mates = encoder.links(trip.mates) if asks and trip.mates else b""
        key = (
            id(call.answerer), call.method, call.peer, not call.parent_id, asks, size,
            len(batch_links), len(mates), trip.model, trip.target,
            "" if call.rare is None else repr(call.rare.attributes),
        )  # fmt: skip
        found = self._frames.get(key)
        if found is None:
            found = self._remember(key, call, trip, asks, len(batch_links), len(mates))
        times, trace, own = encoder.times, encoder.trace(trace_id), encoder.number(number)
        high, begun_ns, back_ns = encoder.high(own), trip.start_ns, trip.end_ns
        queued_ns, left_ns = passage.decoded_ns, passage.left_ns
        parts: tuple[bytes, ...] = (
            trace, high, own, times(passage.start_ns, queued_ns),
            trace, high, own, times(queued_ns, left_ns),
            trace, high, own, times(back_ns, passage.end_ns),
        )  # fmt: skip
        if company or asks:
            travel, above = times(begun_ns, back_ns), own
            if company:
                above = encoder.number(span_id)
                parts += (trace, above, own, travel)
                if batch_links:
                    parts += (batch_links,)
            if asks:
                client_id = (trip.span_id if is_mine else span_id + size) & ALL_BITS or 1
                parts += (trace, encoder.number(client_id), above, travel)
                if mates:
                    parts += (mates,)
        parts += (trace, own)
        if call.parent_id:
            parts += (encoder.number(call.parent_id),)
        parts += (times(call.start_ns, call.end_ns),)
        return found[0] % parts, found[1]

    def _link(self, trip: Inference) -> bytes:
        """Return the link of the spans ``batch`` of the calls that are not its owner."""
        known, link = self._linked
        if known is not trip:
            link = self._encoder.links(((trip.owner_trace_id, trip.span_id),))
            self._linked = (trip, link)
        return link

    def _remember(
        self,
        key: Hashable,
        call: RecordedCall,
        trip: Inference,
        asks: bool,
        batch: int,
        client: int,
    ) -> tuple[bytes, int, Any]:
        """Make a frame; ``batch`` and ``client`` are the bytes of their links."""
        frame = self._encoder.frame
        frames = [frame(name, Kind.INTERNAL, {}, low=low) for name, low in _STAGES]
        if trip.size > 1:
            frames.append(frame(BATCH, Kind.INTERNAL, of_batch(trip.size), rest_bytes=batch))
        if asks:
            frames.append(frame(TRITON_METHOD, Kind.CLIENT, of_client(trip), rest_bytes=client))
        above = bool(call.parent_id)
        frames.append(frame(call.method, Kind.SERVER, of_server(call), parent=above))
        if len(self._frames) >= _MAX_FRAMES:
            self._frames.clear()
        found = (self._encoder.together(frames), len(frames), call.answerer)
        self._frames[key] = found
        return found


def _is_plain(call: RecordedCall, passage: Passage) -> bool:
    trip, rare = passage.trip, call.rare
    return (
        trip is not None
        and passage.before is None
        and call.notes is None
        and (rare is None or not (rare.failure or rare.step or rare.dropped_stages))
        and (rare is None or not rare.sent_stages)
        and not call.trace_state
        and call.code == code_pb2.OK
        and passage.start_ns > 0
        and passage.left_ns > 0
        and passage.end_ns > 0
        and not passage.error
        and trip.start_ns > 0
        and trip.end_ns <= call.end_ns
        and trip.failure is None
        and not trip.attempts
        and trip.admitted_ns - trip.entered_ns < AT_ONCE_NS
    )
