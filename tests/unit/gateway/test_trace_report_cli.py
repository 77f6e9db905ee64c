from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from synthetic_traces import Planted, call, write

from gateway.trace_cli import trace

SLOW = Planted().with_step("score", queue=9.0)
Run = Callable[..., Result]


@pytest.fixture
def run() -> Run:
    """Runs `gateway trace …` in a terminal of 100 columns."""
    runner = CliRunner(env={"COLUMNS": "100"})
    return lambda *words: runner.invoke(trace, [str(word) for word in words])


def file_of(folder: Path, name: str, planted: Planted, count: int = 120) -> Path:
    return write(folder / name, [call(planted, at=20 * n) for n in range(count)])


@pytest.fixture
def slow(tmp_path: Path) -> Path:
    """Calls that wait for a step."""
    return file_of(tmp_path, "slow.jsonl", SLOW)


@pytest.fixture
def fast(tmp_path: Path) -> Path:
    """Calls that do not."""
    return file_of(tmp_path, "fast.jsonl", Planted())


def test_report_prints_the_budget_and_what_to_change(slow: Path, run: Run) -> None:
    done = run("report", slow)
    assert done.exit_code == 0, done.output
    assert "RiskService/ScoreRisk by score-risk/a1" in done.stdout
    assert "score: queue" in done.stdout
    assert "step `score` queues 9.00 ms" in done.stdout
    assert "→ triton_instances (gateway, embedded)" in done.stdout


def test_report_fits_into_80_columns(slow: Path) -> None:
    done = CliRunner(env={"COLUMNS": "80"}).invoke(trace, ["report", str(slow)])
    assert max(map(len, done.stdout.splitlines())) <= 80 + len(str(slow))


def test_report_as_json_has_everything(slow: Path, fast: Path, run: Run) -> None:
    done = run("report", slow, "--against", fast, "--json")
    content = json.loads(done.stdout)
    assert content["calls"] == 120
    (group,) = content["groups"]
    assert group["summary"]["key"]["release"] == "a1"
    assert {"share", "p50_ms", "p95_ms", "p99_ms", "tail_ms"} <= group["summary"]["stages"][
        0
    ].keys()
    assert group["findings"][0]["rule"] == "step-queue"
    assert content["comparisons"][0]["stages"][0]["key"] == "step.score.queue"


def test_report_writes_a_page_beside_the_table(slow: Path, tmp_path: Path, run: Run) -> None:
    done = run("report", slow, "--html", tmp_path / "report.html")
    assert done.exit_code == 0
    assert "score: queue" in done.stdout
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")


def test_report_names_what_could_not_be_read(slow: Path, run: Run) -> None:
    with slow.open("a") as file:
        file.write('{"resourceSpans":[{"scope\n')
    done = run("report", slow)
    assert done.exit_code == 0
    assert "Could not be read: 1 lines" in done.stdout
    assert "slow.jsonl:121:" in done.stdout.replace("\n", "")


def test_report_of_nothing_says_so(tmp_path: Path, run: Run) -> None:
    (tmp_path / "empty.jsonl").touch()
    done = run("report", tmp_path / "empty.jsonl")
    assert done.exit_code == 0
    assert "No call that was served" in done.stdout


def test_diff_says_what_became_slower(fast: Path, slow: Path, run: Run) -> None:
    done = run("diff", fast, slow)
    assert done.exit_code == 0, done.output
    assert "slower: mean" in done.stdout
    assert "+8.950" in done.stdout
    content = json.loads(run("diff", fast, slow, "--json").stdout)
    assert content[0]["total"]["mean"]["low"] > 0


def test_diff_compares_releases_in_the_same_traces(tmp_path: Path, run: Run) -> None:
    lines = [call(replace(one, release=name), at=20 * n) for n in range(60)
             for one, name in ((Planted(), "stable"), (SLOW, "canary"))]  # fmt: skip
    path = write(tmp_path / "both.jsonl", lines)
    done = run("diff", path, "--releases", "stable", "canary")
    assert "stable: 60 calls, canary: 60" in done.stdout
    assert "slower" in done.stdout


def test_diff_wants_two_sets(fast: Path, run: Run) -> None:
    assert run("diff", fast).exit_code == 2
    assert run("diff", fast, fast, "--releases", "a", "b").exit_code == 2
    done = run("diff", fast, "--releases", "a", "b")
    assert done.exit_code == 1
    assert "no RPC in common" in done.stderr


@pytest.mark.parametrize(
    ("limits", "code", "text"),
    [
        ("p99_ms: 25", 0, "within"),
        ("p99_ms: 5", 3, "most of it: score: queue"),
        ("p99_ms: 5, rpc: Recommend", 1, "no call matches"),
    ],
    ids=["within", "broken", "cannot-say"],
)
def test_check_ends_as_a_gate_does(
    limits: str, code: int, text: str, slow: Path, tmp_path: Path, run: Run
) -> None:
    budget = tmp_path / "budget.yaml"
    budget.write_text(f"budgets: [{{{limits}}}]\n")
    done = run("check", slow, "--budget", budget)
    assert done.exit_code == code, done.output
    assert text in done.stdout
    content = json.loads(run("check", slow, "--budget", budget, "--json").stdout)
    assert content[0]["verdict"] == {0: "within", 3: "broken", 1: "unknown"}[code]


def test_what_is_broken_counts_more_than_what_cannot_be_said(
    slow: Path, tmp_path: Path, run: Run
) -> None:
    budget = tmp_path / "budget.yaml"
    budget.write_text("budgets: [{p99_ms: 5}, {rpc: Recommend, p99_ms: 5}]\n")
    assert run("check", slow, "--budget", budget).exit_code == 3


def test_check_refuses_a_budget_with_all_its_faults(slow: Path, tmp_path: Path, run: Run) -> None:
    budget = tmp_path / "budget.yaml"
    budget.write_text("min_calls: x\nbudgets: [{p9_ms: 1}]\n")
    done = run("check", slow, "--budget", budget)
    assert done.exit_code == 2
    assert "min_calls" in done.stderr
    assert "p9_ms" in done.stderr


@pytest.mark.parametrize("to", ["--perfetto", "--chrome"])
def test_export_writes_a_file_or_standard_output(
    to: str, fast: Path, tmp_path: Path, run: Run
) -> None:
    file = tmp_path / "out"
    done = run("export", to, fast, "-o", file)
    assert done.exit_code == 0, done.output
    assert "1,800 spans" in done.stderr
    assert run("export", to, fast).stdout_bytes == file.read_bytes()


def test_export_takes_only_traces_that_are_there(fast: Path, run: Run) -> None:
    assert run("export", fast).exit_code == 2
    assert run("export", "--chrome", fast, "--trace", "abc").exit_code == 2
    done = run("export", "--chrome", fast, "--trace", "f" * 32)
    assert done.exit_code == 1
    assert "none of these traces" in done.stderr


def test_without_the_libraries_it_says_what_to_install(
    fast: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [one for one in sys.modules if one.startswith("gateway.telemetry.analysis")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "msgspec", None)
    done = run("report", fast)
    assert done.exit_code == 1
    assert "pip install 'trident[analysis]'" in done.stderr
