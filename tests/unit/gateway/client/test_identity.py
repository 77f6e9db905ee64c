from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest
from certificates import authority, of_client
from click.testing import CliRunner, Result

from gateway.client.identity import NOBODY, Identity, identified


@pytest.fixture
def files(tmp_path: Path) -> Path:
    ca = authority()
    ca.write(tmp_path, "ca")
    of_client(ca).write(tmp_path, "client")
    return tmp_path


def run(*words: str | Path, **environment: str) -> tuple[Result, list[Identity]]:
    seen: list[Identity] = []

    @click.command()
    @identified
    def command(identity: Identity, **rest: Any) -> None:
        seen.append(identity)

    return CliRunner(env=environment).invoke(command, list(map(str, words))), seen


def test_nobody_shows_nothing() -> None:
    _, (identity,) = run()
    assert identity == NOBODY
    assert identity.metadata == ()


def test_credentials_come_from_the_environment(files: Path) -> None:
    _, (identity,) = run(
        TRIDENT_TLS_CA=str(files / "ca.pem"), TRIDENT_TOKEN="t", TRIDENT_API_KEY="k"
    )
    assert identity.metadata == (("authorization", "Bearer t"), ("x-api-key", "k"))
    assert identity.tls_ca == files / "ca.pem"


def test_credentials_are_in_no_text(files: Path) -> None:
    identity = Identity(token="hush-token", api_key="hush-key")
    assert "hush" not in repr(identity)


def test_credentials_in_plain_text_are_warned_of() -> None:
    result, _ = run("--token", "hush")
    assert "travel in plain text" in result.stderr
    assert "hush" not in result.output


def test_a_certificate_needs_its_key_and_an_authority(files: Path) -> None:
    for words in (
        ("--tls-ca", files / "ca.pem", "--tls-cert", files / "client.pem"),
        ("--tls-cert", files / "client.pem", "--tls-key", files / "client.key"),
    ):
        result, seen = run(*words)
        assert (result.exit_code, seen) == (2, [])
