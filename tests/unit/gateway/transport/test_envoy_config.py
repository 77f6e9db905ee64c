"""What our Envoy is told. That it understands it all is seen in the conformance suite."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.transport.envoy_config import envoy_config, resolve


def config(**changes: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "app": "a.b:c",
        "module": "/m.so",
        "addresses": [("127.0.0.1", 1), ("::1", 1)],
        "admin_socket": "/x/admin",
        "max_message_bytes": 1000,
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


def test_a_message_at_the_limit_fits() -> None:
    (listener,) = config(max_message_bytes=7)["static_resources"]["listeners"]
    assert listener["per_connection_buffer_limit_bytes"] > 7


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
