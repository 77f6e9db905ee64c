"""Which tasks there are: every folder of the package that has a module ``task``.

Names and summaries are read without importing a task, which would import torch.
"""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path

from model_builder.task import Task


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

    def load(self, name: str) -> Task:
        """Import and return a task."""
        task: Task = importlib.import_module(f"{self._package}.{name}.task").TASK
        return task
