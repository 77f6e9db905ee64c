from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from gateway.trace_cli import trace

RECORDED = Path(__file__).parents[2] / "data" / "traces" / "two_steps.jsonl"
TRACE_ID = "c4f09ba9dbdcb2c3b6375e4dafc22cc4"


@pytest.fixture
def runner() -> CliRunner:
    """80 columns, and no file that the environment names."""
    return CliRunner(env={"COLUMNS": "80", "TRIDENT_TRACES_FILE": ""})


@pytest.mark.parametrize(
    "words", [["--last"], [], [TRACE_ID], [TRACE_ID[:6]]], ids=["last", "bare", "id", "prefix"]
)
def test_a_trace_is_shown_as_a_waterfall(words: list[str], runner: CliRunner) -> None:
    result = runner.invoke(trace, ["show", *words, "--file", str(RECORDED)])
    assert result.exit_code == 0, result.output
    assert result.stdout == RECORDED.with_name("two_steps_80.txt").read_text()


def test_json_is_one_object_with_the_tree(runner: CliRunner) -> None:
    result = runner.invoke(trace, ["show", "--json", "--file", str(RECORDED)])
    content = json.loads(result.stdout)
    assert content["trace_id"] == TRACE_ID
    (client,) = content["spans"]
    (server,) = client["children"]
    assert client["parent_span_id"] is None
    assert server["parent_span_id"] == client["span_id"]
    assert server["kind"] == "SERVER"
    assert server["attributes"]["trident.release"] == "a1"
    assert next(child["name"] for child in server["children"]) == "decode"
    assert client["start_ns"] == content["start_ns"]
    assert (client["start_ms"], client["status"]) == (0, "UNSET")
    assert 0 < server["start_ms"] < client["duration_ms"]
    assert client["duration_ms"] > server["duration_ms"] > 0


def test_the_environment_names_the_file(runner: CliRunner) -> None:
    result = runner.invoke(trace, ["show"], env={"TRIDENT_TRACES_FILE": str(RECORDED)})
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("words", [[], [TRACE_ID], ["--json"]])
def test_a_missing_file_is_one_clear_line(words: list[str], runner: CliRunner) -> None:
    result = runner.invoke(trace, ["show", *words, "--file", "nowhere.jsonl"])
    assert result.exit_code == 1
    assert result.stderr == "Error: there is no file nowhere.jsonl.\n"
    assert result.stdout == ""


def test_an_unknown_trace_is_one_clear_line(runner: CliRunner) -> None:
    result = runner.invoke(trace, ["show", "ffff", "--file", str(RECORDED)])
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"Error: {RECORDED} holds no trace 'ffff'.\n"


def test_an_id_and_last_together_are_a_usage_error(runner: CliRunner) -> None:
    result = runner.invoke(trace, ["show", TRACE_ID, "--last", "--file", str(RECORDED)])
    assert result.exit_code == 2


def test_importing_the_commands_imports_nothing_heavy() -> None:
    program = (
        "import sys, gateway.trace_cli, gateway.call_cli; "
        "print([n for n in ('grpc', 'opentelemetry', 'rich', 'google.protobuf', 'numpy', "
        "'aiohttp') if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
