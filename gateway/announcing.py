"""Tells people what is served: what `gateway serve` prints."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from gateway.supervising.notices import ReleaseNotice


class Announcer:
    """Says each change of a release's state, and when all routed lines serve.

    Args:
        say: Prints one line.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._since = time.monotonic()  # when not all lines served, last
        self._known: dict[tuple[str, str], str] = {}
        self._ready = False

    def introduce(
        self, *, address: str, store: str, triton: str, traces: str, metrics: str = "off"
    ) -> None:
        """Say where everything is."""
        for name, where in (
            ("Gateway", address),
            ("Releases", store),
            ("Triton", triton),
            ("Traces", traces),
            ("Metrics", metrics),
        ):
            self._say(f"{name:<10}{where}")

    def empty(self, store: str) -> None:
        """Say that there is nothing to serve."""
        self._say(
            f"Nothing is routed in {store}, so no domain serves. Run "
            f"`model-builder build recsys|diagnosis|risk --store {store}`: "
            "what it builds is served at once."
        )

    def show(self, states: Sequence[ReleaseNotice]) -> None:
        """Say what is new."""
        now = {(state.line, state.release): _text(state) for state in states}
        news: dict[str, list[str]] = {}  # what is said of several is said once
        for (line, release), text in now.items():
            if self._known.get((line, release)) != text:
                news.setdefault(text, []).append(f"{line}/{release}")
        for line, release in sorted(self._known.keys() - now.keys()):
            news.setdefault("no longer routed", []).append(f"{line}/{release}")
        for text, names in news.items():
            self.tell(f"{', '.join(names)}: {text}")
        self._known = now
        self._show_ready(states)

    def _show_ready(self, states: Sequence[ReleaseNotice]) -> None:
        lines = {state.line for state in states}
        ready = bool(lines) and lines == {state.line for state in states if state.serving}
        if ready and not self._ready:
            which = "line serves" if len(lines) == 1 else "lines serve"
            self.tell(f"ready: {len(lines)} {which}, after {time.monotonic() - self._since:.1f} s")
        if self._ready and not ready:
            self._since = time.monotonic()
        self._ready = ready

    def tell(self, text: str) -> None:
        """Say what has just happened."""
        self._say(f"{time.strftime('%H:%M:%S')}  {text}")


def _text(state: ReleaseNotice) -> str:
    if not state.serving:
        return f"not serving: {state.detail}"
    if state.weight == 0:
        return "ready, and gets no calls"
    return "serving" if state.weight == 1 else f"serving, weight {state.weight:g}"
