"""What clients may call: patterns over domains and methods.

A pattern is one of::

    *                                      everything
    risk                                   every method of a domain
    risk/ScoreRisk, risk/Batch*            methods of a domain
    trident.risk.v1.RiskService/ScoreRisk  a method by its full name

The domain ``model`` is ``ModelService``, which lists what is served.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from gateway.security.errors import UnusableFile
from gateway.security.yaml_files import read_yaml


@dataclass(frozen=True)
class Methods:
    """The methods that can be permitted.

    Attributes:
        names: Full ones, such as ``trident.risk.v1.RiskService/ScoreRisk``.
    """

    names: tuple[str, ...]

    def permitted(self, patterns: Iterable[str]) -> frozenset[str]:
        """Return the methods that any of the patterns means."""
        return frozenset(name for one in patterns for name in self.names if _means(one, name))

    def unknown(self, patterns: Iterable[str]) -> list[str]:
        """Return the patterns that mean no method."""
        return [one for one in patterns if not self.permitted([one])]

    @property
    def domains(self) -> list[str]:
        """What patterns can begin with."""
        return sorted({_domain(name) for name in self.names})


def _means(pattern: str, name: str) -> bool:
    if pattern in ("*", name):
        return True
    domain, _, method = pattern.partition("/")
    return domain == _domain(name) and fnmatchcase(name.rpartition("/")[2], method or "*")


def _domain(name: str) -> str:
    """Return the domain of ``trident.DOMAIN.v1.Service/Method``."""
    return name.split(".")[1]


class Grants(BaseModel):
    """What is permitted to clients by who they are: the file of ``permissions_file``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    clients: Mapping[str, tuple[str, ...]] = Field(default_factory=dict)
    """Permissions by the client's ID, in which ``*`` stands for anything: ``token:*``."""

    def of(self, client_id: str) -> list[str]:
        """Return the permissions of a client."""
        return [
            pattern
            for who, patterns in self.clients.items()
            if fnmatchcase(client_id, who)
            for pattern in patterns
        ]


def read_grants(path: Path, methods: Methods) -> Grants:
    """Read a file of permissions.

    Raises:
        UnusableFile: With everything that is wrong.
    """
    grants = read_yaml(path, Grants, lambda error: " ".join(str(error).split()))
    wrong = {
        f"clients.{who}": f"permits nothing: {', '.join(unknown)}; "
        f"domains are {', '.join(methods.domains)}"
        for who, patterns in grants.clients.items()
        if (unknown := methods.unknown(patterns))
    }
    if wrong:
        raise UnusableFile(path, wrong)
    return grants
