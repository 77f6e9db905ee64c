from __future__ import annotations

import pytest

from gateway.security.addresses import address_of, canonical_address


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("ipv4:10.0.3.7:4711", "10.0.3.7"),
        ("ipv6:[::1]:4711", "::1"),
        ("ipv6:%5B::1%5D:4711", "::1"),
        ("ipv6:[2001:DB8:0:0::7]:1", "2001:db8::7"),
        ("ipv6:[::ffff:10.0.3.7]:1", "10.0.3.7"),
        ("ipv6:%5Bfe80::1%25eth0%5D:1", "fe80::1%eth0"),
        ("unix:/run/socket", "unix:/run/socket"),
        ("", ""),
    ],
)
def test_an_address_is_the_same_however_a_transport_writes_it(peer: str, address: str) -> None:
    assert address_of(peer) == address


@pytest.mark.parametrize("text", ["", "billing", "10.0.3.7:80", "10.0.3.0/24", "ipv4:10.0.3.7"])
def test_what_is_no_address_is_none(text: str) -> None:
    assert canonical_address(text) is None
