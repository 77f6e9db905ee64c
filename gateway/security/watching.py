"""Looks at files that may change while the gateway runs, and reads those anew that have."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_log = logging.getLogger(__name__)

LOOK_S = 1.0
AGAIN_S = 1.0
"""What could not be read is read again after this time, then after twice that, and so on."""
LONGEST_AGAIN_S = 60.0
_LAST_LOOK_S = 2.0

_Stamp = tuple[int, int, int] | None


@dataclass
class Watched:
    """Files that are read together.

    Attributes:
        name: What they are, for the log.
        files: Which; links are followed, as Kubernetes changes Secrets by them.
        read: Reads them and puts what was read in the place of the old; what it raises is logged,
            and the old stays, until reading again goes well.
        every_s: How often it is read anew even if no file has changed, in seconds.
        unread: Whether what is there now is news.
        again_s: After how long it is read again that could not be, in seconds; longer each time.
    """

    name: str
    files: Sequence[Path]
    read: Callable[[], object]
    every_s: float | None = None
    unread: bool = False
    again_s: float = AGAIN_S
    _stamps: list[_Stamp] = field(init=False)
    _read_at: float = field(init=False)
    _pause_s: float = field(init=False, default=0.0)
    _said: str = field(init=False, default="")

    def __post_init__(self) -> None:
        self._stamps = [None if self.unread else _stamp(path) for path in self.files]
        self._read_at = time.monotonic()

    def look(self) -> bool:
        """Read anew what has changed; return whether that was so and went well."""
        stamps = [_stamp(path) for path in self.files]
        now = time.monotonic()
        changed = stamps != self._stamps
        wait_s = self._pause_s if self.stale else self.every_s
        if not changed and (wait_s is None or now - self._read_at < wait_s):
            return False
        news = changed or self.stale
        self._stamps, self._read_at = stamps, now
        try:
            self.read()
        except Exception as error:  # whatever it is, the gateway serves on
            self._failed(str(error), anew=changed)
            return False
        self._pause_s, self._said = 0.0, ""
        if news:
            _log.info("%s: read anew", self.name)
        return True

    @property
    def stale(self) -> bool:
        """Whether the old stays in force, because what is there now could not be read."""
        return self._pause_s > 0

    def _failed(self, text: str, anew: bool) -> None:
        """Note when to read again; say the same once, and only the text.

        A traceback would have what is in the file.
        """
        longer = self.again_s if anew or not self.stale else 2 * self._pause_s
        self._pause_s = min(longer, LONGEST_AGAIN_S)
        if text != self._said:
            _log.error("%s: the old stays in force: %s", self.name, text)
        self._said = text


class Watch:
    """Threads that look, one for each: what takes long to read keeps nobody from the others.

    Args:
        watched: At what.
        look_s: How often, in seconds.
    """

    def __init__(self, watched: Iterable[Watched], look_s: float = LOOK_S) -> None:
        self._watched = tuple(watched)
        self._look_s = look_s
        self._ended = threading.Event()
        self._threads = [
            threading.Thread(target=self._look, args=(one,), name="file-watch", daemon=True)
            for one in self._watched
        ]

    def start(self) -> None:
        """Look from now on."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Look no more; what is being read is waited for a moment."""
        self._ended.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(_LAST_LOOK_S)

    @property
    def stale(self) -> int:
        """Of how many the old stays in force."""
        return sum(one.stale for one in self._watched)

    def _look(self, one: Watched) -> None:
        while not self._ended.wait(self._look_s):
            one.look()


def _stamp(path: Path) -> _Stamp:
    """Return what differs once a file is another; ``None`` if it is not there."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
