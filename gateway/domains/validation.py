"""Collects everything that is wrong with a request, by field path."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from gateway.errors import InvalidRequest

MAX_REQUEST_ID_LENGTH = 128
MAX_ID_LENGTH = 256
MAX_REPORTED = 1000
"""Violations of one call that are kept: a hostile batch could have millions."""

_MAX_SHOWN = 60


@dataclass
class Violations:
    """What is wrong, by field path; the first complaint about a field counts."""

    prefix: str = ""
    """The path of the message that is looked at, such as ``requests[3].``."""
    found: dict[str, str] = field(default_factory=dict)

    def below(self, prefix: str) -> Violations:
        """Return a collector for a message inside this one; both share what is found."""
        return Violations(self.prefix + prefix, self.found)

    def add(self, path: str, text: str) -> None:
        """Note that a field is wrong: what is accepted, and what came."""
        if len(self.found) < MAX_REPORTED:
            self.found.setdefault(self.prefix + path, text)

    def raise_if_any(self) -> None:
        """Raise if anything is wrong.

        Raises:
            InvalidRequest: With every violation, the first 1,000 of them.
        """
        if self.found:
            raise InvalidRequest(self.found)


def plain_name(text: str, high: int) -> bool:
    """Return whether a text of at most ``high`` characters is as :func:`check_text` wants it."""
    return not text or (len(text) <= high and "\0" not in text)


def plain_ids(ids: Sequence[str], high: int) -> bool:
    """Return whether :func:`check_ids` has nothing to say; much faster."""
    if not ids:
        return True
    if len(ids) > high:
        return False
    lengths = list(map(len, ids))
    return min(lengths) > 0 and max(lengths) <= MAX_ID_LENGTH and "\0" not in "".join(ids)


def shown(value: object) -> str:
    """Return a value as it stands in a message: quoted, and cut where it is long."""
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, str) else str(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[: _MAX_SHOWN - 1]}…"


def entry(path: str, key: str) -> str:
    """Return the path of a map's entry: ``features["age"]``."""
    return f"{path}[{json.dumps(key, ensure_ascii=False)}]"


def check_text(violations: Violations, path: str, text: str, low: int, high: int) -> None:
    """Check that a text has ``[low, high]`` characters, none of them NUL.

    Somewhere below, strings end at a NUL, and one ID would be taken for another.
    """
    if not low <= len(text) <= high:
        accepted = f"{low} to {high}" if low else f"at most {high}"
        violations.add(path, f"must have {accepted} characters, got {len(text)}")
    elif "\0" in text:
        violations.add(path, f"must not hold a NUL character, got {shown(text)}")


def check_count(
    violations: Violations, path: str, values: Collection[object], low: int, high: int
) -> bool:
    """Check that a list or map has ``[low, high]`` entries; say whether it has."""
    if low <= len(values) <= high:
        return True
    accepted = f"{low} to {high}" if low else f"at most {high}"
    violations.add(path, f"must have {accepted} entries, got {len(values)}")
    return False


def check_range(violations: Violations, path: str, value: int, low: int, high: int) -> None:
    """Check that a number is in ``[low, high]``."""
    if not low <= value <= high:
        violations.add(path, f"must be in [{low}, {high}], got {value}")


def check_ids(violations: Violations, path: str, ids: Sequence[str], high: int) -> None:
    """Check a list of at most ``high`` item IDs."""
    if check_count(violations, path, ids, 0, high):
        for place, item_id in enumerate(ids):
            if not 1 <= len(item_id) <= MAX_ID_LENGTH or "\0" in item_id:
                check_text(violations, f"{path}[{place}]", item_id, 1, MAX_ID_LENGTH)
