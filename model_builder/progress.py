"""Progress as people see it: on standard error, one bar a stage."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Stage(Protocol):
    """One running stage."""

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Count ``steps`` as done; ``note`` is shown beside the bar, such as the loss."""
        ...


class Progress(Protocol):
    """Shows stages as they run."""

    def stage(self, name: str, total: int | None = None) -> _StageContext:
        """Show a bar from entering to leaving; ``total`` steps, or unknown."""
        ...

    def say(self, text: str) -> None:
        """Print one line."""
        ...


class _StageContext(Protocol):
    def __enter__(self) -> Stage: ...
    def __exit__(self, *error: object) -> None: ...


class _SilentStage:
    def advance(self, steps: int = 1, note: str = "") -> None:
        pass


class SilentProgress:
    """Shows nothing."""

    @contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[Stage]:
        """Give a stage that shows nothing."""
        yield _SilentStage()

    def say(self, text: str) -> None:
        """Print nothing."""
