"""What our Envoy is told. That it understands it all is seen in the conformance suite."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.security.tls import ServerTls
from gateway.transport.envoy_config import envoy_config, resolve
from gateway.transport.protection import Protection


def config(**changes: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "app": "a.b:c",
        "module": "/m.so",
        "addresses": [("127.0.0.1", 1), ("::1", 1)],
        "admin_socket": "/x/admin",
        "protection": Protection(max_message_bytes=1000),
        "folder": Path("/x"),
    }
    return envoy_config(**given | changes)


def manager(told: dict[str, Any]) -> dict[str, Any]:
    (listener,) = told["static_resources"]["listeners"]
    (chain,) = listener["filter_chains"]
    (network_filter,) = chain["filters"]
    return dict(network_filter["typed_config"])


def test_it_listens_at_every_address_and_shares_them() -> None:
    (listener,) = config()["static_resources"]["listeners"]
    addresses = [listener, *listener["additional_addresses"]]
    assert [one["address"]["socket_address"]["address"] for one in addresses] == [
        "127.0.0.1", "::1",
    ]  # fmt: skip
    assert listener["enable_reuse_port"]


def test_orders_are_taken_by_a_socket_that_only_its_owner_may_use() -> None:
    assert config()["admin"]["address"] == {"pipe": {"path": "/x/admin", "mode": 0o600}}


def test_every_call_goes_to_our_python_and_nowhere_else() -> None:
    told = config()
    assert "clusters" not in told["static_resources"]
    (http_filter,) = manager(told)["http_filters"]
    inner = http_filter["typed_config"]
    assert inner["terminal_filter"]
    assert inner["dynamic_module_config"]["module"]["local"]["filename"] == "/m.so"
    settings = json.loads(inner["filter_config"]["value"])
    assert settings == {"app": "a.b:c", "interface": "asgi", "lifespan": True, "loop": "uvloop"}


def test_it_speaks_http_2_alone_and_finds_clients_that_vanished() -> None:
    told = manager(config())
    assert told["codec_type"] == "HTTP2"
    assert set(told["http2_protocol_options"]["connection_keepalive"]) == {"interval", "timeout"}
    assert told["stream_idle_timeout"] == "0s"
    assert "access_log" not in told


@pytest.mark.parametrize("max_message_bytes", [1024, 64 * 1024 * 1024])
def test_no_more_is_read_ahead_of_a_connection_where_messages_may_be_large(
    max_message_bytes: int,
) -> None:
    protection = Protection(max_message_bytes=max_message_bytes)
    (listener,) = config(protection=protection)["static_resources"]["listeners"]
    assert listener["per_connection_buffer_limit_bytes"] == 256 * 1024


def test_metadata_is_bounded_in_size_and_count() -> None:
    protection = Protection(max_metadata_bytes=2048, max_metadata_count=10)
    told = manager(config(protection=protection))
    assert told["max_request_headers_kb"] == 3
    assert told["common_http_protocol_options"]["max_headers_count"] == 26


def test_a_connection_has_so_many_calls_at_a_time() -> None:
    told = manager(config(protection=Protection(max_concurrent_streams=7)))
    assert told["http2_protocol_options"]["max_concurrent_streams"] == 7


def test_without_tls_nothing_is_told_of_certificates() -> None:
    (listener,) = config()["static_resources"]["listeners"]
    assert "transport_socket" not in listener["filter_chains"][0]
    assert listener["access_log"] == []
    assert "forward_client_cert_details" not in manager(config())


@pytest.mark.parametrize("client_ca", [None, Path("/c/ca.pem")])
def test_tls_names_the_files_of_keys_and_never_holds_one(
    tmp_path: Path, client_ca: Path | None
) -> None:
    tls = ServerTls(Path("/c/tls.pem"), Path("/c/tls.key"), client_ca)
    told = config(protection=Protection(tls=tls), folder=tmp_path)
    (listener,) = told["static_resources"]["listeners"]
    context = listener["filter_chains"][0]["transport_socket"]["typed_config"]
    assert context["require_client_certificate"] is (client_ca is not None)
    assert context["common_tls_context"]["alpn_protocols"] == ["h2"]
    (secret,) = json.loads((tmp_path / "certificate.json").read_text())["resources"]
    assert secret["tls_certificate"]["private_key"] == {"filename": "/c/tls.key"}
    assert (tmp_path / "client-ca.json").exists() is (client_ca is not None)
    forwarded = manager(told).get("forward_client_cert_details")
    assert forwarded == ("SANITIZE_SET" if client_ca else None)
    assert len(listener["access_log"]) == 1


@pytest.mark.parametrize(
    ("listen", "addresses"),
    [
        ("127.0.0.1:7", [("127.0.0.1", 7)]),
        ("[::1]:7", [("::1", 7)]),
        ("0.0.0.0:7", [("0.0.0.0", 7)]),
    ],
)
def test_addresses_are_resolved(listen: str, addresses: list[tuple[str, int]]) -> None:
    assert resolve(listen) == addresses


def test_a_name_becomes_addresses_each_once() -> None:
    found = resolve("localhost:7")
    assert ("127.0.0.1", 7) in found
    assert len(set(found)) == len(found)
