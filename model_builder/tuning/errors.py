"""What can go wrong in tuning, beside what can go wrong in a build."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from model_builder.errors import BuilderError


class CannotTune(BuilderError):
    """The task has nothing that says how to tune it."""

    exit_code = 2

    def __init__(self, task: str) -> None:
        super().__init__(f"task '{task}' cannot be tuned: it declares no search space")


class StudyDiffers(BuilderError):
    """The study in the folder is of something else."""

    exit_code = 2

    def __init__(self, folder: Path, differences: Sequence[str]) -> None:
        super().__init__(
            f"{folder} holds a study with another {', another '.join(differences)}: its trials "
            "cannot be compared with new ones. Give another folder with --out."
        )
        self.differences = tuple(differences)


class StudyBusy(BuilderError):
    """Another process tunes in the same folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"another process is tuning in {folder}; use its --workers instead")


class WorkerFailed(BuilderError):
    """A worker process ended with an error."""

    def __init__(self, said: str) -> None:
        super().__init__(said or "a worker process ended without a word")
