"""One Triton for the session, a store of tiny releases, and gateways in and out of process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import tiny_releases as tiny
from fake_triton import Changes
from served import Gateway

from gateway.inference.admission import Admission
from gateway.inference.triton_runner import TritonRunner
from gateway.triton.client import TritonClient
from gateway.triton.lifecycle import Lifecycle
from gateway.triton.states import ReleaseState
from triton_models.server import EmbeddedTriton
from triton_models.store import ReleaseStore
from triton_models.trust import Trust

POLL_S = 0.05


@dataclass
class Served:
    """What looks after the releases on a Triton, and asks them."""

    store: ReleaseStore
    target: str
    variant: str = "auto"
    trust: Trust | None = None
    changes: Changes = field(default_factory=Changes)

    def __post_init__(self) -> None:
        self.client = TritonClient(self.target)
        self.lifecycle = Lifecycle(
            self.store,
            [self.client],
            variant=self.variant,
            trust=self.trust,
            unload_after_s=POLL_S,
            poll_s=POLL_S,
            store_poll_s=POLL_S,
            on_change=self.changes,
        )
        self.runner = TritonRunner(self.lifecycle, lambda line: Admission(line, 16, 64))
        self.lifecycle.ask_before_unloading(self.runner.busy)

    @property
    def states(self) -> dict[str, ReleaseState]:
        return {f"{one.line}/{one.release}": one for one in self.lifecycle.states}

    async def until_serving(self, *names: str) -> None:
        """Wait until exactly these of the routed releases serve."""
        async with asyncio.timeout(30):
            await self.changes.until(
                lambda: {name for name, one in self.states.items() if one.clients} == set(names)
            )


@pytest.fixture(scope="session")
def releases(
    tmp_path_factory: pytest.TempPathFactory, embedded_triton_available: None
) -> ReleaseStore:
    """A store where nothing is routed, with a release that does not say what it is."""
    store = ReleaseStore(tmp_path_factory.mktemp("releases"))
    tiny.publish(store, tiny.recommender(), "r1")
    tiny.publish(store, tiny.recommender(), "r2")
    tiny.publish(store, tiny.diagnoser(), "r1")
    good = tiny.publish(store, tiny.diagnoser(), "r2")
    outputs = tuple(
        one.model_copy(update={"dims": (*one.dims[:-1], 3)})
        if one.name in {"probabilities", "contributions"}
        else one
        for one in good.outputs
    )
    labels = ("big", "middling", "small")
    tiny.publish(store, tiny.diagnoser(), "misfit", labels=labels, outputs=outputs)
    return store


@pytest.fixture
def store(releases: ReleaseStore) -> Iterator[ReleaseStore]:
    """The same store; its routes are the test's own."""
    yield releases
    for file in (Path(releases.models_path).parent / "routes").glob("*.yaml"):
        file.unlink()


@pytest.fixture(scope="session")
def tiny_triton(releases: ReleaseStore) -> Iterator[EmbeddedTriton]:
    """A Triton that reads the store; a test may kill it, it comes back."""
    with EmbeddedTriton(Path(releases.models_path)) as server:
        server.wait_ready()
        yield server


@pytest.fixture
def serve(store: ReleaseStore, tiny_triton: EmbeddedTriton) -> Callable[..., object]:
    """Gives a context: routes releases, serves them, and ends."""

    @asynccontextmanager
    async def serving(
        *names: str, variant: str = "auto", trust: Trust | None = None
    ) -> AsyncIterator[Served]:
        tiny.route(store, *names)
        served = Served(store, tiny_triton.target, variant, trust)
        await served.lifecycle.start()
        try:
            yield served
        finally:
            await served.lifecycle.stop()

    return serving


@pytest.fixture
def start_gateway(store: ReleaseStore, tmp_path: Path) -> Iterator[Callable[..., Gateway]]:
    """Starts a gateway on the store, with what is routed in it; it is gone after the test."""
    process = Gateway(Path(store.models_path).parent, tmp_path)

    def start(*how: str) -> Gateway:
        process.start(*how)
        return process

    yield start
    if process.process is not None and process.process.poll() is None:
        process.process.kill()
        process.process.wait()
