"""A store of tiny releases, three Tritons that read it, and a gateway on each transport."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny_releases as tiny
from served import Gateway, serving
from three_tritons import Tritons, three_tritons

from triton_models.store import ReleaseStore


@pytest.fixture(scope="session")
def store(
    tmp_path_factory: pytest.TempPathFactory, embedded_triton_available: None
) -> ReleaseStore:
    """A store with the tiny diagnoser, routed."""
    return tiny.diagnoser_store(tmp_path_factory.mktemp("chaos") / "store")


@pytest.fixture(scope="session")
def tritons(store: ReleaseStore) -> Iterator[Tritons]:
    with three_tritons(Path(store.models_path)) as tritons:
        yield tritons


@pytest.fixture(scope="session")
def gateway(
    store: ReleaseStore, tritons: Tritons, transport: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    """A gateway in front of the three."""
    folder = tmp_path_factory.mktemp(transport)
    with serving(store, folder, "--transport", transport, *tritons.options) as gateway:
        yield gateway
