"""One of three Tritons is hurt under load, on both transports; `make chaos` hurts them more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import tiny_releases as tiny
from served import Gateway
from three_tritons import FAULTS, Tritons, hold, play, three_tritons

from triton_models.store import ReleaseStore

pytestmark = pytest.mark.e2e

SECONDS = 3.0


@pytest.fixture(scope="module")
def tiny_store(
    tmp_path_factory: pytest.TempPathFactory, embedded_triton_available: None
) -> ReleaseStore:
    store = ReleaseStore(tmp_path_factory.mktemp("tiny") / "store")
    tiny.publish(store, tiny.diagnoser(), "r1")
    tiny.route(store, "diagnose-measurements/r1")
    return store


@pytest.fixture(scope="module")
def tritons(tiny_store: ReleaseStore) -> Iterator[Tritons]:
    with three_tritons(Path(tiny_store.models_path)) as tritons:
        yield tritons


@contextmanager
def serving(
    store: ReleaseStore, tritons: Tritons, transport: str, folder: Path
) -> Iterator[Gateway]:
    gateway = Gateway(Path(store.models_path).parent, folder)
    targets = [word for target in tritons.targets for word in ("--triton", target)]
    gateway.start("--transport", transport, *targets)
    try:
        yield gateway
    finally:
        gateway.stop()


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
    with serving(tiny_store, tritons, transport, tmp_path) as gateway:
        for name in names:  # each hurts another one of the three
            hold(play(gateway, tritons, FAULTS[name], SECONDS))
