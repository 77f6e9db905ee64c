from __future__ import annotations

from collections.abc import Iterator

import pytest
import small_images

from model_builder.opened_release import Opened, opened_release
from triton_models.store import ReleaseStore


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory, quick_torch: None) -> Iterator[Opened]:
    store = ReleaseStore(tmp_path_factory.mktemp("images") / "store")
    small_images.publish(store)
    with opened_release(store, small_images.LINE, "r1") as opened:
        yield opened
