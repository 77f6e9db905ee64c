from __future__ import annotations

import functools
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from model_builder.datasets import Places, resolve
from model_builder.progress import SilentProgress, Stage
from model_builder.task import Candidate, ResolvedData, Task

TESTS = next(folder for folder in Path(__file__).parents if folder.name == "tests")


class CannedTask:
    """Gives a candidate that was made before, or raises what it is told to."""

    name = "canned"
    summary = "gives what it has"
    default_data = "generated-credit"

    def __init__(self, toy: Task, candidate: Candidate, error: Exception | None = None) -> None:
        self.config_type = toy.config_type
        self._candidate = candidate
        self._error = error

    def build(self, data: object, config: object, progress: object) -> Candidate:
        if self._error is not None:
            raise self._error
        return self._candidate


class RecordedProgress(SilentProgress):
    """Remembers the stages, their totals and how far they came."""

    def __init__(self) -> None:
        self.stages: dict[str, list[int | None]] = {}
        self.notes: list[str] = []
        self.said: list[str] = []

    @contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[Stage]:
        record: list[int | None] = [0, total]
        self.stages[name] = record
        notes = self.notes

        class Recorded:
            def advance(self, steps: int = 1, note: str = "") -> None:
                record[0] = (record[0] or 0) + steps
                notes.append(note)

        yield Recorded()

    def say(self, text: str) -> None:
        self.said.append(text)


@pytest.fixture
def progress() -> RecordedProgress:
    return RecordedProgress()


@pytest.fixture(scope="session")
def data_folder() -> Path:
    return TESTS / "data"


@pytest.fixture(scope="session")
def toy_tasks(data_folder: Path) -> Iterator[str]:
    """The name of a package of tasks that can be imported."""
    sys.path.insert(0, str(data_folder))
    yield "toy_tasks"
    sys.path.remove(str(data_folder))


@pytest.fixture(scope="session")
def quick_torch() -> Iterator[None]:
    """torch without what costs only tests: threads, and reading its operators for each export.

    Threads that wait for each other take longer than networks this small. The exporter parses
    the source of its 500 operators anew each time, which a build, with one export, does once.
    """
    import torch
    from torch.onnx._internal.exporter import _registration

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    operators = _registration.onnxscript_apis
    with pytest.MonkeyPatch.context() as patch:
        read_once = functools.cache(operators.get_torchlib_ops)
        patch.setattr(operators, "get_torchlib_ops", read_once)
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def toy(toy_tasks: str, quick_torch: None) -> Task:
    from model_builder.discovery import Tasks

    return Tasks(toy_tasks).load("toy")


@pytest.fixture(scope="session")
def loans(tmp_path_factory: pytest.TempPathFactory) -> ResolvedData:
    return resolve("generated-credit", places=Places(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="session")
def candidate(toy: Task, loans: ResolvedData) -> Candidate:
    from model_builder.training.seeding import seed_everything

    config = toy.config_type()
    seed_everything(config.seed)
    return toy.build(loans, config, SilentProgress())


@pytest.fixture
def canned(toy: Task, candidate: Candidate) -> CannedTask:
    return CannedTask(toy, candidate)
