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


def test_report_of_spans_without_a_call_says_so(tmp_path: Path, run: Run) -> None:
    done = run("report", write(tmp_path / "part.jsonl", [call(Planted())[1:2]]))
    assert done.exit_code == 0
    assert "No call that was served" in done.stdout


@pytest.mark.parametrize(
    ("content", "damage"),
    [
        ("", ""),
        ("hello\n", "\nCould not be read: 1 lines, 0 spans of others\n  "),
        ('{"a":1}\n', "\nCould not be read: 1 lines, 0 spans of others\n  "),
        ('{"a":1}\n{"a":1}\n', "\nCould not be read: 2 lines, 0 spans of others\n  "),
    ],
    ids=["empty", "garbage", "other-json", "other-lines"],
)
@pytest.mark.parametrize("command", ["report", "export --chrome", "check --budget", "diff"])
def test_files_without_a_span_are_an_error_that_says_what_was_expected(
    command: str, content: str, damage: str, fast: Path, tmp_path: Path, run: Run
) -> None:
    path, budget = tmp_path / "odd.jsonl", tmp_path / "budget.yaml"
    path.write_text(content)
    budget.write_text("budgets: [{p99_ms: 5}]\n")
    more = {"check --budget": [budget], "diff": [fast]}.get(command, [])
    done = run(*command.split(), *more, path)
    assert (done.exit_code, done.stdout) == (1, "")
    expected = "expected lines of OTLP/JSON, as the gateway writes them, or an answer of Jaeger"
    assert done.stderr.startswith(f"Error: there is no span in {path}: {expected}")
    assert damage in done.stderr
    assert damage or "Could not be read" not in done.stderr


def test_a_file_without_a_span_beside_a_good_one_is_only_named(
    fast: Path, tmp_path: Path, run: Run
) -> None:
    (tmp_path / "odd.jsonl").write_text("hello\n")
    done = run("report", fast, tmp_path / "odd.jsonl")
    assert done.exit_code == 0
    assert "Could not be read: 1 lines" in done.stdout


@pytest.mark.parametrize("command", ["report --html", "export --chrome -o", "export --perfetto -o"])
def test_the_folder_of_what_is_written_is_made(
    command: str, fast: Path, tmp_path: Path, run: Run
) -> None:
    file = tmp_path / "not" / "there" / "out"
    done = run(*command.split(), file, fast)
    assert done.exit_code == 0, done.output
    assert file.stat().st_size > 1000


@pytest.mark.parametrize("command", ["report --html", "export --chrome -o", "export --perfetto -o"])
@pytest.mark.parametrize(
    ("where", "reason"),
    [("fast.jsonl/out", "Not a directory"), ("/dev/full", "No space left on device")],
)
def test_what_cannot_be_written_is_one_clear_line(
    command: str, where: str, reason: str, fast: Path, tmp_path: Path, run: Run
) -> None:
    file = tmp_path / where
    done = run(*command.split(), file, fast)
    assert done.exit_code == 1
    assert done.stderr == f"Error: {file} cannot be written: {reason}\n"


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


def test_diff_of_what_is_no_release_says_which_there_are(fast: Path, run: Run) -> None:
    done = run("diff", fast, "--releases", "a", "zz")
    assert done.exit_code == 1
    assert done.stderr == (
        "Error: 'a' answered no call; did you mean `a1`? 'zz' answered no call; "
        "releases are: score-risk: a1.\n"
    )


def test_diff_of_releases_of_two_lines_finds_no_rpc(tmp_path: Path, run: Run) -> None:
    other = Planted(method="a.B/C", line="recommend", release="r1")
    path = write(tmp_path / "both.jsonl", [call(Planted()), call(other)])
    done = run("diff", path, "--releases", "a1", "r1")
    assert done.exit_code == 1
    assert "no RPC in common" in done.stderr


@pytest.mark.parametrize(
    ("limits", "code", "text"),
    [
        ("p99_ms: 25", 0, "within"),
        ("p99_ms: 5", 3, "most of it: score: queue"),
        ("p99_ms: 5, rpc: Recommend", 1, "no call matches"),
        ("stages: {queu: {p99_ms: 5}}", 1, "did you mean `queue`?"),
    ],
    ids=["within", "broken", "cannot-say", "no-such-stage"],
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
    assert "p9_ms: there is no such key; did you mean" in done.stderr


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
    done = run("export", "--chrome", fast, "--trace", "xyz", "--trace", "")
    assert done.exit_code == 2
    assert "'xyz', ''" in done.stderr
    done = run("export", "--chrome", fast, "--trace", "f" * 32)
    assert done.exit_code == 1
    assert "none of these traces" in done.stderr


def test_export_takes_the_first_digits_of_a_trace_if_they_are_of_one(fast: Path, run: Run) -> None:
    line = json.loads(fast.read_text().splitlines()[-1])
    last = line["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["traceId"]
    alone = write(fast.with_name("two.jsonl"), [call(Planted()), call(Planted())])
    alone.write_text(alone.read_text().replace("0000000000abcdef", "77777777777777ab", 15))
    for part in (last, last[:31], "7", "77777777777777AB"):
        file = alone if part.startswith("7") else fast
        assert "15 spans" in run("export", "--chrome", file, "--trace", part).stderr, part
    several = run("export", "--chrome", fast, "--trace", last[:16], "--trace", "77")
    assert (several.exit_code, several.stdout) == (1, "")
    assert "120 traces start with '0000000000abcdef'" in several.stderr
    assert "no trace starts with '77'" in several.stderr


@pytest.mark.parametrize(
    ("words", "text"),
    [([], "give --perfetto or --chrome\n"), (["--perfetto", "--chrome"], "not both")],
)
def test_export_wants_one_format(words: list[str], text: str, fast: Path, run: Run) -> None:
    done = run("export", *words, fast)
    assert (done.exit_code, done.stdout) == (2, "")
    assert text in done.stderr


def test_without_the_libraries_it_says_what_to_install(
    fast: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [one for one in sys.modules if one.startswith("gateway.telemetry.analysis")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "msgspec", None)
    done = run("report", fast)
    assert done.exit_code == 1
    assert "pip install 'trident[analysis]'" in done.stderr
