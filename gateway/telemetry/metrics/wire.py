"""What a worker tells its supervisor, as bytes: JSON after its length."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gateway.telemetry.metrics.instruments import INSTRUMENTS
from gateway.telemetry.metrics.readings import Gauges
from gateway.telemetry.metrics.tally import Exemplar, Tally

_LENGTH_BYTES = 4
_MAX_BYTES = 256 * 1024 * 1024

ASK = b"?"
"""What a supervisor says to have a report."""


@dataclass
class Report:
    """What happened in a worker since its last report, and how it is now."""

    tally: Tally = field(default_factory=Tally)
    gauges: Gauges = field(default_factory=dict)


def report_to_bytes(report: Report) -> bytes:
    """Return a report as it travels."""
    histograms: list[Any] = []
    for instrument, series in report.tally.histograms.items():
        for labels, one in series.items():
            filled = np.flatnonzero(one.counts)
            exemplars = [
                [b, f"{e.trace_id:x}", e.value, e.time_s] for b, e in one.exemplars.items()
            ]
            counts = one.counts[filled].tolist()
            histograms.append(
                [instrument.name, labels, filled.tolist(), counts, one.sum, exemplars]
            )
    counters = [
        [instrument.name, labels, value]
        for instrument, series in report.tally.counters.items()
        for labels, value in series.items()
    ]
    gauges = [[one.name, labels, value] for (one, labels), value in report.gauges.items()]
    content = {"histograms": histograms, "counters": counters, "gauges": gauges}
    return json.dumps(content, separators=(",", ":")).encode()


def bytes_to_report(data: bytes) -> Report:
    """Return a report that travelled.

    Raises:
        ValueError: If it is none.
    """
    try:
        content = json.loads(data)
        report = Report()
        for name, labels, bins, filled, total, exemplars in content["histograms"]:
            instrument = INSTRUMENTS[name]
            counts = np.zeros(len(instrument.grid), np.int64)
            counts[bins] = filled
            read = {b: Exemplar(int(t, 16), value, when) for b, t, value, when in exemplars}
            report.tally.observe(instrument, tuple(labels), counts, total, read)
        for name, labels, value in content["counters"]:
            report.tally.count(INSTRUMENTS[name], tuple(labels), value)
        for name, labels, value in content["gauges"]:
            report.gauges[INSTRUMENTS[name], tuple(labels)] = value
    except (LookupError, TypeError, ValueError) as error:
        raise ValueError(f"not a report: {error}") from error
    return report


def send_message(connection: socket.socket, data: bytes) -> None:
    """Send bytes that the other side knows the end of."""
    connection.sendall(len(data).to_bytes(_LENGTH_BYTES, "big") + data)


def receive_message(connection: socket.socket) -> bytes | None:
    """Return the next message; nothing at the end of the connection.

    Raises:
        OSError: If the connection breaks, or what comes is no message.
    """
    head = _exactly(connection, _LENGTH_BYTES)
    if head is None:
        return None
    size = int.from_bytes(head, "big")
    if size > _MAX_BYTES:
        raise OSError(f"a message of {size} bytes")
    return _exactly(connection, size)


def _exactly(connection: socket.socket, size: int) -> bytes | None:
    parts = bytearray()
    while len(parts) < size:
        part = connection.recv(size - len(parts))
        if not part:
            return None
        parts += part
    return bytes(parts)
