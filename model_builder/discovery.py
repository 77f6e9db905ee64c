"""Which tasks there are: every folder of the package that has a module ``task``.

Names and summaries are read without importing a task, which would import torch.
"""

from __future__ import annotations

import importlib
import importlib.resources
import importlib.util
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TYPE_CHECKING

from model_builder.task import Task
from model_builder.tuning.errors import CannotTune

if TYPE_CHECKING:
    from model_builder.tuning.tunable import Tuning


class Tasks:
    """The tasks of one package."""

    def __init__(self, package: str = "model_builder") -> None:
        self._package = package

    def names(self) -> list[str]:
        """Return the names, sorted."""
        spec = importlib.util.find_spec(self._package)
        folders = spec.submodule_search_locations if spec else None
        found = (path for folder in folders or [] for path in Path(folder).glob("*/task.py"))
        return sorted(path.parent.name for path in found)

    def summary(self, name: str) -> str:
        """Return the first line of what the task's folder says of itself."""
        text = importlib.import_module(f"{self._package}.{name}").__doc__ or ""
        return text.strip().partition("\n")[0]

    @property
    def package(self) -> str:
        """The name of the package that holds the tasks."""
        return self._package

    def load(self, name: str) -> Task:
        """Import and return a task."""
        task: Task = importlib.import_module(f"{self._package}.{name}.task").TASK
        return task

    def tuning(self, name: str) -> Tuning:
        """Import and return how a task is tuned.

        Raises:
            CannotTune: If the task does not say.
        """
        if not self._file(name, "tuning.py").is_file():
            raise CannotTune(name)
        tuning: Tuning = importlib.import_module(f"{self._package}.{name}.tuning").TUNING
        return tuning

    def search_space(self, name: str) -> str:
        """Return the text of a task's own search space.

        Raises:
            CannotTune: If the task has none.
        """
        file = self._file(name, "search_space.yaml")
        if not file.is_file():
            raise CannotTune(name)
        return file.read_text(encoding="utf-8")

    def _file(self, name: str, file: str) -> Traversable:
        return importlib.resources.files(f"{self._package}.{name}").joinpath(file)
