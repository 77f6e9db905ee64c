"""`gateway bench` loads a server for a while, and reports what that caused."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from fake_runner import FakeRunner
from server_thread import served
from span_makers import spans_in

from gateway.bench_cli import bench
from gateway.telemetry.building import build_tracing

pytestmark = pytest.mark.e2e

Bench = Callable[..., Result]


@pytest.fixture
def traces(tmp_path: Path) -> Path:
    """The file that gateway and load share."""
    return tmp_path / "traces.jsonl"


@pytest.fixture
def run(traces: Path) -> Iterator[Bench]:
    """Runs `gateway bench …` against a gateway with a release of each line."""
    tracing = build_tracing(traces_file=traces, environment={})
    with served(FakeRunner(), tracing) as target:
        options = ["--target", target, "--traces", str(traces), "--duration", "0.5",
                   "--warmup", "0.1", "--connections", "1", "--settle", "0.6"]  # fmt: skip
        runner = CliRunner(env={"COLUMNS": "100"})
        yield lambda *words: runner.invoke(bench, [*options, *words])
    tracing.shutdown()


def test_a_load_ends_with_the_report_of_what_it_caused(run: Bench, traces: Path) -> None:
    done = run("score-risk", "--rate", "60", "--sample", "1", "--json")
    assert done.exit_code == 0, done.output
    content = json.loads(done.stdout)
    assert content["errors"] == {}
    assert content["answered"] == content["sent"] > 10
    assert content["latency_ms"]["p99"] >= content["latency_ms"]["p50"] > 0
    (group,) = content["report"]["groups"]
    summary = group["summary"]
    assert summary["key"]["rpc"] == "RiskService/ScoreRisk"
    assert summary["calls"] == summary["with_client"] == content["sent"]
    assert {"client", "decode", "encode"} <= {one["key"] for one in summary["stages"]}
    kinds = {one["kind"] for one in spans_in(traces)}
    assert {2, 3} <= kinds


def test_the_ids_of_the_traced_calls_can_be_written(run: Bench, tmp_path: Path) -> None:
    ids = tmp_path / "ids.txt"
    done = run("score-risk", "--rate", "60", "--sample", "1", "--json", "--trace-ids", str(ids))
    content = json.loads(done.stdout)
    written = ids.read_text().split()
    assert len(set(written)) == len(written) == content["sent"]
    slowest = content["report"]["groups"][0]["summary"]["slowest"]
    assert {one["trace_id"] for one in slowest} <= set(written)


def test_the_report_leaves_out_what_others_caused(run: Bench) -> None:
    first = json.loads(run("diagnose", "--rate", "40", "--sample", "1", "--json").stdout)
    second = json.loads(run("score-risk", "--concurrency", "1", "--sample", "1", "--json").stdout)
    assert first["report"]["calls"] == first["sent"]
    assert [one["summary"]["key"]["line"] for one in second["report"]["groups"]] == ["score-risk"]
    assert second["report"]["calls"] == second["sent"]


def test_requests_of_a_file_are_sent(run: Bench, tmp_path: Path) -> None:
    file = tmp_path / "requests.jsonl"
    file.write_text('{"history_item_ids": ["a", "b"]}\n')
    done = run("recommend", "--concurrency", "1", "--requests", str(file), "--sample", "0")
    assert done.exit_code == 0, done.output
    assert "answered in" in done.stdout
    assert "RecommendService" not in done.stdout  # nothing was traced


def test_calls_are_measured_from_when_they_are_due_where_a_rate_says_when_that_is(
    run: Bench,
) -> None:
    for load, since in (("--rate", ["due", "sent"]), ("--concurrency", ["sent"])):
        said = run("score-risk", load, "5", "--sample", "0").stdout
        assert [one for one in ("due", "sent") if f"from when it was {one}" in said] == since


def test_many_requests_go_in_one_call(run: Bench) -> None:
    done = run("score-risk", "--rate", "20", "--rows", "25", "--sample", "1", "--json")
    assert done.exit_code == 0, done.output
    content = json.loads(done.stdout)
    assert content["errors"] == {}
    assert content["rows"] == 25
    (group,) = content["report"]["groups"]
    assert group["summary"]["key"]["rpc"] == "RiskService/BatchScoreRisk"
    assert group["summary"]["calls"] == content["answered"] == content["sent"] > 3
    said = run("score-risk", "--concurrency", "1", "--rows", "25", "--sample", "0").stdout
    assert "requests/s in calls of 25" in said


def test_items_that_nobody_names_are_a_usage_error(run: Bench) -> None:
    done = run("recommend", "--rate", "5")
    assert done.exit_code == 2
    assert "--requests" in done.stderr


@pytest.mark.parametrize("how", [(), ("--rate", "5", "--concurrency", "2")])
def test_a_load_is_open_or_closed(how: tuple[str, ...], run: Bench) -> None:
    assert run("score-risk", *how).exit_code == 2


def test_a_bad_file_of_requests_is_refused_with_its_lines(run: Bench, tmp_path: Path) -> None:
    file = tmp_path / "requests.jsonl"
    file.write_text("{}\nnone\n")
    done = run("score-risk", "--rate", "5", "--requests", str(file))
    assert done.exit_code == 1
    assert "line 2" in done.stderr


def test_a_gateway_that_does_not_answer_is_said_in_one_line(traces: Path) -> None:
    done = CliRunner().invoke(bench, ["score-risk", "--rate", "5", "--target", "127.0.0.1:9"])
    assert done.exit_code == 1
    assert "nothing answers at 127.0.0.1:9" in done.stderr


def test_requests_of_a_file_for_nobody_end_at_the_deadline(tmp_path: Path) -> None:
    file = tmp_path / "requests.jsonl"
    file.write_text("{}\n")
    words = ["score-risk", "--rate", "5", "--requests", str(file), "--deadline", "0.3"]
    done = CliRunner().invoke(bench, [*words, "--target", "127.0.0.1:9"])
    assert done.exit_code == 1
    assert "nothing answers at 127.0.0.1:9" in done.stderr


def test_spans_that_cannot_be_written_cost_the_report_and_not_the_result(
    run: Bench, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    below_a_file = str(tmp_path / "file" / "traces.jsonl")
    done = run("score-risk", "--rate", "20", "--sample", "1", "--json", "--traces", below_a_file)
    assert done.exit_code == 0, done.output
    content = json.loads(done.stdout)
    assert content["answered"] == content["sent"] > 0
    assert content["report"] is None
    assert below_a_file in done.stderr


def test_a_page_of_the_report_can_be_written(run: Bench, tmp_path: Path) -> None:
    page = tmp_path / "load.html"
    done = run("score-risk", "--rate", "40", "--sample", "1", "--html", str(page))
    assert done.exit_code == 0, done.output
    assert "RiskService/ScoreRisk" in page.read_text()
