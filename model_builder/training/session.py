"""What surrounds a training: where its run lies, who watches, whether it goes on.

Tasks call ``fit`` and know nothing of it; whoever starts a task says it around the call::

    with Session(folder=Path("runs/one"), resume=True):
        task.build(data, config, progress)

Without a session nothing is written anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar, Token
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from model_builder.training.results import Epoch


class Journal(Protocol):
    """Takes down how a training goes."""

    def log(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        """Take down ``values`` after ``step`` steps of the training called ``stage``."""
        ...

    def rewind(self, stage: str, step: int) -> None:
        """Forget what came after ``step``: the training goes on from there."""
        ...


class Silence:
    """Takes nothing down."""

    def log(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        """Forget it."""

    def rewind(self, stage: str, step: int) -> None:
        """Forget nothing."""


@dataclass
class Session:
    """What surrounds the trainings inside its ``with``."""

    run_id: str = ""
    """The run's name, as in the manifest; empty if it has none."""
    folder: Path | None = None
    """The run's, for checkpoints and profiles; ``None`` writes nothing."""
    journal: Journal = field(default_factory=Silence)
    resume: bool = False
    """Go on from the checkpoints in ``folder``, where there are any."""
    profile: bool = False
    """Write a trace, and a table of where the time of a step went, into ``folder``."""
    find_learning_rate: int = 0
    """Steps of a search for the learning rate, which then takes the place of training."""
    observe: Callable[[str, Epoch], None] | None = None
    """Called with the training's name after each validation; what it raises ends the training."""
    _token: Token[Session] | None = None

    def __enter__(self) -> Session:
        """Surround what follows."""
        self._token = _CURRENT.set(self)
        return self

    def __exit__(self, *error: object) -> None:
        """Surround it no longer."""
        assert self._token is not None
        _CURRENT.reset(self._token)


_CURRENT: ContextVar[Session] = ContextVar("session")


def current_session() -> Session:
    """Return the innermost session, or one that does nothing."""
    return _CURRENT.get(None) or Session()
