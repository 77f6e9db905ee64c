"""Traces in Perfetto's own format: tracks by service, arrows from calls into their batches."""

from __future__ import annotations

from itertools import count
from typing import IO, Any

from perfetto.protos.perfetto.trace import perfetto_trace_pb2 as pb

from gateway.telemetry.analysis.forest import Forest
from gateway.telemetry.analysis.tracks import Slice, slices

_SEQUENCE = 1
_ALL = -1
"""In place of a lane: the track of the service itself."""
_TRUSTED_CLOCK = 6  # BUILTIN_CLOCK_BOOTTIME: the viewer's own; times are relative anyway


def write_perfetto_trace(forest: Forest, file: IO[bytes], traces: tuple[str, ...] = ()) -> int:
    """Write traces and return how many spans."""
    tracks: dict[tuple[str, int], int] = {}
    numbers = count(1)
    found = list(slices(forest, traces))
    flows = _flows(found)
    epoch = min((one.begin_ns for one in found), default=0)
    for one in found:
        for key in ((one.service, _ALL), (one.service, one.lane)):
            if key not in tracks:
                parent = tracks.get((one.service, _ALL), 0)
                tracks[key] = next(numbers)
                _write(file, _track(key, tracks[key], parent))
    events: list[tuple[int, int, int, Any]] = []
    for order, one in enumerate(found):
        track = tracks[one.service, one.lane]
        begin = _event(one.begin_ns - epoch, track)
        begin.track_event.type = pb.TrackEvent.TYPE_SLICE_BEGIN
        begin.track_event.name = one.name
        begin.track_event.flow_ids.extend(flows.get(one.row, ()))
        for name, value in (("trace_id", one.trace_id), ("span_id", one.span_id)):
            begin.track_event.debug_annotations.add(name=name, string_value=value)
        if one.failed:
            begin.track_event.debug_annotations.add(name="failed", bool_value=True)
        end = _event(one.end_ns - epoch, track)
        end.track_event.type = pb.TrackEvent.TYPE_SLICE_END
        # At one moment what ends comes first, the innermost before what it is in; a span
        # without length must begin before it ends.
        length = one.end_ns - one.begin_ns
        events.append((one.begin_ns, 1, order, begin))
        events.append((one.end_ns, 0 if length else 2, -order, end))
    for *_, packet in sorted(events, key=lambda event: event[:3]):
        _write(file, packet)
    return len(found)


def _flows(found: list[Slice]) -> dict[int, list[int]]:
    """Return the arrows that begin or end at each span, by its row."""
    flows: dict[int, list[int]] = {}
    rows = {one.row for one in found}
    for one in found:
        if one.batch in rows:
            flows.setdefault(one.row, []).append(one.row + 1)
            flows.setdefault(one.batch, []).append(one.row + 1)
    return flows


def _track(key: tuple[str, int], uuid: int, parent: int) -> Any:
    packet = pb.TracePacket(trusted_packet_sequence_id=_SEQUENCE)
    packet.track_descriptor.uuid = uuid
    service, lane = key
    packet.track_descriptor.name = service if lane == _ALL else f"lane {lane}"
    if parent:
        packet.track_descriptor.parent_uuid = parent
    return packet


def _event(timestamp: int, track: int) -> Any:
    packet = pb.TracePacket(trusted_packet_sequence_id=_SEQUENCE, timestamp=timestamp,
                            timestamp_clock_id=_TRUSTED_CLOCK)  # fmt: skip
    packet.track_event.track_uuid = track
    return packet


def _write(file: IO[bytes], packet: Any) -> None:
    """Write one packet; a file is the packets one after another."""
    file.write(pb.Trace(packet=[packet]).SerializeToString())
