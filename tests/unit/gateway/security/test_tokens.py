from __future__ import annotations

import json
import time

import pytest
from issuers import AUDIENCE, ISSUER, Issuer, forgeries

from gateway.security.errors import Refused
from gateway.security.key_sets import KeySet, parsed
from gateway.security.permissions import Grants, Methods
from gateway.security.tokens import TokenRules, Tokens, UnknownKey

ALGORITHMS = ("RS256", "ES256", "EdDSA")
METHODS = Methods(
    ("trident.risk.v1.RiskService/ScoreRisk", "trident.diagnose.v1.DiagnoseService/Diagnose")
)
SCORE_RISK, DIAGNOSE = METHODS.names


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return _ISSUER


@pytest.fixture(scope="module")
def key_set(issuer: Issuer) -> KeySet:
    return parsed(issuer.jwks().encode(), ALGORITHMS)


RULES = TokenRules(ISSUER, (AUDIENCE, "other"), ALGORITHMS)


@pytest.fixture
def tokens(key_set: KeySet) -> Tokens:
    return Tokens(lambda: key_set, RULES, METHODS)


_ISSUER = Issuer()
FORGERIES = forgeries(_ISSUER)


def test_there_are_enough_forgeries_to_speak_of() -> None:
    assert len(FORGERIES) >= 24


@pytest.mark.parametrize("name", FORGERIES)
def test_what_is_forged_is_refused_also_after_a_good_one(
    tokens: Tokens, issuer: Issuer, name: str
) -> None:
    tokens.client(issuer.token())
    forged = FORGERIES[name]
    for _ in range(2):
        with pytest.raises(Refused) as refused:
            tokens.client(forged)
        assert str(refused.value)
        assert not any(part and part in str(refused.value) for part in forged.split("."))


@pytest.mark.parametrize("key", ["rsa", "ec", "ed"])
def test_a_good_token_says_who_and_what(tokens: Tokens, issuer: Issuer, key: str) -> None:
    client = tokens.client(issuer.token(key))
    assert (client.kind, client.name, client.id) == ("token", "alice", "token:alice")
    assert client.methods == {SCORE_RISK}


@pytest.mark.parametrize(
    ("claims", "methods"),
    [
        ({"scope": "trident:*"}, {SCORE_RISK, DIAGNOSE}),
        ({"scope": ["trident:diagnose", "other:risk"]}, {DIAGNOSE}),
        ({"scope": "risk diagnose"}, set()),
        ({"scope": None}, set()),
        ({"scope": 7}, set()),
        ({"scope": [7, "trident:risk/ScoreRisk"]}, {SCORE_RISK}),
        ({"scope": "trident:"}, set()),
    ],
    ids=["all", "list", "without prefix", "none", "number", "mixed", "empty"],
)
def test_permissions_are_what_the_claim_says_to_us(
    tokens: Tokens, issuer: Issuer, claims: dict[str, object], methods: set[str]
) -> None:
    assert tokens.client(issuer.token(**claims)).methods == methods


def test_a_file_permits_more_to_those_that_it_names(key_set: KeySet, issuer: Issuer) -> None:
    grants = Grants(clients={"token:al*": ("diagnose",), "key:alice": ("*",)})
    tokens = Tokens(lambda: key_set, RULES, METHODS, lambda: grants)
    assert tokens.client(issuer.token(scope="")).methods == {DIAGNOSE}
    assert tokens.client(issuer.token(sub="bob", scope="")).methods == set()


def test_one_of_several_audiences_is_enough(tokens: Tokens, issuer: Issuer) -> None:
    assert tokens.client(issuer.token(aud=["x", "other"])).name == "alice"


def test_the_clock_of_the_issuer_may_be_a_little_off(tokens: Tokens, issuer: Issuer) -> None:
    now = int(time.time())
    assert tokens.client(issuer.token(nbf=now + 20, iat=now + 20, exp=now - 20)).name == "alice"


@pytest.mark.parametrize("subject", ["", "a\nb", "x" * 257, ["alice"]])
def test_a_subject_that_is_no_name_is_refused(
    tokens: Tokens, issuer: Issuer, subject: object
) -> None:
    try:
        token = issuer.token(sub=subject)
    except TypeError:  # the library does not even sign it
        return
    with pytest.raises(Refused):
        tokens.client(token)


def test_a_known_token_is_not_checked_again_until_it_expires(issuer: Issuer) -> None:
    looked = 0
    now = time.time()
    keys = parsed(issuer.jwks().encode(), ALGORITHMS)

    def look() -> KeySet:
        nonlocal looked
        looked += 1
        return keys

    tokens = Tokens(look, RULES, METHODS, clock=lambda: now)
    token = issuer.token(exp=int(now) + 5)
    first = tokens.client(token)
    assert tokens.client(token) is first
    assert looked == 1
    now += 5 + RULES.leeway_s + 1
    tokens.client(token)  # by the real clock it is still good, but it was looked at
    assert looked == 2


def test_what_is_remembered_is_bounded(key_set: KeySet, issuer: Issuer) -> None:
    tokens = Tokens(lambda: key_set, RULES, METHODS, max_known=2)
    for name in ("a", "b", "c"):
        tokens.client(issuer.token(sub=name))
    assert len(tokens._known) == 2


def test_a_key_that_is_taken_back_ends_its_tokens_at_once(issuer: Issuer) -> None:
    keys = parsed(issuer.jwks().encode(), ALGORITHMS)
    tokens = Tokens(lambda: keys, RULES, METHODS)
    token = issuer.token("rsa")
    tokens.client(token)
    keys = parsed(issuer.jwks("ec").encode(), ALGORITHMS)
    tokens.forget()
    with pytest.raises(UnknownKey):
        tokens.client(token)


def test_without_a_key_id_only_a_single_key_is_taken(issuer: Issuer) -> None:
    one = parsed(issuer.jwks("ec").encode(), ALGORITHMS)
    token = issuer.token("ec", headers={"kid": None})
    assert Tokens(lambda: one, RULES, METHODS).client(token).name == "alice"
    several = parsed(issuer.jwks().encode(), ALGORITHMS)
    with pytest.raises(Refused, match="names no key"):
        Tokens(lambda: several, RULES, METHODS).client(token)


def test_a_shared_secret_among_the_published_keys_signs_nothing(issuer: Issuer) -> None:
    secret = {"kty": "oct", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA", "kid": "s"}
    keys = parsed(json.dumps({"keys": [*issuer.public(), secret]}).encode(), ALGORITHMS)
    assert len(keys) == 3
    assert keys.find("s", "RS256") is None
