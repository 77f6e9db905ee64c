"""`gateway serve` as an operator runs it, on both transports: no start in the open, reloading."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from certificates import authority, of_server

from gateway.security.keys import KeyFile, new_key, write_keys
from gateway.settings import Settings

pytestmark = pytest.mark.e2e
SCRIPTS = Path(sys.executable).parent
START_S = 60


@pytest.fixture
def config(tmp_path: Path, transport: str) -> Path:
    """A gateway with TLS and keys, in front of a Triton that is not there."""
    ca = authority()
    ca.write(tmp_path, "ca")
    of_server(ca).write(tmp_path, "tls")
    path = tmp_path / "gateway.yaml"
    write_config(path, transport=transport)
    return path


def write_config(path: Path, **changes: object) -> None:
    folder = path.parent
    given = {
        "listen": "127.0.0.1:0", "triton": "127.0.0.1:1", "store": str(folder / "store"),
        "tls_certificate": str(folder / "tls.pem"), "tls_key": str(folder / "tls.key"),
        "keys_file": str(folder / "keys.yaml"), "access_log": str(folder / "access.jsonl"),
    }  # fmt: skip
    kept = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(given | kept | changes))


def environment(**more: str) -> dict[str, str]:
    ours = {f"TRIDENT_{name.upper()}" for name in Settings.model_fields}
    return {name: value for name, value in os.environ.items() if name not in ours} | more


@contextmanager
def serving(config: Path) -> Iterator[tuple[str, subprocess.Popen[str], Path]]:
    log = config.with_name("log")
    with log.open("w") as file:
        process = subprocess.Popen(
            [SCRIPTS / "gateway", "serve", "--config", config],
            stderr=file, stdout=subprocess.DEVNULL, text=True, env=environment(), cwd=config.parent,
        )  # fmt: skip
    try:
        said = wait_for(log, "Nothing is routed")
        (line,) = [one for one in said.splitlines() if one.startswith("Gateway")]
        yield line.split()[1], process, log
    finally:
        process.terminate()
        assert process.wait(START_S) == 0, log.read_text()


def wait_for(log: Path, text: str, count: int = 1) -> str:
    end = time.monotonic() + START_S
    while (said := log.read_text()).count(text) < count and time.monotonic() < end:
        time.sleep(0.05)
    assert said.count(text) >= count, said
    return said


def call(target: str, config: Path, key: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [SCRIPTS / "gateway", "call", "models", "--json", "--no-trace", "--target",
         target.replace("127.0.0.1", "localhost"), "--tls-ca", config.with_name("ca.pem")],
        capture_output=True, text=True, env=environment(TRIDENT_API_KEY=key), timeout=START_S,
    )  # fmt: skip


def new_keys(path: Path, *permissions: str) -> str:
    key, entry = new_key("billing", permissions)
    write_keys(path, KeyFile(keys=(entry,)))
    return key


def test_keys_can_be_exchanged_and_settings_read_anew_while_it_serves(config: Path) -> None:
    key = new_keys(config.with_name("keys.yaml"), "model")
    with serving(config) as (target, process, log):
        assert call(target, config, key).stdout.strip() == "{}"
        assert "UNAUTHENTICATED" in call(target, config, key + "x").stderr

        # A file that cannot be used: everything wrong is said, and all goes on as before.
        before = config.read_text()
        write_config(config, trace_sample_ratio=7, max_waiting=-1)
        process.send_signal(signal.SIGHUP)
        said = wait_for(log, "The settings stay as they were.")
        assert "trace_sample_ratio" in said
        assert "max_waiting" in said
        assert call(target, config, key).returncode == 0

        # Another file of keys, and a setting that only a new start can change.
        config.write_text(before)
        other = new_keys(config.with_name("other.yaml"), "model")
        write_config(config, keys_file=str(config.with_name("other.yaml")), max_waiting=7)
        process.send_signal(signal.SIGHUP)
        wait_for(log, "Settings read anew: keys_file. Needs a restart: max_waiting.")
        end = time.monotonic() + START_S
        while call(target, config, other).returncode and time.monotonic() < end:
            pass
        assert call(target, config, other).returncode == 0
        assert "UNAUTHENTICATED" in call(target, config, key).stderr
        assert process.poll() is None
    lines = [json.loads(line) for line in config.with_name("access.jsonl").read_text().splitlines()]
    assert {line["code"] for line in lines} == {"OK", "UNAUTHENTICATED"}
    everything = log.read_text() + config.with_name("access.jsonl").read_text()
    assert not any(secret in everything for secret in (key, other))


def test_an_address_that_others_reach_is_refused_without_tls(tmp_path: Path) -> None:
    config = tmp_path / "gateway.yaml"
    config.write_text("listen: 0.0.0.0:0\ntriton: 127.0.0.1:1\n")
    refused = subprocess.run(
        [SCRIPTS / "gateway", "serve", "--config", config],
        capture_output=True, text=True, env=environment(), timeout=START_S,
    )  # fmt: skip
    assert refused.returncode == 2
    assert "--insecure" in refused.stderr


@pytest.mark.parametrize("broken", ["tls.key", "keys.yaml"])
def test_what_cannot_be_used_is_no_start_and_said_in_one_line(config: Path, broken: str) -> None:
    new_keys(config.with_name("keys.yaml"), "*")
    config.with_name(broken).write_text("hush: [")
    refused = subprocess.run(
        [SCRIPTS / "gateway", "serve", "--config", config],
        capture_output=True, text=True, env=environment(), timeout=START_S, cwd=config.parent,
    )  # fmt: skip
    assert refused.returncode == 1
    (line,) = [one for one in refused.stderr.splitlines() if one.startswith("Error: ")]
    assert broken in line
    assert "hush" not in refused.stderr
