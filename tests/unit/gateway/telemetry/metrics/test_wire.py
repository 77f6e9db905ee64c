from __future__ import annotations

import socket

import pytest
from call_records import folded, records
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.telemetry.metrics.instruments import ACTIVE_CALLS, RELEASE_SERVING
from gateway.telemetry.metrics.wire import (
    Report,
    bytes_to_report,
    receive_message,
    report_to_bytes,
    send_message,
)
from gateway.telemetry.record import CallRecord


@settings(deadline=None)
@given(st.lists(records(), max_size=20))
def test_a_report_arrives_as_it_was_sent(calls: list[CallRecord]) -> None:
    gauges = {(ACTIVE_CALLS, ()): 2.0, (RELEASE_SERVING, ("ü", "r1", "fused")): 1.0}
    sent = Report(folded(*calls), gauges)

    arrived = bytes_to_report(report_to_bytes(sent))

    assert arrived.gauges == gauges
    assert arrived.tally.counters == sent.tally.counters
    assert arrived.tally.histograms.keys() == sent.tally.histograms.keys()
    for instrument, series in sent.tally.histograms.items():
        assert arrived.tally.histograms[instrument].keys() == series.keys()
        for labels, one in series.items():
            same = arrived.tally.histograms[instrument][labels]
            assert (same.counts == one.counts).all()
            assert (same.sum, same.exemplars) == (one.sum, one.exemplars)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b'{"histograms":[["no.such",[],[],[],0,[]]],"counters":[],"gauges":[]}',
        b'{"histograms":[["rpc.server.call.duration",[],[99999],[1],0,[]]],'
        b'"counters":[],"gauges":[]}',
    ],
)
def test_what_is_no_report_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="not a report"):
        bytes_to_report(data)


def test_messages_have_an_end() -> None:
    here, there = socket.socketpair()
    with there:
        with here:
            send_message(here, b"one")
            send_message(here, b"")
            here.sendall(b"\0\0\0\x05abc")  # cut off
        assert receive_message(there) == b"one"
        assert receive_message(there) == b""
        assert receive_message(there) is None
        assert receive_message(there) is None


def test_what_would_be_too_large_is_not_waited_for() -> None:
    here, there = socket.socketpair()
    with here, there:
        here.sendall(b"\xff\xff\xff\xff")
        with pytest.raises(OSError, match="a message of"):
            receive_message(there)
