"""The settings that may change while the gateway runs, and how its workers learn of them.

The supervisor reads its sources anew when it gets SIGHUP. What cannot be used changes nothing.
Otherwise it writes the settings of workers into a file in its folder, where each finds them.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from pydantic import ValidationError

from gateway.security.watching import Watched
from gateway.settings import InvalidSettings, Settings, violations_of
from gateway.settings_security import OF_CALLERS

_log = logging.getLogger(__name__)

LIVE = frozenset(
    {
        "call_timeout_s",
        "client_limit",
        "client_limits",
        "domain_limits",
        "jwt_algorithms",
        "jwt_audience",
        "jwt_issuer",
        "jwt_keys",
        "jwt_leeway_s",
        "jwt_permissions_claim",
        "jwt_permissions_prefix",
        "jwt_refresh_s",
        "keys_file",
        "payload_log_ratio",
        "payload_log_redact",
        "permissions_file",
        "trace_keep_errors",
        "trace_keep_slower_s",
        "trace_sample_ratio",
    }
)
"""The names of those that take effect without a restart."""

_FILE = "settings.json"


class CannotApply(Exception):
    """Some settings could not take effect; all that is in their way is said."""


Apply = Callable[[Settings], object]
"""Makes new settings take effect; called on a thread."""


def changed(old: Settings, new: Settings) -> list[str]:
    """Return the names of the settings that differ."""
    return [name for name in Settings.model_fields if getattr(old, name) != getattr(new, name)]


def with_live(old: Settings, new: Settings) -> Settings:
    """Return settings as they are in force: new where they are live, old where not.

    Raises:
        InvalidSettings: If the two do not go together: no worker could start with them.
    """
    mixed = _mixed(old, new, live_names(old, new))
    try:
        Settings.model_validate_json(mixed.model_dump_json())  # as workers will
    except ValidationError as error:
        raise InvalidSettings(violations_of(error)) from None
    return mixed


def live_names(old: Settings, new: Settings) -> frozenset[str]:
    """Return what takes effect without a restart, going from one to the other.

    Whether calls need credentials at all is built into the table of RPCs. Where that differs, or
    would with the new settings beside those old ones that need a restart, nothing of who may call
    changes: half of it would be neither the old nor the new.
    """
    asks = {one.asks_for_credentials for one in (old, new, _mixed(old, new, LIVE))}
    return LIVE if len(asks) == 1 else LIVE - OF_CALLERS


def _mixed(old: Settings, new: Settings, live: frozenset[str]) -> Settings:
    return old.model_copy(update={name: getattr(new, name) for name in live})


def told_file(folder: Path) -> Path:
    """Return where a supervisor writes settings for its workers."""
    return folder / _FILE


def tell_workers(folder: Path, settings: Settings) -> None:
    """Write settings for the workers, whole or not at all."""
    path = told_file(folder)
    draft = path.with_suffix(".new")
    draft.write_text(settings.model_dump_json())
    draft.chmod(0o600)
    os.replace(draft, path)


def followed(folder: Path, appliers: Iterable[Apply]) -> Watched:
    """Return what makes the settings take effect that a supervisor writes.

    Args:
        folder: Of the supervisor.
        appliers: Each takes what it knows of, and again if another one failed.
    """
    path = told_file(folder)
    appliers = tuple(appliers)

    def read() -> None:
        settings = Settings.model_validate_json(path.read_text())
        failures = []
        for apply in appliers:
            try:
                apply(settings)
            except Exception as error:  # keeps none of the others from its settings
                failures.append(str(error))
        if failures:
            raise CannotApply("; ".join(failures))

    # What is there may have come after this worker was given its own.
    return Watched("Settings", [path], read, unread=True)
