from __future__ import annotations

import socket
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from gateway.cli import LazyGroup, cli

pytestmark = pytest.mark.usefixtures("clean_environment")


def gateway(*words: object) -> Result:
    return CliRunner().invoke(cli, [str(word) for word in words], prog_name="gateway")


def test_help_names_every_command_with_its_summary() -> None:
    result = gateway("--help")
    assert result.exit_code == 0
    for name in cli.list_commands(click.Context(cli)):
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        assert command.name == name
        assert f"\n  {name} " in result.output
    assert "Serve the routed releases." in result.output


def test_help_imports_no_command_and_nothing_heavy() -> None:
    program = (
        "import sys; from click.testing import CliRunner; from gateway.cli import cli;"
        "assert CliRunner().invoke(cli, ['--help']).exit_code == 0;"
        "print([n for n in ('gateway.serve_cli', 'gateway.call_cli', 'gateway.trace_cli', 'grpc',"
        " 'numpy', 'pydantic', 'google.protobuf', 'opentelemetry') if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_the_help_of_serve_imports_neither_grpc_nor_triton() -> None:
    program = (
        "import sys; from click.testing import CliRunner; from gateway.cli import cli;"
        "assert CliRunner().invoke(cli, ['serve', '--help']).exit_code == 0;"
        "print([n for n in ('grpc', 'tritonclient', 'numpy') if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_the_version_is_that_of_the_package() -> None:
    result = gateway("--version")
    assert (result.exit_code, result.output) == (0, f"gateway, version {version('trident')}\n")


def test_an_unknown_command_is_a_usage_error() -> None:
    result = gateway("sevre")
    assert result.exit_code == 2
    assert "No such command 'sevre'" in result.stderr


def test_a_command_may_be_there_without_being_lazy() -> None:
    group = LazyGroup("g", lazy={"late": ("gateway.trace_cli:trace", "Late.")})
    group.add_command(click.Command("early"))
    context = click.Context(group)
    assert group.list_commands(context) == ["early", "late"]
    assert group.get_command(context, "early") is not None
    assert group.get_command(context, "never") is None


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "give --embedded, or a Triton with --triton HOST:PORT"),
        (["--embedded", "--triton", "a:1"], "give --embedded or --triton HOST:PORT, not both"),
        (["--triton", "a"], "triton: must be HOST:PORT"),
        (["--embedded", "--listen", "here"], "listen: must be HOST:PORT"),
        (["--embedded", "--variant", "fast"], "'fast' is not one of"),
        (["--embedded", "--workers", "many"], "workers: must be 'auto' or in [1, 256], got 'many'"),
        (["--embedded", "--workers", "0"], "workers: must be 'auto' or"),
        (["--embedded", "--config", "nowhere.yaml"], "'nowhere.yaml' does not exist"),
        (["--embeded"], "No such option"),
    ],
    ids=[
        "no triton",
        "two kinds",
        "triton",
        "listen",
        "variant",
        "workers",
        "no workers",
        "config",
        "option",
    ],
)
def test_serve_refuses_wrong_usage_with_two(words: list[str], told: str) -> None:
    result = gateway("serve", *words)
    assert result.exit_code == 2, result.output
    assert told in result.stderr
    assert result.stdout == ""


def test_serve_tells_everything_that_is_wrong_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "gateway.yaml"
    config.write_text("grace_s: -1\n")
    monkeypatch.setenv("TRIDENT_MAX_IN_FLIGHT", "0")
    result = gateway("serve", "--config", config, "--listen", "x", "--triton", "y")
    assert result.exit_code == 2
    for name in ("grace_s", "max_in_flight", "listen", "triton"):
        assert f"  {name}: " in result.stderr


def test_serve_says_in_one_line_that_its_address_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        listen = f"127.0.0.1:{other.getsockname()[1]}"
        result = gateway("serve", "--triton", "127.0.0.1:1", "--listen", listen)
    assert result.exit_code == 1
    assert result.stderr == f"Error: cannot listen at {listen}: Address already in use\n"


def test_serve_says_in_one_line_that_the_routes_are_damaged(tmp_path: Path) -> None:
    (tmp_path / "store" / "routes").mkdir(parents=True)
    (tmp_path / "store" / "routes" / "000001.yaml").write_text("lines: [")
    words = ("--triton", "127.0.0.1:1", "--listen", "127.0.0.1:0", "--store", tmp_path / "store")
    result = gateway("serve", *words)
    assert result.exit_code == 1
    assert "000001.yaml cannot be read: no YAML" in result.stderr
    assert "Traceback" not in result.stderr
