"""Ends tracing in bounded time."""

from __future__ import annotations

import logging
import threading

from opentelemetry.sdk.trace import TracerProvider

_log = logging.getLogger(__name__)
DEFAULT_TIMEOUT_S = 5.0


def shut_down(provider: TracerProvider, timeout_s: float = DEFAULT_TIMEOUT_S) -> bool:
    """Send what is left and stop; return whether all was sent in time.

    The SDK waits half a minute for a collector that does not answer. A process that is told to
    stop has no such time.
    """
    thread = threading.Thread(target=provider.shutdown, name="last-spans", daemon=True)
    thread.start()
    thread.join(timeout_s)
    if thread.is_alive():
        _log.warning("The last spans could not be sent within %g s", timeout_s)
        return False
    return True
