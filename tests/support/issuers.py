"""An issuer of tokens, and tokens that must not be believed."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt import PyJWS
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

ISSUER = "https://issuer.test"
AUDIENCE = "trident"


class Issuer:
    """Signs tokens with a key of each kind: ``rsa``, ``ec``, ``ed``."""

    def __init__(self) -> None:
        self.keys: dict[str, Any] = {
            "rsa": rsa.generate_private_key(public_exponent=65537, key_size=2048),
            "ec": ec.generate_private_key(ec.SECP256R1()),
            "ed": ed25519.Ed25519PrivateKey.generate(),
        }

    def public(self, *names: str) -> list[dict[str, Any]]:
        """The public keys, as they are published."""
        makers: Mapping[str, Any] = {"rsa": RSAAlgorithm, "ec": ECAlgorithm, "ed": OKPAlgorithm}
        return [
            {**makers[name].to_jwk(self.keys[name].public_key(), as_dict=True), "kid": name}
            for name in names or self.keys
        ]

    def jwks(self, *names: str) -> str:
        return json.dumps({"keys": self.public(*names)})

    def signed(self, claims: Mapping[str, Any]) -> str:
        """A token that says anything, and is signed as it should be."""
        data = json.dumps(claims).encode()
        return PyJWS().encode(data, self.keys["rsa"], "RS256", {"kid": "rsa"})

    def token(
        self,
        key: str = "rsa",
        algorithm: str | None = None,
        headers: Mapping[str, Any] | None = None,
        **claims: Any,
    ) -> str:
        """A token; a claim or header that is ``None`` is left out."""
        usual = {"rsa": "RS256", "ec": "ES256", "ed": "EdDSA"}[key]
        all_headers = {"kid": key, **(headers or {})}
        return jwt.encode(
            payload(**claims),
            self.keys[key],
            algorithm or usual,
            {name: value for name, value in all_headers.items() if value is not None},
        )


def payload(**claims: Any) -> dict[str, Any]:
    """What a good token says, with changes."""
    now = int(time.time())
    usual = {
        "iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "iat": now, "exp": now + 600,
        "scope": "openid trident:risk trident:model",
    }  # fmt: skip
    return {name: value for name, value in (usual | claims).items() if value is not None}


def by_hand(header: Mapping[str, Any], claims: Mapping[str, Any], signature: bytes = b"") -> str:
    """A token of parts that no library would put together."""
    parts = [json.dumps(header).encode(), json.dumps(claims).encode()]
    return ".".join([*map(_base64, parts), _base64(signature)])


def forgeries(issuer: Issuer) -> dict[str, str]:
    """Tokens that must all be refused."""
    other = Issuer()
    now = int(time.time())
    good = issuer.token()
    head, body, signature = good.split(".")
    forged_body = _base64(json.dumps(payload(sub="admin", scope="trident:*")).encode())
    public_pem = issuer.keys["rsa"].public_key().public_bytes(
        Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
    )  # fmt: skip
    confused = {"alg": "HS256", "typ": "JWT", "kid": "rsa"}
    confused_input = f"{_base64(json.dumps(confused).encode())}.{forged_body}"
    mac = hmac.new(public_pem, confused_input.encode(), hashlib.sha256).digest()
    jwk = json.dumps(issuer.public("rsa")[0]).encode()
    jwk_mac = hmac.new(jwk, confused_input.encode(), hashlib.sha256).digest()
    own_key = other.public("rsa")[0]
    return {
        "expired": issuer.token(exp=now - 3600),
        "expired with an old clock": issuer.token(exp=now - 31, iat=now - 3600),
        "not valid yet": issuer.token(nbf=now + 3600),
        "issued in the future": issuer.token(iat=now + 3600),
        "without an end": issuer.token(exp=None),
        "for another audience": issuer.token(aud="somebody-else"),
        "for several other audiences": issuer.token(aud=["a", "b"]),
        "for no audience": issuer.token(aud=None),
        "from another issuer": issuer.token(iss="https://evil.test"),
        "from no issuer": issuer.token(iss=None),
        "of nobody": issuer.token(sub=None),
        "with alg none": by_hand({"alg": "none", "kid": "rsa"}, payload()),
        "with alg None": by_hand({"alg": "None", "kid": "rsa"}, payload()),
        "with alg none and an old signature": (
            by_hand({"alg": "none", "kid": "rsa"}, payload()) + signature
        ),
        "with no alg": by_hand({"kid": "rsa"}, payload()),
        "signed by the public key as a shared secret": f"{confused_input}.{_base64(mac)}",
        "signed by the published key as a shared secret": f"{confused_input}.{_base64(jwk_mac)}",
        "signed by another's key": other.token(),
        "signed by a key that it brings along": other.token(headers={"jwk": own_key, "kid": "rsa"}),
        "signed by a key at an address that it names": other.token(
            headers={"jku": "http://127.0.0.1:1/keys", "kid": "rsa"}
        ),
        "with an unknown key": issuer.token(headers={"kid": "other"}),
        "with another kind of key": issuer.token("ec", headers={"kid": "rsa"}),
        "with another body": f"{head}.{forged_body}.{signature}",
        "without a signature": f"{head}.{body}.",
        "with a signature that is cut off": good[:-20],
        "with an algorithm that is not allowed": issuer.token(algorithm="RS512"),
        "with a critical header that nobody knows": issuer.token(
            headers={"crit": ["x-rule"], "x-rule": 1}
        ),
        "no token": "hello",
        "too large": issuer.token(filler="x" * 9000),
        "with a subject that is no text": issuer.signed(payload(sub=7)),
        "with a subject of no letters": issuer.signed(payload(sub="\n")),
    }


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
