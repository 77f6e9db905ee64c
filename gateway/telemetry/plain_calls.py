"""The spans of calls that are like most others, those of a call in two formattings of bytes.

Most calls have one request, which is decoded, waits, travels, comes back and is encoded, and
nothing goes wrong. What their spans say is the same for thousands, but for IDs and times: that is
a frame with places for these. Whatever else a call may be, :mod:`.call_spans` makes its spans one
by one; both give the same.
"""

from __future__ import annotations

from collections.abc import Hashable

from google.rpc import code_pb2

from gateway.telemetry.call_attributes import TRITON_METHOD, of_batch, of_client, of_server
from gateway.telemetry.parties import Answerer
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
    """Encodes the spans of plain calls; remembers their frames.

    A call has two: the server's span is the same for all calls of a client, what lies below it for
    all batches of a size. One frame for both would be another for each client and size.
    """

    def __init__(self, encoder: SpanEncoder) -> None:
        self._encoder = encoder
        self._below: dict[Hashable, tuple[bytes, int]] = {}
        # Each with the release that it says, by whose identity it is found: it must not end.
        self._servers: dict[Hashable, tuple[bytes, Answerer | None]] = {}
        # The last inference and what calls that travelled with its owner say of it: they come one
        # after the other, and say the same.
        self._guests: tuple[Inference | None, bytes, int, bytes, bytes] = (None, b"", 0, b"", b"")

    def encode(self, call: RecordedCall) -> tuple[tuple[bytes, bytes], int] | None:
        """Return the spans of a call, the server's as the last piece, and how many there are.

        ``None`` if it isn't plain. It has its IDs.
        """
        passage = call.passage
        if passage is None or not _is_plain(call, passage):
            return None
        encoder = self._encoder
        trace, own = encoder.trace(call.trace_id), encoder.number(call.span_id)
        below, count = self._spans_below(call, passage, trace, own)
        parent = (encoder.number(call.parent_id),) if call.parent_id else ()
        server = self._server(call) % (
            trace,
            own,
            *parent,
            encoder.times(call.start_ns, call.end_ns),
        )
        return (below, server), count + 1

    def _spans_below(
        self, call: RecordedCall, passage: Passage, trace: bytes, own: bytes
    ) -> tuple[bytes, int]:
        """Return what lies below the server's span; ``own`` is its number."""
        trip: Inference = passage.trip  # type: ignore[assignment]
        encoder, times = self._encoder, self._encoder.times
        span_id = passage.span_id or call.span_id + FAR + APART & ALL_BITS or 1
        owner_id, size = trip.owner_trace_id, trip.size
        is_mine = owner_id == call.trace_id and trip.owner_span_id == span_id
        high, queued_ns, left_ns = encoder.high(own), passage.decoded_ns, passage.left_ns
        stages = (
            trace, high, own, times(passage.start_ns, queued_ns),
            trace, high, own, times(queued_ns, left_ns),
            trace, high, own, times(trip.end_ns, passage.end_ns),
        )  # fmt: skip
        if owner_id and not is_mine:  # who goes alone is the owner
            known, frame, count, travel, link = self._guests
            if known is not trip:
                frame, count, travel, link = self._guest_of(trip)
            return frame % (*stages, trace, encoder.number(span_id), own, travel, link), count
        mates = encoder.links(trip.mates) if trip.mates else b""
        frame, count = self._frame_below(trip, asks=True, link=b"", mates=mates)
        travel, above = times(trip.start_ns, trip.end_ns), own
        batch: tuple[bytes, ...] = ()
        if size > 1:
            above = encoder.number(span_id)
            batch = trace, above, own, travel
        client_id = encoder.number((trip.span_id if is_mine else span_id + size) & ALL_BITS or 1)
        rest = (mates,) if mates else ()
        return frame % (*stages, *batch, trace, client_id, above, travel, *rest), count

    def _guest_of(self, trip: Inference) -> tuple[bytes, int, bytes, bytes]:
        """Return frame, number of spans, times and link of those who are not a trip's owner."""
        link = self._encoder.links(((trip.owner_trace_id, trip.span_id),))
        frame, count = self._frame_below(trip, asks=False, link=link, mates=b"")
        travel = self._encoder.times(trip.start_ns, trip.end_ns)
        self._guests = (trip, frame, count, travel, link)
        return frame, count, travel, link

    def _frame_below(
        self, trip: Inference, *, asks: bool, link: bytes, mates: bytes
    ) -> tuple[bytes, int]:
        """Return the frame of what lies below a server's span, and of how many spans it is."""
        size = trip.size
        key = (asks, size, len(link), len(mates), trip.model, trip.target)
        found = self._below.get(key)
        if found is not None:
            return found
        frame = self._encoder.frame
        frames = [frame(name, Kind.INTERNAL, {}, low=low) for name, low in _STAGES]
        if size > 1:
            frames.append(frame(BATCH, Kind.INTERNAL, of_batch(size), rest_bytes=len(link)))
        if asks:
            attributes = of_client(trip)
            frames.append(frame(TRITON_METHOD, Kind.CLIENT, attributes, rest_bytes=len(mates)))
        if len(self._below) >= _MAX_FRAMES:
            self._below.clear()
        found = self._below[key] = (self._encoder.together(frames), len(frames))
        return found

    def _server(self, call: RecordedCall) -> bytes:
        """Return the frame of a call's server span."""
        rare = call.rare
        key = (
            id(call.answerer), call.method, call.peer, not call.parent_id,
            repr(rare.attributes) if rare is not None else "",
        )  # fmt: skip
        found = self._servers.get(key)
        if found is None:
            above = bool(call.parent_id)
            frame = self._encoder.frame(call.method, Kind.SERVER, of_server(call), parent=above)
            if len(self._servers) >= _MAX_FRAMES:
                self._servers.clear()
            found = self._servers[key] = (frame, call.answerer)
        return found[0]


def _is_plain(call: RecordedCall, passage: Passage) -> bool:
    trip, rare = passage.trip, call.rare
    return (
        trip is not None
        and passage.before is None
        and call.notes is None
        and (
            rare is None
            or not (rare.failure or rare.step or rare.dropped_stages or rare.sent_stages)
        )
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
