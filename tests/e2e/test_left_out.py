"""One of three Tritons is hurt under load, on both transports; `make chaos` hurts them more."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny_releases as tiny
from served import serving
from three_tritons import FAULTS, Tritons, hold, play, three_tritons

from triton_models.store import ReleaseStore

pytestmark = pytest.mark.e2e

SECONDS = 3.0


@pytest.fixture(scope="module")
def tiny_store(
    tmp_path_factory: pytest.TempPathFactory, embedded_triton_available: None
) -> ReleaseStore:
    return tiny.diagnoser_store(tmp_path_factory.mktemp("tiny") / "store")


@pytest.fixture(scope="module")
def tritons(tiny_store: ReleaseStore) -> Iterator[Tritons]:
    with three_tritons(Path(tiny_store.models_path)) as tritons:
        yield tritons


@pytest.mark.parametrize(
    ("transport", "names"),
    [("grpc", ("killed", "wrong", "silent")), ("envoy", ("stopped", "garbage", "resetting"))],
)
def test_a_triton_that_is_hurt_is_found_and_left_out_and_clients_hardly_notice(
    transport: str,
    names: tuple[str, ...],
    tiny_store: ReleaseStore,
    tritons: Tritons,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    if transport == "envoy":
        request.getfixturevalue("envoy_available")
    how = ("--transport", transport, *tritons.options)
    with serving(tiny_store, tmp_path, *how) as gateway:
        for name in names:  # each hurts another one of the three
            hold(play(gateway, tritons, FAULTS[name], SECONDS))
