"""Whether the gateway is alive and ready, for probes that do not speak gRPC, or not over TLS."""

from __future__ import annotations

from collections.abc import Callable

from gateway.supervising.news import WorkerNews
from triton_models.signatures import DOMAIN_LINES

Probe = Callable[[], str]
"""Returns why not; ``""`` if all is well. Called on any thread."""


def probes(news: WorkerNews, is_stopping: Callable[[], bool]) -> dict[str, Probe]:
    """Return what answers, by the path where it is asked.

    ``/livez`` is that calls are taken and no worker hangs, whatever becomes of Triton. ``/readyz``
    is what the health of the whole is over gRPC: every routed domain has a release that can be
    asked; once that was so, any domain is enough.
    """
    was_whole = False

    def live() -> str:
        if not news.takes_calls:
            return "no worker takes calls"
        return "; ".join(
            f"worker {number} hangs: nothing was heard of it for {silent_s:.0f} s"
            for number, silent_s in sorted(news.silent().items())
        )

    def ready() -> str:
        nonlocal was_whole
        if is_stopping():
            return "the gateway is stopping"
        if why := live():
            return why
        missing = _unserved(news)
        was_whole = was_whole or not missing
        any_serves = any(one.serving for one in news.releases())
        return "" if was_whole and any_serves else missing

    return {"/livez": live, "/readyz": ready}


def _unserved(news: WorkerNews) -> str:
    releases = news.releases()
    routed = {one.line for one in releases}
    serving = {one.line for one in releases if one.serving}
    if not routed:
        return "nothing is routed"
    missing = [
        domain
        for domain, lines in DOMAIN_LINES.items()
        if routed & set(lines) and not serving & set(lines)
    ]
    return f"no release of {', '.join(missing)} serves" if missing else ""
