"""A gateway shows its metrics, and says where."""

from __future__ import annotations

import asyncio
import socket
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from call_records import family
from metric_collectors import http_collector
from prometheus_client.parser import text_string_to_metric_families
from span_makers import source, span
from waiting import wait_for

from gateway.metering import count_dropped, listen_for_metrics
from gateway.serving import serve
from gateway.settings import InvalidSettings, Settings, load_settings
from gateway.starting import StartFailed
from gateway.supervising.signals import StopSignals
from gateway.telemetry.metrics.instruments import DROPPED_SPANS
from gateway.telemetry.metrics.readings import Reading
from gateway.telemetry.metrics.reporter import Metrics
from gateway.telemetry.span_queue import Limits, SpanQueue
from gateway.telemetry.trace_file import TraceFile
from gateway.telemetry.tracing import Tracing

pytestmark = pytest.mark.usefixtures("clean_environment")

WAIT_S = 20
NO_TRITON = "127.0.0.1:1"


def settings(**options: Any) -> Settings:
    return Settings(**{"listen": "127.0.0.1:0", "store": "store", "triton": (NO_TRITON,)} | options)


class Serving:
    """A gateway that serves, and what it said."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.signals = StopSignals()
        self._task: asyncio.Task[bool] | None = None

    async def start(self, **options: Any) -> str:
        """Return where it says that its metrics are."""
        self._task = asyncio.create_task(
            serve(settings(**options), self.lines.append, self.signals)
        )
        async with asyncio.timeout(WAIT_S):
            while not self._task.done() and "Nothing is routed" not in "".join(self.lines):
                await asyncio.sleep(0.01)
        if self._task.done():
            await self._task
        (line,) = (line for line in self.lines if line.startswith("Metrics"))
        return line.split(maxsplit=1)[1]

    async def stop(self) -> None:
        if self._task is not None and not self._task.done():
            self.signals.receive()
            await asyncio.wait_for(self._task, WAIT_S)


@pytest.fixture
async def serving() -> AsyncIterator[Serving]:
    serving = Serving()
    yield serving
    await serving.stop()


def scrape(url: str) -> dict[str, float]:
    with urllib.request.urlopen(url, timeout=WAIT_S) as answer:
        text = answer.read().decode()
    return {
        sample.name: sample.value
        for metric in text_string_to_metric_families(text)
        for sample in metric.samples
    }


async def test_the_metrics_of_all_workers_are_at_one_address(serving: Serving) -> None:
    url = await serving.start(metrics_listen="127.0.0.1:0", workers=2)

    async with asyncio.timeout(WAIT_S):
        while (found := await asyncio.to_thread(scrape, url))["trident_workers"] < 2:
            await asyncio.sleep(0.05)
    assert found["trident_triton_up"] == 0
    assert found["process_cpu_time_seconds_total"] > 0
    assert found["target_info"] == 1


async def test_without_anybody_who_wants_them_there_are_none(serving: Serving) -> None:
    assert await serving.start() == "off"


async def test_a_collector_alone_is_enough(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    with http_collector() as collected:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", f"{collected.target}/v1/metrics")
        assert await serving.start() == f"{collected.target}/v1/metrics"
        await serving.stop()  # which sends the last

    assert "process.cpu.time" in collected.metrics
    assert collected.resource["service.name"] == "trident-gateway"


def test_spans_that_the_supervisor_drops_are_counted_with_those_of_the_workers(
    tmp_path: Path,
) -> None:
    metrics = listen_for_metrics(tmp_path, None)
    tracing = Tracing([SpanQueue(TraceFile(tmp_path / "t"), source("triton"), Limits(1))])
    count_dropped(metrics, tracing)
    worker = Metrics(0)
    worker.gauges(lambda: [Reading(DROPPED_SPANS, (), 4)])
    metrics.start()
    worker.start(tmp_path)
    # It is taken in a moment later.
    wait_for(lambda: family(metrics.hub.gather(), "trident.workers").numbers[0].value == 1)
    tracing.export([span("queue", 1), span("compute", 2), span("work", 3)])

    worker.stop()  # which reports once more
    metrics.hub.wait_workers()
    found = family(metrics.hub.gather(), "trident.spans.dropped")

    metrics.stop()
    assert [one.value for one in found.numbers] == [4 + 3]


async def test_an_address_in_use_is_a_failed_start(serving: Serving) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(StartFailed, match=f"cannot show metrics at {address}: .*in use"):
            await serving.start(metrics_listen=address)


def test_the_address_is_checked() -> None:
    with pytest.raises(InvalidSettings) as caught:
        load_settings(None, {"embedded": True, "metrics_listen": "9090"})
    assert list(caught.value.violations) == ["metrics_listen"]
    assert load_settings(None, {"embedded": True, "metrics_listen": ""}).metrics_listen is None
