"""The benchmarks run, and compare what they say they compare."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]


def test_latency_compares_every_rpc_with_the_same_inference_at_triton(built: Any) -> None:
    # It ends with an error unless gateway and Triton give the same answers.
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "latency.py", "--store", built.path, "--json",
         "--rounds", "2", "--calls", "3", "--batch", "20"],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    assert [one["rpc"] for one in results] == [
        f"{form}{rpc}"
        for rpc in ("Recommend", "Diagnose", "ScoreRisk")
        for form in ("", "Batch", "Stream")
    ]
    for one in results:
        assert one["calls"] == 6
        assert one["rows"] == (20 if one["rpc"].startswith("Batch") else 1)
        assert 0 < one["triton_p50_ms"] <= one["triton_p99_ms"]
        assert one["ratio_p50"] == pytest.approx(one["gateway_p50_ms"] / one["triton_p50_ms"])


def test_trace_report_measures_a_report_of_as_many_spans_as_it_is_told() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "trace_report.py", "--spans", "2000", "--json"],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    table, page = json.loads(done.stdout)
    assert (table["what"], page["what"]) == ("table", "page")
    for one in (table, page):
        assert one["spans"] == 2000
        assert one["file_bytes"] > 2000 * 200
        assert one["processor_seconds"] > 0
        assert one["peak_bytes"] > 10_000_000
