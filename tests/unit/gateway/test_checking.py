from __future__ import annotations

import json
from pathlib import Path

import pytest
from certificates import authority, of_client, of_server
from click.testing import CliRunner, Result
from issuers import Issuer

from gateway.check_config_cli import check_config
from gateway.security.keys import KeyFile, new_key, write_keys
from gateway.settings import Settings


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"TRIDENT_{name.upper()}", raising=False)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Everything that a secured gateway names."""
    ca = authority()
    ca.write(tmp_path, "ca")
    of_server(ca).write(tmp_path, "tls")
    of_client(ca).write(tmp_path, "client")
    (tmp_path / "jwks.json").write_text(Issuer().jwks())
    write_keys(tmp_path / "keys.yaml", KeyFile(keys=(new_key("a", ["*"])[1],)))
    (tmp_path / "permissions.yaml").write_text("clients: {}")
    (tmp_path / "gateway.yaml").write_text(
        f"""\
triton: [127.0.0.1:8001]
listen: 0.0.0.0:50051
tls_certificate: {tmp_path}/tls.pem
tls_key: {tmp_path}/tls.key
tls_client_ca: {tmp_path}/ca.pem
triton_tls_ca: {tmp_path}/ca.pem
triton_tls_certificate: {tmp_path}/client.pem
triton_tls_key: {tmp_path}/client.key
keys_file: {tmp_path}/keys.yaml
permissions_file: {tmp_path}/permissions.yaml
jwt_keys: {tmp_path}/jwks.json
jwt_issuer: https://issuer.test
jwt_audience: [trident]
payload_log: {tmp_path}/payloads
"""
    )
    return tmp_path


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(check_config, list(map(str, words)))


def test_a_file_that_can_be_used_is_said_to_be(files: Path) -> None:
    result = run(files / "gateway.yaml")
    assert (result.exit_code, result.stdout) == (0, "")
    assert json.loads(run(files / "gateway.yaml", "--json").stdout) == {
        "valid": True, "violations": {},
    }  # fmt: skip


def test_everything_wrong_with_the_settings_is_said_at_once(files: Path) -> None:
    config = files / "gateway.yaml"
    config.write_text("embedded: true\nlisten: 0.0.0.0:1\nmax_waiting: -1\ntls_client_ca: x\n")
    result = run(config, "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["violations"].keys() == {
        "listen", "max_waiting", "tls_client_ca",
    }  # fmt: skip
    said = run(config).stderr
    assert said.startswith(f"{config} cannot be used:\n")
    assert said.count("\n") == 4


def test_everything_wrong_with_the_files_is_said_at_once_without_quoting_them(
    files: Path,
) -> None:
    (files / "permissions.yaml").write_text("[")
    for name in ("tls.key", "client.key", "keys.yaml", "jwks.json"):
        (files / name).write_text("hush: [")
    result = run(files / "gateway.yaml", "--json")
    assert json.loads(result.stdout)["violations"].keys() == {
        "tls_certificate", "triton_tls_ca", "keys_file", "permissions_file", "jwt_keys",
    }  # fmt: skip
    assert "hush" not in result.output


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    result = run(tmp_path / "none.yaml")
    assert result.exit_code == 1
    assert "none.yaml" in result.output
