"""Who makes a call, once that is known."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ClientKind(StrEnum):
    """What a client has shown."""

    CERTIFICATE = "certificate"
    TOKEN = "token"
    KEY = "key"


@dataclass(frozen=True, slots=True)
class Client:
    """A client that has shown who it is.

    Attributes:
        kind: How it has.
        name: As its certificate, token or key says.
        methods: The full methods that it may call, such as
            ``trident.risk.v1.RiskService/ScoreRisk``.
        id: Kind and name, such as ``key:billing``: nobody can take another's by using another
            kind of credentials.
    """

    kind: ClientKind
    name: str
    methods: frozenset[str]
    id: str


def known_client(kind: ClientKind, name: str, methods: frozenset[str]) -> Client:
    """Return a client."""
    return Client(kind, name, methods, client_id(kind, name))


def client_id(kind: ClientKind, name: str) -> str:
    """Return what a client is called in logs, traces and limits."""
    return f"{kind.value}:{name}"
