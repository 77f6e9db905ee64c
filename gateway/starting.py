"""Why a gateway does not start."""

from __future__ import annotations


class StartFailed(Exception):
    """The gateway cannot serve at all; the message says why."""
