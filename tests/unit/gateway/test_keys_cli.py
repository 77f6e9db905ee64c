from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.keys_cli import keys
from gateway.security.client import Client
from gateway.security.keys import Keys, read_keys
from gateway.transport.api import api_methods


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys.yaml"


def run(*words: str, file: Path) -> Result:
    return CliRunner(env={"COLUMNS": "200"}).invoke(keys, [*words, "--file", str(file)])


def client_of(file: Path, key: str) -> Client:
    return Keys(read_keys(file, api_methods()), api_methods()).client(key, 0)


def test_a_key_is_printed_once_and_works(file: Path) -> None:
    added = run("add", "billing", "--permit", "risk", "--permit", "model", file=file)
    key = added.stdout.strip()
    assert client_of(file, key).id == "key:billing"
    assert key not in run("list", file=file).output
    assert key not in file.read_text()


def test_keys_are_listed_without_their_hashes(file: Path) -> None:
    run("add", "billing", "--permit", "risk", file=file)
    run("add", "old", "--permit", "*", "--days", "30", file=file)
    listed = json.loads(run("list", "--json", file=file).stdout)
    assert [(one["client"], one["permissions"]) for one in listed] == [
        ("billing", ["risk"]), ("old", ["*"]),
    ]  # fmt: skip
    assert all("sha256" not in one for one in listed)
    table = run("list", file=file).stdout
    assert "billing" in table
    assert "never" in table


def test_a_key_that_is_revoked_is_gone_and_the_others_stay(file: Path) -> None:
    first = json.loads(run("add", "a", "--permit", "*", "--json", file=file).stdout)
    second = json.loads(run("add", "a", "--permit", "*", "--json", file=file).stdout)
    assert run("revoke", first["id"], file=file).exit_code == 0
    assert client_of(file, second["key"]).name == "a"
    again = run("revoke", first["id"], file=file)
    assert again.exit_code == 1


def test_whoever_gives_the_key_itself_does_not_find_it_in_the_answer(file: Path) -> None:
    key = run("add", "a", "--permit", "*", file=file).stdout.strip()
    assert key not in run("revoke", key, file=file).output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("a b", "--permit", "*"), "CLIENT"),
        (("a", "--permit", "risks"), "risks permits nothing; domains are"),
        (("a",), "--permit"),
        (("a", "--permit", "*", "--days", "0"), "--days"),
    ],
)
def test_what_makes_no_key_is_said_and_nothing_is_written(
    file: Path, words: tuple[str, ...], said: str
) -> None:
    result = run("add", *words, file=file)
    assert result.exit_code == 2
    assert said in result.output
    assert not file.exists()


def test_a_file_that_cannot_be_read_is_left_alone(file: Path) -> None:
    file.write_text("keys: [")
    assert run("add", "a", "--permit", "*", file=file).exit_code == 1
    assert file.read_text() == "keys: ["


def test_an_expired_key_is_shown_as_such(file: Path) -> None:
    run("add", "a", "--permit", "*", "--days", "1", file=file)
    text = file.read_text()
    (expires,) = [line for line in text.splitlines() if "expires" in line]
    file.write_text(text.replace(expires, "  expires: '2020-01-01T00:00:00Z'"))
    assert "2020-01-01 (expired)" in run("list", file=file).stdout


def test_two_who_add_at_once_lose_no_key(file: Path) -> None:
    with ThreadPoolExecutor(4) as some:
        done = list(some.map(lambda number: add_in_process(file, number), range(4)))
    assert done == [0] * 4
    assert len(read_keys(file, api_methods()).keys) == 4


def add_in_process(file: Path, number: int) -> int:
    code = "import sys; from gateway.keys_cli import keys; keys(sys.argv[1:])"
    words = ["add", f"client-{number}", "--permit", "*", "--file", str(file)]
    return subprocess.run([sys.executable, "-c", code, *words], capture_output=True).returncode
