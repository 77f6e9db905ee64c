"""The benchmarks run, and compare what they say they compare."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
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


def test_serving_measures_triton_an_echo_and_the_gateway_in_one_run(
    built: Any, tmp_path: Path, missing_tool: Callable[[str], None]
) -> None:
    if shutil.which("h2load") is None:
        missing_tool("h2load is not installed (Debian: apt-get install nghttp2-client)")
    # A burst with an error, or with answers of another size than right ones, has faults.
    results = tmp_path / "run.jsonl"
    command = [sys.executable, "-m", "benchmarks.serving"]
    done = subprocess.run(
        [*command, "run", "--store", built.path, "--only", "diagnose", "--in-flight", "1",
         "--contenders", "gateway-grpc,echo-grpc", "--rounds", "1", "--seconds", "0.3",
         "--results", results],
        capture_output=True, text=True, check=False, timeout=300, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = subprocess.run(
        [*command, "report", results, "--json"],
        capture_output=True, text=True, check=True, timeout=60, cwd=ROOT,
    )  # fmt: skip
    found = json.loads(report.stdout)
    measured = {one["contender"] for one in found["bursts"]}
    assert measured >= {
        "triton", "triton-ensemble", "triton-batch", "echo-grpc",
        "gateway-grpc", "gateway-grpc-ensemble", "gateway-grpc-stream", "gateway-grpc-batch",
    }  # fmt: skip
    for one in found["bursts"]:
        assert one["faults"] == [], one["contender"]
        assert one["calls"] > 0
        assert one["server_cpu_us"] > 0
    by_name = {one["contender"]: one for one in found["bursts"]}
    assert by_name["gateway-grpc"]["triton_cpu_us"] > 0
    assert by_name["gateway-grpc-batch"]["rows"] == 256


def test_metrics_cost_compares_ways_to_count_the_same_calls() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "metrics_cost.py", "--calls", "2000",
         "--rounds", "1", "--json"],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    results = {one["way"]: one for one in json.loads(done.stdout)}
    ours = results["gateway: sink and thread"]
    assert ours["ratio"] == 1
    assert len(results) == 5
    for one in results.values():
        assert one["calls"] == 2000
        assert one["ratio"] == pytest.approx(one["us"] / ours["us"])


def test_security_cost_compares_calls_with_the_same_calls_without(
    missing_tool: Callable[[str], None], envoy_available: None
) -> None:
    if shutil.which("h2load") is None:
        missing_tool("h2load is not installed (Debian: apt-get install nghttp2-client)")
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "security_cost.py", "--calls", "200",
         "--rounds", "1", "--seconds", "1", "--in-flight", "4", "--json"],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    inside = {one["way"]: one for one in found["in_process"]}
    assert inside["plain"]["more_us"] == 0
    assert inside["unseen token, RS256"]["us"] > inside["token"]["us"]
    outside = {(one["transport"], one["way"]): one for one in found["over_the_wire"]}
    assert len(outside) == 8
    for (transport, _), one in outside.items():
        assert one["ratio"] == pytest.approx(
            one["calls_per_s"] / outside[transport, "plain"]["calls_per_s"]
        )


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


def test_training_loop_compares_with_bare_steps_that_do_the_same() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "training_loop.py", "--json",
         "--rounds", "1", "--seconds", "0.05"],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    assert list(results) == ["table", "recommender", "encoder"]
    for one in results.values():
        for ratio, ours, theirs in (
            ("ratio", "loop", "bare"),
            ("ratio_clipping", "loop_clipping", "bare_clipping"),
            ("ratio_defaults", "loop_clipping", "plain"),
        ):
            assert one[ratio] == pytest.approx(one[f"{ours}_ms"] / one[f"{theirs}_ms"])
