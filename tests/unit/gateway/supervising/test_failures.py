"""A worker tells its supervisor which requests Triton failed."""

from __future__ import annotations

import asyncio
import logging
import socket
from pathlib import Path

import pytest
from span_makers import CLIENT_SPAN_ID, TRACE_ID, TRACEPARENT

from gateway.supervising.failures import hearing_failures, teller
from gateway.telemetry.failed_requests import FailedRequest, FailedRequests
from gateway.telemetry.trace_context import Parent

ASKED = Parent(TRACE_ID, CLIENT_SPAN_ID, True)
FAILED = FailedRequest(TRACEPARENT, "INTERNAL", "größer als 1", "prepare")


async def heard(known: FailedRequests) -> FailedRequest | None:
    """What has come, once it has."""
    for _ in range(2_000):
        if found := known.take(ASKED):
            return found
        await asyncio.sleep(0.01)
    return None


async def test_what_a_worker_tells_is_known_to_its_supervisor(tmp_path: Path) -> None:
    known = FailedRequests()
    async with hearing_failures(tmp_path, known):
        teller(tmp_path)(FAILED)
        assert await heard(known) == FAILED


async def test_a_text_that_no_datagram_could_hold_is_told_in_part(tmp_path: Path) -> None:
    known = FailedRequests()
    async with hearing_failures(tmp_path, known):
        teller(tmp_path)(FailedRequest(TRACEPARENT, "INTERNAL", "ü" * 1_000_000))
        found = await heard(known)
    assert found is not None
    assert found.text == "ü" * 4_000


async def test_where_nobody_listens_nothing_happens(tmp_path: Path) -> None:
    """No Triton is embedded, or the supervisor has gone."""
    teller(tmp_path)(FAILED)
    async with hearing_failures(tmp_path, FailedRequests()):
        pass
    teller(tmp_path)(FAILED)


async def test_a_supervisor_that_is_busy_is_not_waited_for(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as silent:
        silent.bind(str(tmp_path / "failed-requests"))
        for _ in range(2_000):  # more than any queue of the system has places
            teller(tmp_path)(FAILED)


async def test_what_is_none_is_logged_and_the_next_is_heard(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    known = FailedRequests()
    with caplog.at_level(logging.WARNING):
        async with hearing_failures(tmp_path, known):
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
                other.sendto(b'{"traceparent": 7}', str(tmp_path / "failed-requests"))
            teller(tmp_path)(FAILED)
            assert await heard(known) == FAILED
    assert "could not be understood" in caplog.text
