from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from fake_runner import FakeCall
from manifests import manifest, routed_store
from signing_keys import make_keys

from gateway.core import running_core
from gateway.errors import ModelUnavailable
from gateway.settings import Settings
from gateway.starting import StartFailed
from gateway.telemetry.tracing import NO_TRACE
from gateway.triton.states import ReleaseState
from triton_models.release import Routes
from triton_models.store import ReleaseStore

pytestmark = pytest.mark.usefixtures("clean_environment")

NO_TRITON = "127.0.0.1:1"


@pytest.fixture
def store(tmp_path: Path) -> ReleaseStore:
    return routed_store(tmp_path / "store")


@pytest.fixture
def settings(store: ReleaseStore, tmp_path: Path) -> Settings:
    return Settings(store=str(tmp_path / "store"), triton=(NO_TRITON,))


async def fail_to_start(settings: Settings) -> str:
    """Why it cannot start; nothing may be left running."""
    with pytest.raises(StartFailed) as caught:
        async with asyncio.timeout(20), running_core(settings):
            pass
    assert asyncio.all_tasks() == {asyncio.current_task()}, "something is left running"
    return str(caught.value)


async def test_it_knows_what_is_routed_though_triton_is_away(settings: Settings) -> None:
    changes: list[Sequence[ReleaseState]] = []
    async with running_core(settings, on_change=changes.append) as core:
        (route,) = core.runner.routes()
        assert (route.line, route.release, route.serving) == ("score-risk", "r1", False)
        with pytest.raises(ModelUnavailable, match=f"waiting for Triton at {NO_TRITON}"):
            core.runner.choose("score-risk", "")
    assert [state.release for state in changes[0]] == ["r1"]


async def test_answers_are_kept_if_the_settings_say_so_and_go_with_their_release(
    settings: Settings, store: ReleaseStore
) -> None:
    async with running_core(settings) as core:
        assert core.cache is None
    changed = asyncio.Event()

    def change(states: Sequence[ReleaseState]) -> None:
        if not states:
            changed.set()

    async def run() -> bytes:
        return b"answer"

    caching = settings.model_copy(update={"cache_bytes": 1 << 20})
    async with running_core(caching, on_change=change) as core:
        assert core.cache is not None
        model = manifest("score-risk").ensemble
        await core.cache.get(b"routed", run, model=model)
        await core.cache.get(b"gone", run, model="another")
        assert len(core.cache) == 1
        store.add_routes(Routes(lines={}), after=1)
        await asyncio.wait_for(changed.wait(), 20)
        assert len(core.cache) == 0


async def test_limits_of_clients_change_while_it_runs(settings: Settings) -> None:
    async with running_core(settings) as core:
        assert core.entrance.is_open
        new = settings.model_copy(update={"domain_limits": {"risk": 1}})
        for apply in core.live:
            apply(new)
        assert not core.entrance.is_open
        for apply in core.live:
            apply(settings)
        assert core.entrance.is_open


async def test_nothing_is_left_running(settings: Settings) -> None:
    async with running_core(settings):
        assert len(asyncio.all_tasks()) > 1
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_spans_say_the_instance_and_are_written_when_it_is_left(
    settings: Settings, tmp_path: Path
) -> None:
    traced = settings.model_copy(update={"traces_file": tmp_path / "t.jsonl"})
    async with running_core(traced, instance_id="gateway-7") as core:
        core.tracing.start_call(FakeCall()).finish(0)
    assert core.tracing.start_call(FakeCall()) is NO_TRACE
    (resource,) = json.loads((tmp_path / "t.jsonl").read_text())["resourceSpans"]
    attributes = {one["key"]: one["value"] for one in resource["resource"]["attributes"]}
    assert attributes["service.instance.id"] == {"stringValue": "gateway-7"}


async def test_damaged_routes_are_a_failed_start(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "store" / "routes" / "000002.yaml").write_text("lines: [")
    assert "000002.yaml cannot be read" in await fail_to_start(settings)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"otlp_endpoint": "gopher://x"}, "'gopher://x' is no collector's address"),
        ({"variant": "fused"}, "--variant fused: score-risk/r1 has only ensemble."),
    ],
)
async def test_settings_that_cannot_be_met_are_a_failed_start(
    change: dict[str, Any], reason: str, settings: Settings
) -> None:
    assert reason in await fail_to_start(settings.model_copy(update=change))


async def test_a_key_that_is_none_is_a_failed_start(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "sign.pub"
    path.write_text("hello")
    said = await fail_to_start(settings.model_copy(update={"public_key": path}))
    assert f"{path} holds no usable key" in said


async def test_an_unsigned_release_is_not_served_where_a_signature_is_required(
    settings: Settings, tmp_path: Path
) -> None:
    _, public = make_keys(tmp_path)
    asked = {"public_key": public, "require_signed": True}
    async with running_core(settings.model_copy(update=asked)) as core:
        (route,) = core.runner.routes()
        assert "r1.json is not to be trusted: it is not signed" in route.detail
        assert not route.serving


async def test_a_failure_of_whoever_uses_it_goes_through(settings: Settings) -> None:
    with pytest.raises(OSError, match="of the transport"):
        async with running_core(settings):
            raise OSError("of the transport")
