from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from issuers import Issuer

from gateway.security.algorithms import ALGORITHMS
from gateway.security.errors import Refused, UnusableFile
from gateway.security.key_sets import COOLDOWN_S, FileKeys, KeySet, KnownKeys, UrlKeys, parsed

ALLOWED = ("RS256", "ES256", "EdDSA")


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return Issuer()


class _Published:
    """What a URL answers."""

    def __init__(self) -> None:
        self.status, self.body, self.headers = 200, b"{}", {}
        self.asked = 0


@pytest.fixture
def published() -> Iterator[tuple[_Published, str]]:
    """An issuer's URL, and what it answers; plain HTTP, which only the settings refuse."""
    said = _Published()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            said.asked += 1
            self.send_response(said.status)
            for name, value in said.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(said.body)

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield said, f"http://user:hush@127.0.0.1:{server.server_port}/keys?token=hush"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_key_is_for_its_own_algorithm_or_those_of_its_type(issuer: Issuer) -> None:
    (key,) = issuer.public("rsa")
    both = {"RS256", "PS256", "ES256"}
    free = KeySet([key], both)
    assert free.find("rsa", "PS256") is not None
    bound = KeySet([key | {"alg": "RS256"}], both)
    assert bound.find("rsa", "RS256") is not None
    with pytest.raises(Refused, match="not for PS256"):
        bound.find("rsa", "PS256")
    with pytest.raises(Refused, match="not for ES256"):
        free.find("rsa", "ES256")


def test_a_curve_is_for_its_algorithm_alone(issuer: Issuer) -> None:
    keys = KeySet(issuer.public("ec"), ("ES256", "ES384", "ES512"))
    assert keys.find("ec", "ES256") is not None
    with pytest.raises(Refused):
        keys.find("ec", "ES384")


def test_no_algorithm_shares_a_secret() -> None:
    names = [name for names in ALGORITHMS.values() for name in names]
    assert not [name for name in names if name.startswith("HS") or name.lower() == "none"]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"{", "is not JSON"),
        (b"[]", "has no list 'keys'"),
        (b'{"keys": 1}', "has no list 'keys'"),
        (b'{"keys": []}', "has no public key"),
        (b'{"keys": [7]}', "has no public key"),
        (b'{"keys": [{"kty": "oct", "k": "aHVzaA"}]}', "has no public key"),
        (b'{"keys": [{"kty": "RSA", "n": "hush", "e": 3}]}', "keys.0: cannot be read"),
        (b'{"keys": [{"kty": "RSA", "n": "hush", "e": 3, "alg": ["RS256"]}]}', "no public key"),
        (b'{"keys": [{"kty": "RSA", "n": ["hush"], "e": {}}]}', "keys.0: cannot be read"),
        (b"[" * 500_000, "is not JSON"),
        (b" " * 2_000_000, "is larger than"),
    ],
)
def test_what_are_no_keys_is_refused_without_being_quoted(data: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why) as refused:
        parsed(data, ALLOWED)
    assert "hush" not in str(refused.value)


def test_keys_for_encryption_are_left_out(issuer: Issuer) -> None:
    rsa, ec = issuer.public("rsa", "ec")
    keys = parsed(json.dumps({"keys": [rsa | {"use": "enc"}, ec]}).encode(), ALLOWED)
    assert len(keys) == 1
    assert keys.find("rsa", "RS256") is None


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnusableFile, match="No such file"):
        FileKeys(tmp_path / "keys.json", ALLOWED).read()


def test_keys_come_from_a_url(published: tuple[_Published, str], issuer: Issuer) -> None:
    said, url = published
    said.body = issuer.jwks().encode()
    assert len(UrlKeys(url, ALLOWED).read()) == 3


@pytest.mark.parametrize(
    ("status", "headers", "why"),
    [(500, {}, "answers 500"), (302, {"Location": "http://127.0.0.1:1/"}, "answers 302"),
     (200, {}, "has no list 'keys'")],
)  # fmt: skip
def test_a_url_that_gives_no_keys_is_named_without_its_secrets(
    published: tuple[_Published, str], status: int, headers: dict[str, str], why: str
) -> None:
    said, url = published
    said.status, said.headers = status, headers
    with pytest.raises(UnusableFile, match=why) as refused:
        UrlKeys(url, ALLOWED).read()
    assert said.asked == 1
    assert "hush" not in str(refused.value)


def test_a_url_where_nobody_is_is_named_without_its_secrets() -> None:
    with pytest.raises(UnusableFile, match="cannot be had") as refused:
        UrlKeys("http://user:hush@127.0.0.1:1/keys", ALLOWED).read()
    assert "hush" not in str(refused.value)


def test_a_url_that_drips_is_given_up_and_not_asked_again_meanwhile(issuer: Issuer) -> None:
    may_end = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
                while not may_end.wait(0.01):
                    connection.sendall(b" ")

        dripping = threading.Thread(target=drip)
        dripping.start()
        keys = UrlKeys(f"http://127.0.0.1:{server.getsockname()[1]}/", ALLOWED, within_s=0.1)
        with pytest.raises(UnusableFile, match=r"has not answered whole in 0\.1 s"):
            keys.read()
        with pytest.raises(UnusableFile, match="has yet to answer"):
            keys.read()
        may_end.set()
        dripping.join()


def test_new_keys_take_the_place_of_the_old(tmp_path: Path, issuer: Issuer) -> None:
    path = tmp_path / "keys.json"
    path.write_text(issuer.jwks("rsa"))
    known, changes = KnownKeys(FileKeys(path, ALLOWED)), []
    known.on_change = lambda: changes.append(1)
    path.write_text(issuer.jwks("ec"))
    assert known.refresh()
    assert known.current.find("rsa", "RS256") is None
    assert known.current.find("ec", "ES256") is not None
    assert changes == [1]


def test_keys_that_cannot_be_used_change_nothing(
    tmp_path: Path, issuer: Issuer, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "keys.json"
    path.write_text(issuer.jwks("rsa"))
    known = KnownKeys(FileKeys(path, ALLOWED))
    path.write_text("{")
    assert not known.refresh()
    assert known.current.find("rsa", "RS256") is not None
    assert "stay as they were" in caplog.text
    with pytest.raises(UnusableFile):
        known.renew()  # so that it is tried again


def test_unknown_keys_are_asked_for_now_and_then_only(tmp_path: Path, issuer: Issuer) -> None:
    path = tmp_path / "keys.json"
    path.write_text(issuer.jwks())
    now = 0.0
    known = KnownKeys(FileKeys(path, ALLOWED), clock=lambda: now)
    assert not known.may_ask
    now = COOLDOWN_S
    assert known.may_ask
    known.refresh()
    assert not known.may_ask
