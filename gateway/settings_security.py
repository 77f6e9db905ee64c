"""The settings that say who may call, and how connections are protected: docs/security.md."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode

from gateway.security.algorithms import ALGORITHMS

_ALGORITHMS = tuple(name for names in ALGORITHMS.values() for name in names)
_Names = Annotated[tuple[str, ...], NoDecode]
_WHO_MAY_CALL = ("keys_file", "jwt_keys", "tls_client_ca")


class SecuritySettings(BaseSettings):
    """Who may call, and how connections are protected. No setting is a secret: files hold them."""

    tls_certificate: Path | None = None
    """The gateway's certificate (PEM, with those between it and the root); clients then speak TLS.
    Read anew when it changes, as all files of these settings."""

    tls_key: Path | None = Field(default=None, validate_default=True)
    """The private key of ``tls_certificate`` (PEM)."""

    tls_client_ca: Path | None = None
    """The authority (PEM) whose certificates clients must show: mutual TLS."""

    insecure: bool = False
    """Whether ``listen`` may be an address that other machines reach, without TLS: where something
    in front of the gateway protects it."""

    reflection: bool = True
    """Whether clients may list the services. Needs credentials, where calls do."""

    max_metadata_bytes: int = Field(default=16 * 1024, ge=1024, le=64 * 1024)
    """The metadata of a call, at most."""

    max_metadata_count: int = Field(default=100, ge=1, le=1000)
    """The entries of a call's metadata, at most."""

    max_concurrent_streams: int = Field(default=100, ge=1, le=100_000)
    """Calls, streams among them, that a connection has at a time; HTTP/2 tells its client, who
    waits with more or opens another connection. What a stranger begins comes before everybody
    else's, so honest calls wait the longer the more it may be: docs/faults.md."""

    keys_file: Path | None = None
    """The API keys, as ``gateway keys`` writes them; a call then needs one, or a token."""

    jwt_keys: str | None = None
    """The public keys of whoever issues tokens: a JWKS, as a file or an ``https://`` URL; a call
    then needs a token, or an API key."""

    jwt_issuer: str | None = Field(default=None, validate_default=True)
    """Who issues them: their ``iss``."""

    jwt_audience: _Names = Field(default=(), validate_default=True)
    """For whom they are: one of these must be in their ``aud``; in the environment with commas."""

    jwt_algorithms: _Names = ("RS256", "ES256", "EdDSA")
    """How they may be signed; in the environment with commas."""

    jwt_leeway_s: float = Field(default=30, ge=0, le=300)
    """How far the issuer's clock may be from ours, in seconds."""

    jwt_refresh_s: float = Field(default=300, ge=10)
    """How often the keys at a URL are looked at again, in seconds; also as soon as a token names
    one that is not known, every 10 s at most."""

    jwt_permissions_claim: str = Field(default="scope", min_length=1)
    """The claim with what a token permits: a text with spaces, or a list."""

    jwt_permissions_prefix: str = "trident:"
    """What entries of it begin with that are for the gateway, such as ``trident:risk``."""

    permissions_file: Path | None = None
    """What is permitted to whom, by the client's ID (YAML); without it a certificate permits
    everything, and a token what it says."""

    triton_tls_ca: Path | None = None
    """The authority (PEM) whose certificates Tritons must show; they are then spoken to by TLS."""

    triton_tls_certificate: Path | None = None
    """The gateway's certificate for Tritons that want one (PEM)."""

    triton_tls_key: Path | None = Field(default=None, validate_default=True)
    """The private key of ``triton_tls_certificate`` (PEM)."""

    @field_validator(
        "tls_certificate", "tls_key", "jwt_issuer",
        "triton_tls_ca", "triton_tls_certificate", "triton_tls_key",
        mode="before",
    )  # fmt: skip
    @classmethod
    def _empty_is_not_given(cls, value: Any) -> Any:
        return None if value == "" else value

    @field_validator(*_WHO_MAY_CALL, "permissions_file", mode="before")
    @classmethod
    def _check_not_empty(cls, value: Any) -> Any:
        # A variable of another variable that is not set: it must not open the gateway to all.
        if value == "":
            raise ValueError("is empty: name a file, or leave it out")
        return value

    @field_validator("jwt_audience", "jwt_algorithms", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("tls_key")
    @classmethod
    def _check_key(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        return _together(value, "tls_certificate", info)

    @field_validator("triton_tls_key")
    @classmethod
    def _check_triton_key(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if value is not None and info.data.get("triton_tls_ca") is None:
            raise ValueError("needs triton_tls_ca")
        return _together(value, "triton_tls_certificate", info)

    @field_validator("tls_client_ca")
    @classmethod
    def _check_client_ca(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if value is not None and info.data.get("tls_certificate") is None:
            raise ValueError("needs tls_certificate and tls_key")
        return value

    @field_validator("jwt_keys")
    @classmethod
    def _check_jwt_keys(cls, value: str | None) -> str | None:
        # Not repeated: a URL can hold a password.
        if value is not None and "://" in value and not value.startswith("https://"):
            raise ValueError(
                "must be a file or an https:// URL: who can change it can forge tokens"
            )
        return value

    @field_validator("jwt_issuer")
    @classmethod
    def _check_issuer(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None and info.data.get("jwt_keys") is not None:
            raise ValueError("jwt_keys needs it: whose tokens are accepted")
        return value

    @field_validator("jwt_audience")
    @classmethod
    def _check_audience(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if not value and info.data.get("jwt_keys") is not None:
            raise ValueError("jwt_keys needs it: for whom tokens must be")
        return value

    @field_validator(
        "jwt_issuer", "jwt_audience", "jwt_algorithms", "jwt_leeway_s", "jwt_refresh_s",
        "jwt_permissions_claim", "jwt_permissions_prefix",
    )  # fmt: skip
    @classmethod
    def _check_that_tokens_are_taken(cls, value: Any, info: ValidationInfo) -> Any:
        default = cls.model_fields[info.field_name or ""].default
        if value != default and info.data.get("jwt_keys", "wrong") is None:
            raise ValueError("needs jwt_keys: without them no token is looked at")
        return value

    @field_validator("permissions_file")
    @classmethod
    def _check_permissions(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if value is not None and all(info.data.get(one, "wrong") is None for one in _WHO_MAY_CALL):
            raise ValueError(f"needs one of {', '.join(_WHO_MAY_CALL)}: else everybody may call")
        return value

    @field_validator("jwt_algorithms")
    @classmethod
    def _check_algorithms(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        wrong = [name for name in value if name not in _ALGORITHMS]
        if wrong or not value:
            raise ValueError(f"must be some of {', '.join(_ALGORITHMS)}, got {', '.join(wrong)}")
        return value

    @property
    def asks_for_credentials(self) -> bool:
        """Whether a call must say who it is from."""
        return any((self.keys_file, self.jwt_keys, self.tls_client_ca))


OF_CALLERS = frozenset(
    name
    for name in SecuritySettings.model_fields
    if name in ("keys_file", "permissions_file") or name.startswith("jwt_")
)
"""The settings that say who may call, and may change while the gateway runs."""


def _together(value: Path | None, other: str, info: ValidationInfo) -> Path | None:
    """Return a key's file, if there is one exactly where its certificate is."""
    if (value is None) != (info.data.get(other) is None):
        raise ValueError(f"and {other} go together")
    return value


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches a host's addresses."""
    bare = host.strip("[]")
    try:
        return ipaddress.ip_address(bare).is_loopback
    except ValueError:
        return bare == "localhost"
