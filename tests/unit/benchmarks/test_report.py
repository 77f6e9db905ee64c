"""The table shows who ran and says why others did not; a page is written between its markers."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from benchmarks.serving import report
from benchmarks.serving.rounds import Results

MARKERS = "<!-- generated: serving -->{}<!-- /generated: serving -->"


def burst(contender: str, in_flight: int, rows_per_s: float, **changes: Any) -> dict[str, Any]:
    return {
        "task": "diagnose", "contender": contender, "loop": "closed", "in_flight": in_flight,
        "round": 0, "rows_per_s": rows_per_s, "p50_us": 1500, "p99_us": 20_000,
        "server_cpu_us": 300, "triton_cpu_us": 100, "resident_mb": [99.0], "faults": [],
    } | changes  # fmt: skip


@pytest.fixture
def results(tmp_path: Path) -> Results:
    found = Results(tmp_path / "run.jsonl")
    found.add("about", {"commit": "abc1234", "cores": 2, "cpu": "a | b", "rounds": 1})
    for in_flight in (1, 64):
        found.add("burst", burst("triton", in_flight, 1000))
        found.add("burst", burst("gateway-grpc", in_flight, 1250))
    found.add("burst", burst("kserve", 64, 500, faults=["9 calls failed"]))
    found.add("skipped", {"task": "diagnose", "contender": "bentoml", "why": "not installed;\nsee"})
    found.add("round", {"task": "diagnose", "round": 0})
    return found


def shown(results: Results) -> str:
    console = Console(file=io.StringIO(), width=200)
    report.show(console, results)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_table_has_ratio_time_cpu_and_memory_of_who_ran(results: Results) -> None:
    (line,) = [line for line in shown(results).splitlines() if "grpc.aio, fused  " in line]
    assert line.split("fused")[1].split() == [
        "1.25", "[1.25–1.25]", "1.25", "[1.25–1.25]", "1,250", "1.50", "20.0", "300", "+", "100",
        "99",
    ]  # fmt: skip


def test_who_did_not_run_is_named_with_the_reason(results: Results) -> None:
    assert "not run: BentoML (HTTP, JSON): not installed; see" in shown(results)


def test_what_does_not_count_is_named_with_its_fault(results: Results) -> None:
    text = shown(results)
    assert "not counted: diagnose, kserve, 64 in flight (closed): 9 calls failed" in text
    assert "KServe Python (gRPC)  " not in text


def test_a_page_is_written_between_its_markers_and_nowhere_else(
    results: Results, tmp_path: Path
) -> None:
    page = tmp_path / "performance.md"
    page.write_text("before\n" + MARKERS.format("old") + "\nafter\n")
    report.write_docs(page, results)
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert "| Trident on grpc.aio, fused | 1.25 [1.25–1.25] |" in text
    assert (tmp_path / "performance.svg").read_text().startswith("<?xml")
    report.write_docs(page, results)
    assert page.read_text() == text


def test_a_page_without_markers_is_refused(results: Results, tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    page.write_text("nothing")
    with pytest.raises(ValueError, match="has no <!-- generated"):
        report.write_docs(page, results)


def test_programs_get_everything(results: Results) -> None:
    content = json.loads(report.to_json(results))
    assert len(content["bursts"]) == 5
    assert content["skipped"]["diagnose"]["bentoml"].startswith("not installed")
    (bar,) = [one for one in content["bars"] if one["measured"] == "1.25 [1.25–1.25]"]
    assert bar["met"] is True
