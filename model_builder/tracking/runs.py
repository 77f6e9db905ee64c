"""A run: one time that a task was trained, and its folder.

::

    <runs>/<id>/run.json        what was asked for and how it ended
    <runs>/<id>/metrics.csv     how it went
    <runs>/<id>/checkpoints/    where it stands, until it is finished
    <runs>/<id>/profile/        where the time went, if asked for
"""

from __future__ import annotations

import os
import re
import secrets
import socket
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from model_builder.errors import RunUnusable

DEFAULT_RUNS = "runs"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Run(BaseModel):
    """What is known of a run."""

    model_config = ConfigDict(extra="ignore")

    id: str
    task: str
    data: str
    """Its name."""
    data_sha256: str
    config: dict[str, JsonValue]
    state: Literal["running", "finished", "failed"] = "running"
    host: str = ""
    process: int = 0
    """That trains it, on ``host``."""
    started: datetime
    ended: datetime | None = None
    cause: str = ""
    """Why it failed."""
    release: str = ""
    """``LINE/RELEASE`` that came of it."""
    metrics: dict[str, dict[str, float]] = Field(default_factory=dict)
    """Of the release: split, then metric."""

    @property
    def shown_state(self) -> str:
        """The state; ``interrupted`` for a run whose process on this machine is gone."""
        if self.state == "running" and self.host == socket.gethostname():
            return self.state if _lives(self.process) else "interrupted"
        return self.state


def new_run_id(task: str) -> str:
    """Return a name that no other run has, such as ``20261123t101502-risk-1f0c``."""
    return f"{datetime.now(UTC):%Y%m%dt%H%M%S}-{task}-{secrets.token_hex(2)}"


def check_run_id(name: str) -> str:
    """Return ``name`` if it can name a run.

    Raises:
        ValueError: If it cannot be the name of a folder below the runs.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"run name {name!r}: must be 1 to 64 of letters, digits, '.', '_' and '-', "
            "the first a letter or digit"
        )
    return name


class RunFolder:
    """The folder of one run."""

    def __init__(self, runs: Path, name: str) -> None:
        """Look at the run ``name`` below ``runs``, which need not exist yet."""
        self.path = runs / name
        self.name = name

    def exists(self) -> bool:
        """Say whether the run has been begun."""
        return (self.path / "run.json").exists()

    def read(self) -> Run:
        """Return what is known of the run.

        Raises:
            RunUnusable: If there is none, or its file cannot be read.
        """
        try:
            return Run.model_validate_json((self.path / "run.json").read_bytes())
        except FileNotFoundError as error:
            raise RunUnusable(self.name, f"there is none in {self.path.parent}") from error
        except ValidationError as error:
            raise RunUnusable(self.name, f"{self.path / 'run.json'} is damaged") from error

    def write(self, run: Run) -> None:
        """Write what is known, in one instant."""
        self.path.mkdir(parents=True, exist_ok=True)
        unfinished = self.path / f"run.{os.getpid()}.tmp"
        unfinished.write_text(run.model_dump_json(indent=2) + "\n", encoding="utf-8")
        unfinished.replace(self.path / "run.json")


def all_runs(runs: Path) -> list[Run]:
    """Return the runs, oldest first; leave out what is none."""
    found = []
    for file in runs.glob("*/run.json"):
        try:
            found.append(RunFolder(runs, file.parent.name).read())
        except RunUnusable:
            continue
    return sorted(found, key=lambda run: run.started)


def differences(one: Mapping[str, JsonValue], other: Mapping[str, JsonValue]) -> list[str]:
    """Return the settings, flattened, in which two configurations differ."""
    first, second = flat(one), flat(other)
    return [key for key in {**first, **second} if first.get(key) != second.get(key)]


def flat(config: Mapping[str, JsonValue], prefix: str = "") -> dict[str, JsonValue]:
    """Return a nested configuration by dotted names."""
    values: dict[str, JsonValue] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            values |= flat(value, f"{prefix}{key}.")
        else:
            values[prefix + key] = value
    return values


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
