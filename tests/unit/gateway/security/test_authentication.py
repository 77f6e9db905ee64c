from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
from certificates import authority, of_client
from issuers import AUDIENCE, ISSUER, Issuer, forgeries

from gateway.errors import Unauthenticated
from gateway.security.authentication import Authenticator
from gateway.security.certificates import Certificates
from gateway.security.key_sets import COOLDOWN_S, KeySet, KnownKeys, parsed
from gateway.security.keys import KeyFile, Keys, new_key
from gateway.security.permissions import Methods
from gateway.security.refusals import RefusalLog
from gateway.security.tokens import TokenRules, Tokens

METHODS = Methods(("trident.risk.v1.RiskService/ScoreRisk",))
ALGORITHMS = ("RS256", "ES256", "EdDSA")
KEY, ENTRY = new_key("billing", ["risk"])
PEM = of_client(authority()).pem


@dataclass
class Credentials:
    metadata: Mapping[str, str] = field(default_factory=dict)
    pem: bytes | None = None
    method: str = METHODS.names[0]

    def header(self, key: str) -> str | None:
        return self.metadata.get(key)

    def peer(self) -> str:
        return "ipv4:127.0.0.1:7"

    def certificate(self) -> bytes | None:
        return self.pem


class Source:
    """Keys that can change."""

    def __init__(self, issuer: Issuer, *names: str) -> None:
        self.issuer, self.names, self.read_count = issuer, names, 0

    def read(self) -> KeySet:
        self.read_count += 1
        return parsed(self.issuer.jwks(*self.names).encode(), ALGORITHMS)


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
def clock() -> list[float]:
    return [0.0]


@pytest.fixture
def source(issuer: Issuer) -> Source:
    return Source(issuer, "rsa")


@pytest.fixture
def everything(source: Source, clock: list[float]) -> Authenticator:
    """Takes tokens, keys and certificates."""
    known = KnownKeys(source, clock=lambda: clock[0])
    tokens = Tokens(lambda: known.current, TokenRules(ISSUER, (AUDIENCE,), ALGORITHMS), METHODS)
    known.on_change = tokens.forget
    keys = Keys(KeyFile(keys=(ENTRY,)), METHODS)
    return Authenticator(
        tokens=tokens,
        issuer_keys=known,
        keys=lambda: keys,
        certificates=Certificates(METHODS, lambda: None),
    )


def who(authenticator: Authenticator, call: Credentials) -> str:
    client = authenticator.client(call)
    assert client is not None
    return client.id


def test_a_token_or_a_key_says_who_calls(everything: Authenticator, issuer: Issuer) -> None:
    bearer = {"authorization": f"Bearer {issuer.token()}"}
    assert who(everything, Credentials(bearer)) == "token:alice"
    assert who(everything, Credentials({"authorization": f"bearer  {issuer.token()} "}))
    assert who(everything, Credentials({"x-api-key": KEY})) == "key:billing"
    assert who(everything, Credentials(bearer | {"x-api-key": "bad"})) == "token:alice"


def test_a_certificate_says_who_calls_where_nothing_else_is_asked_for() -> None:
    alone = Authenticator(certificates=Certificates(METHODS, lambda: None))
    assert who(alone, Credentials(pem=PEM)) == "certificate:spiffe://test/client"
    with pytest.raises(Unauthenticated):
        alone.client(Credentials())


def test_what_a_proxy_adds_is_no_credentials_and_harms_none(everything: Authenticator) -> None:
    proxied = Credentials({"authorization": "Basic aHVzaDpodXNo", "x-api-key": KEY})
    assert who(everything, proxied) == who(everything, Credentials({"x-api-key": KEY}))


BAD: dict[str, Credentials] = {
    "nothing": Credentials(),
    "a certificate alone": Credentials(pem=PEM),
    "a wrong key": Credentials({"x-api-key": "trident_0000000000_" + "a" * 43}),
    "an empty key": Credentials({"x-api-key": ""}),
    "another scheme": Credentials({"authorization": "Basic aHVzaDpodXNo"}),
    "no token": Credentials({"authorization": "Bearer "}),
    "a bad token beside a good key": Credentials({"authorization": "Bearer x", "x-api-key": KEY}),
    "a bad token beside a certificate": Credentials({"authorization": "Bearer x"}, PEM),
}


@pytest.mark.parametrize("name", BAD)
def test_all_others_are_refused_alike_and_the_log_says_why(
    everything: Authenticator, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    with pytest.raises(Unauthenticated) as refused:
        everything.client(BAD[name])
    assert (str(refused.value), refused.value.metadata) == ("Unauthenticated.", {})
    assert refused.value.__cause__ is None
    (line,) = caplog.messages
    assert line.startswith("Refused trident.risk.v1.RiskService/ScoreRisk from ipv4:127.0.0.1:7: ")
    assert everything.refused_calls == 1


def test_the_log_tells_forgeries_apart_and_quotes_none(
    everything: Authenticator, issuer: Issuer, caplog: pytest.LogCaptureFixture
) -> None:
    forged = forgeries(issuer)
    some = ["expired", "for another audience", "with alg none", "signed by another's key"]
    for name in some:
        with pytest.raises(Unauthenticated):
            everything.client(Credentials({"authorization": f"Bearer {forged[name]}"}))
    reasons = [line.rpartition(": ")[2] for line in caplog.messages]
    assert reasons == [
        "expired", "for another audience", "signed by 'none', which is not allowed",
        "the signature is not the key's",
    ]  # fmt: skip
    assert not any(forged[name][:40] in caplog.text for name in some)


async def test_a_token_with_a_new_key_is_let_in_once_the_keys_were_looked_at(
    everything: Authenticator, source: Source, issuer: Issuer, clock: list[float]
) -> None:
    call = Credentials({"authorization": f"Bearer {issuer.token('ec')}"})
    with pytest.raises(Unauthenticated):
        everything.client(call)  # they were looked at just now
    source.names = ("rsa", "ec")
    clock[0] = COOLDOWN_S
    assert everything.client(call) is None
    clients = await asyncio.gather(*(everything.client_with_new_keys(call) for _ in range(5)))
    assert {client.id for client in clients} == {"token:alice"}
    assert source.read_count == 2
    assert who(everything, call) == "token:alice"


async def test_tokens_with_keys_that_nobody_has_make_us_ask_rarely(
    everything: Authenticator, source: Source, issuer: Issuer, clock: list[float]
) -> None:
    call = Credentials({"authorization": f"Bearer {issuer.token(headers={'kid': 'x'})}"})
    clock[0] = COOLDOWN_S
    assert everything.client(call) is None
    with pytest.raises(Unauthenticated):
        await everything.client_with_new_keys(call)
    for _ in range(20):
        with pytest.raises(Unauthenticated):
            everything.client(call)
    assert source.read_count == 2


def test_the_log_is_not_flooded(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    log = RefusalLog(logging.getLogger("test"), lambda: now)
    for _ in range(100):
        log.refused("m", "p", "why")
    assert len(caplog.messages) == 10
    now = 1.0
    log.refused("m", "p", "why")
    assert caplog.messages[-2:] == [
        "Refused 90 more calls in the meantime", "Refused m from p: why",
    ]  # fmt: skip
    assert log.refused_calls == 101
