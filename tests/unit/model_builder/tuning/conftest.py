from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from model_builder.tuning.trials import Job


@pytest.fixture(scope="session")
def made_data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache for all tests, and no mirror."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRIDENT_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("TRIDENT_DATA_DIR", "")
        yield


@pytest.fixture(scope="session")
def make_job(toy_tasks: str, quick_torch: None, made_data: None) -> Callable[..., Job]:
    def make(folder: Path, **changes) -> Job:
        values = {"package": toy_tasks, "task": "toy", "data": None, "folder": folder, "trials": 4}
        return Job.model_validate(values | changes)

    return make


@pytest.fixture
def job(make_job, tmp_path: Path) -> Callable[..., Job]:
    return lambda **changes: make_job(**{"folder": tmp_path / "study", **changes})
