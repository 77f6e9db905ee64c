"""Releases that must never be loaded: each is refused with its own message, and nothing changes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_releases as tiny
from fake_runner import RecordingInference
from signing_keys import make_keys

from triton_models.signing import Signer, Verifier
from triton_models.store import ReleaseStore
from triton_models.trust import Trust

pytestmark = pytest.mark.contract

LINE = "diagnose-measurements"
Serve = Callable[..., AbstractAsyncContextManager[Any]]
Spoil = Callable[[Path], None]
"""Harms a release that lies in the store at a path."""


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def trust(keys: tuple[Path, Path]) -> Trust:
    return Trust(Verifier(keys[1]), required=True)


@pytest.fixture(scope="module")
def good(releases: ReleaseStore, keys: tuple[Path, Path]) -> str:
    """A release that is signed and as it was released."""
    tiny.publish(releases, tiny.diagnoser(), "good", Signer(keys[0]))
    return "good"


def flip_a_byte(root: Path, release: str) -> None:
    path = root / "models" / f"{LINE}__{release}__fused" / "1" / "model.onnx"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def edit_the_manifest(root: Path, release: str) -> None:
    path = root / "releases" / LINE / f"{release}.json"
    path.write_bytes(path.read_bytes().replace(b'"value": 0.5', b'"value": 0.9'))


def truncate_the_upload(root: Path, release: str) -> None:
    path = root / "models" / f"{LINE}__{release}__work" / "1" / "model.onnx"
    path.write_bytes(path.read_bytes()[:-100])


def take_the_signature_away(root: Path, release: str) -> None:
    (root / "releases" / LINE / f"{release}.sig").unlink()


def leave_as_it_is(root: Path, release: str) -> None:
    """Its manifest says already what is not so."""


THREE = {"labels": ("big", "middling", "small")}


@pytest.mark.parametrize(
    ("release", "spoil", "changes", "message"),
    [
        ("flipped", flip_a_byte, {}, f"(changed: {LINE}__flipped__fused/1/model.onnx)"),
        ("edited", edit_the_manifest, {}, "edited.json is not to be trusted: it is not as it was"),
        ("torn", truncate_the_upload, {}, f"(changed: {LINE}__torn__work/1/model.onnx)"),
        ("bare", take_the_signature_away, {}, "bare.json is not to be trusted: it is not signed"),
        ("wide", leave_as_it_is, THREE, "output 'probabilities': must be FP32 [3]"),
    ],
    ids=["a flipped byte", "an edited manifest", "a truncated upload", "no signature",
         "another shape"],
)  # fmt: skip
async def test_a_release_that_is_not_as_released_changes_nothing(
    release: str,
    spoil: Callable[[Path, str], None],
    changes: dict[str, Any],
    message: str,
    good: str,
    store: ReleaseStore,
    keys: tuple[Path, Path],
    trust: Trust,
    serve: Serve,
) -> None:
    tiny.publish(store, tiny.diagnoser(), release, Signer(keys[0]), **changes)
    spoil(Path(store.models_path).parent, release)
    async with serve(f"{LINE}/{good}", trust=trust) as served:
        await served.until_serving(f"{LINE}/{good}")
        tiny.route(store, f"{LINE}/{release}")
        async with asyncio.timeout(30):
            await served.changes.until(
                lambda: message in getattr(served.states.get(f"{LINE}/{release}"), "detail", "")
            )
        states = served.states
        assert states[f"{LINE}/{good}"].weight == 1
        assert states[f"{LINE}/{release}"].weight == 0
        assert not states[f"{LINE}/{release}"].clients
        chosen = served.runner.choose(LINE, "somebody")
        assert chosen.release == good
        numbers = {"numbers": np.array([(0, 1.5)], np.float32)}
        answer = await served.runner.run(chosen, numbers, timeout_s=10, trace=RecordingInference())
        assert answer["probabilities"].argmax() == 0
        if release != "wide":  # that one Triton had to load, to be looked at
            assert not await served.client.is_loaded(f"{LINE}__{release}__fused")


async def test_a_release_routed_no_longer_is_unloaded_when_its_calls_are_done(
    store: ReleaseStore, serve: Serve
) -> None:
    slow = {"numbers": np.array([(600_000, 1.5)], np.float32)}
    async with serve(f"{LINE}/r1") as served:
        await served.until_serving(f"{LINE}/r1")
        first = served.runner.choose(LINE, "")
        call = asyncio.create_task(
            served.runner.run(first, slow, timeout_s=60, trace=RecordingInference())
        )
        await asyncio.sleep(0)
        assert served.runner.busy((LINE, "r1"))
        tiny.route(store, f"{LINE}/r2")
        await served.until_serving(f"{LINE}/r2")
        answer = await call
        assert answer["probabilities"].shape == (1, 2)
        late = await served.runner.run(
            first,
            {"numbers": np.array([(0, 1)], np.float32)},
            timeout_s=9,
            trace=RecordingInference(),
        )
        assert late["probabilities"].shape == (1, 2), "a call that had chosen it is answered"
        async with asyncio.timeout(30):
            while await served.client.is_loaded(first.model_name):
                await asyncio.sleep(0.05)
        assert await served.client.is_loaded(served.runner.choose(LINE, "").model_name)


async def test_a_shadow_is_asked_and_compared_and_answers_nobody(
    store: ReleaseStore, serve: Serve
) -> None:
    async with serve(f"{LINE}/r1") as served:
        await served.until_serving(f"{LINE}/r1")
        number, routes = store.routes()
        store.add_routes(routes.model_copy(update={"shadows": {LINE: "r2"}}), after=number)
        async with asyncio.timeout(30):
            while not (LINE in served.lifecycle.shadows and served.lifecycle.shadows[LINE].clients):
                await asyncio.sleep(0.02)
        assert [one.release for one in served.lifecycle.states] == ["r1"]
        chosen = served.runner.choose(LINE, "")
        numbers = {"numbers": np.array([(0, 1.5), (0, -2)], np.float32)}
        for _ in range(3):
            await served.runner.run(chosen, numbers, timeout_s=9, trace=RecordingInference())
        async with asyncio.timeout(30):
            while not any(tally.outputs for tally in served.runner.shadowing.tallies):
                await asyncio.sleep(0.02)
        (tally,) = served.runner.shadowing.tallies
        assert (tally.release, tally.beside, tally.failed) == ("r2", "r1", 0)
        assert tally.outputs["probabilities"].differ == 0, "they are the same network"
        await served.runner.shadowing.close()
