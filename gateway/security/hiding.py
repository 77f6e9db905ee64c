"""Takes secrets out of what people may read."""

from __future__ import annotations

import re

_USER_INFO = re.compile(r"(?<=://)[^/@\s]+@")
_QUERY = re.compile(r"(?<=[?&])([^=&#\s]+)=[^&#\s]+")

HIDDEN = "…"


def without_secrets(url: str) -> str:
    """Return a URL without user, password and the values of its query; other texts as they are."""
    return _QUERY.sub(rf"\1={HIDDEN}", _USER_INFO.sub(f"{HIDDEN}@", url))
