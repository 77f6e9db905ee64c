"""What can be wrong with what the gateway is given to tell clients by."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError


class Refused(Exception):
    """Credentials that do not convince; for the log alone, the client learns nothing of it.

    The message must hold no part of a credential that could be used: no token, no key.
    """


class UnusableFile(Exception):
    """A file that cannot be used; every violation is in the message, no secret is."""

    def __init__(self, path: Path | str, violations: Mapping[str, str]) -> None:
        self.path = path
        self.violations = dict(violations)
        said = "; ".join(f"{name}: {text}" if name else text for name, text in violations.items())
        super().__init__(f"{path}: {said}")


def violations_of(error: ValidationError) -> dict[str, str]:
    """Return what pydantic found, without what it was given: that may be a secret."""
    return {
        ".".join(map(str, one["loc"])): one["msg"].removeprefix("Value error, ")
        for one in error.errors(include_input=False, include_url=False)
    }
