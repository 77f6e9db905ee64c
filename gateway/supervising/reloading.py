"""Reads settings anew when the supervisor is asked to (SIGHUP)."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable
from pathlib import Path

from gateway.live_settings import changed, live_names, tell_workers, with_live
from gateway.settings import InvalidSettings, Settings

_log = logging.getLogger(__name__)

Reread = Callable[[], Settings]
"""Reads the settings from where they came; raises ``InvalidSettings`` with all that is wrong."""

_STANDARD_ERROR = 2


class Reloading:
    """Keeps the settings that are in force.

    Args:
        settings: As the gateway was started with.
        reread: Reads them anew.
        say: Prints one line for people.

    Attributes:
        current: In force.
    """

    def __init__(
        self, settings: Settings, reread: Reread, say: Callable[[str], None] = lambda text: None
    ) -> None:
        self.current = settings
        self._reread = reread
        self._say = say

    def reload(self) -> bool:
        """Read the settings anew; return whether any has taken effect.

        Values are not said: nobody knows what is in them.
        """
        try:
            new = self._reread()
            in_force = with_live(self.current, new)
        except InvalidSettings as error:
            lines = "; ".join(f"{name}: {text}" for name, text in error.violations.items())
            self._say(f"The settings stay as they were. {lines}")
            return False
        names = changed(self.current, new)
        live = live_names(self.current, new)
        taken = [name for name in names if name in live]
        left = [name for name in names if name not in live]
        self.current = in_force
        self._say(_told(taken, left))
        return bool(taken)


def _told(taken: list[str], left: list[str]) -> str:
    said = f"Settings read anew: {', '.join(taken) or 'nothing has changed that may'}."
    if left:
        said += f" Needs a restart: {', '.join(left)}."
    return said


def checked(read: Reread) -> Reread:
    """Return what also refuses settings that name files which cannot be used."""

    def reread() -> Settings:
        from gateway.checking import violations_in_files

        settings = read()
        if wrong := dict(violations_in_files(settings)):
            raise InvalidSettings(wrong)
        return settings

    return reread


def on_hangup(reload: Callable[[], object], stop: Callable[[], object]) -> None:
    """Reload on SIGHUP; but stop where it means that the terminal has gone.

    Args:
        reload: Called in the running event loop.
        stop: Called there.
    """
    had_terminal = os.isatty(_STANDARD_ERROR)

    def receive() -> None:
        if had_terminal and not os.isatty(_STANDARD_ERROR):
            stop()
        else:
            reload()

    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, receive)


def telling(
    reloading: Reloading, folder: Path, settings_of: Callable[[Settings], Settings]
) -> Callable[[], None]:
    """Return what reloads and tells the workers.

    Args:
        reloading: Keeps the settings.
        folder: Where workers look.
        settings_of: Makes a worker's settings of the gateway's.
    """

    def reload() -> None:
        if reloading.reload():
            tell_workers(folder, settings_of(reloading.current))

    return reload
