"""Reports of traces that a test makes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from synthetic_traces import Json, write

from gateway.telemetry.analysis.calls import Calls
from gateway.telemetry.analysis.report import Report, Traces, build_report, read

Analysed = Callable[..., Traces]


@pytest.fixture
def analysed(tmp_path: Path) -> Analysed:
    """Writes lines of spans and reads them as a report does."""

    def run(*lines: Sequence[Json], name: str = "traces.jsonl") -> Traces:
        return read([write(tmp_path / name, lines)])

    return run


@pytest.fixture
def calls_of(analysed: Analysed) -> Callable[..., Calls]:
    """The calls in lines of spans."""
    return lambda *lines: analysed(*lines).calls


@pytest.fixture
def report_of(analysed: Analysed) -> Callable[..., Report]:
    """The report of lines of spans."""
    return lambda *lines: build_report(analysed(*lines))
