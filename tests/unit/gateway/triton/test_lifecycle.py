from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from fake_triton import Changes, FakeTriton, models_of, served
from manifests import manifest

from gateway.triton.lifecycle import Lifecycle
from gateway.triton.states import ReleaseState
from triton_models.hashing import file_hashes
from triton_models.plan_check import RunsOn
from triton_models.release import Manifest, Routes, RouteTarget
from triton_models.store import ReleaseStore
from triton_models.store_errors import Unreadable

POLL_S = 0.001


class World:
    """A store, Tritons, and a lifecycle that looks after them."""

    def __init__(self, folder: Path, *tritons: FakeTriton, **options: Any) -> None:
        self.folder = folder / "store"
        self.store = ReleaseStore(self.folder)
        self.tritons = tritons
        self.changes = Changes()
        self._empty = folder / "empty"
        self._empty.mkdir(exist_ok=True)
        self.lifecycle = Lifecycle(
            self.store,
            tritons,  # type: ignore[arg-type]
            poll_s=POLL_S,
            store_poll_s=POLL_S,
            on_change=self.changes,
            **options,
        )

    def publish(self, *releases: Manifest) -> None:
        """Put releases into the store and into every Triton's repository."""
        for release in releases:
            self.store.publish(release, self._empty, {})
            for triton in self.tritons:
                triton.repository |= models_of(release)

    def route(self, **lines: dict[str, float]) -> None:
        """Add a route file: by line (``_`` for ``-``), releases and weights."""
        number, _ = self.store.routes()
        routes = Routes(
            lines={
                line.replace("_", "-"): tuple(
                    RouteTarget(release=release, weight=weight)
                    for release, weight in targets.items()
                )
                for line, targets in lines.items()
            }
        )
        self.store.add_routes(routes, after=number)

    @property
    def states(self) -> tuple[ReleaseState, ...]:
        return self.lifecycle.states

    def serving(self) -> set[str]:
        return {f"{one.line}/{one.release}" for one in self.states if one.clients}

    def weights(self) -> dict[str, float]:
        return {one.release: one.weight for one in self.states}

    def details(self) -> dict[str, str]:
        return {f"{one.line}/{one.release}": one.detail for one in self.states}

    async def until(self, reached: Callable[[], object]) -> None:
        await self.changes.until(reached)

    async def until_serving(self, *names: str) -> None:
        await self.until(lambda: self.serving() == set(names))


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A store with ``score-risk/r1``, routed, ``r2`` of it and ``recommend/r1``, and one Triton."""
    world = World(tmp_path, FakeTriton())
    world.publish(manifest("score-risk"), manifest("score-risk", "r2"), manifest("recommend"))
    world.route(score_risk={"r1": 1})
    yield world
    await world.lifecycle.stop()


async def test_what_is_routed_is_loaded_and_serves(world: World) -> None:
    await world.lifecycle.start()
    await world.until_serving("score-risk/r1")
    (state,) = world.states
    assert state.manifest == manifest("score-risk")
    assert state.clients == world.tritons
    assert state.detail == ""
    assert world.tritons[0].loads == ["score-risk__r1"]


async def test_after_start_the_states_are_there_before_anything_is_loaded(world: World) -> None:
    await world.lifecycle.start()
    assert world.details() == {"score-risk/r1": "waiting for Triton at triton:8001"}
    assert world.changes.count == 1


async def test_states_are_by_line_and_falling_weight(world: World) -> None:
    world.route(score_risk={"r2": 0.2, "r1": 0.8}, recommend={"r1": 1})
    await world.lifecycle.start()
    assert [(one.line, one.release, one.weight) for one in world.states] == [
        ("recommend", "r1", 1),
        ("score-risk", "r1", 0.8),
        ("score-risk", "r2", 0.2),
    ]


async def test_a_release_that_does_not_fit_says_why_and_the_others_serve(world: World) -> None:
    world.route(score_risk={"r1": 1}, recommend={"r1": 1})
    metadata, _ = world.tritons[0].repository["recommend__r1"]
    del metadata.outputs[0]
    await world.lifecycle.start()
    await world.until(lambda: "Triton lacks it" in world.details()["recommend/r1"])
    await world.until_serving("score-risk/r1")
    assert world.details()["recommend/r1"] == (
        "output 'item_ids': the release says BYTES [-1], Triton lacks it"
    )


async def test_a_release_without_a_manifest_says_so_and_the_others_serve(world: World) -> None:
    world.route(score_risk={"r1": 1}, recommend={"r9": 1})
    await world.lifecycle.start()
    await world.until_serving("score-risk/r1")
    assert world.details()["recommend/r9"] == f"{world.folder} has no release recommend/r9"
    world.publish(manifest("recommend", "r9"))
    await world.until_serving("score-risk/r1", "recommend/r9")


async def test_a_line_that_nobody_declared_is_not_even_loaded(world: World) -> None:
    world.publish(manifest("score-risk").model_copy(update={"line": "diagnose-sound"}))
    world.route(score_risk={"r1": 1}, diagnose_sound={"r1": 1})
    await world.lifecycle.start()
    await world.until_serving("score-risk/r1")
    assert world.details()["diagnose-sound/r1"] == (
        "line 'diagnose-sound' has no declared tensors in this gateway"
    )
    assert world.tritons[0].loads == ["score-risk__r1"]


async def test_a_variant_that_the_release_lacks_is_not_even_loaded(tmp_path: Path) -> None:
    world = World(tmp_path, FakeTriton(), variant="fused")
    world.publish(manifest("score-risk"))
    world.route(score_risk={"r1": 1})
    await world.lifecycle.start()
    assert world.details() == {"score-risk/r1": "it has no variant 'fused', only ensemble"}
    await world.lifecycle.stop()
    assert world.tritons[0].loads == []


BOTH = manifest("score-risk", variants=("ensemble", "fused"))


@pytest.fixture
async def two_variants(tmp_path: Path) -> AsyncIterator[World]:
    """A release of both variants, routed, and two Tritons that have no GPU."""
    world = World(tmp_path, FakeTriton(target="a:1"), FakeTriton(target="b:1"))
    world.publish(BOTH)
    world.route(score_risk={"r1": 1})
    yield world
    await world.lifecycle.stop()


async def test_on_a_cpu_the_fused_variant_answers_and_is_all_that_is_loaded(
    two_variants: World,
) -> None:
    await two_variants.lifecycle.start()
    assert two_variants.states[0].variant == "fused"
    await two_variants.until(lambda: two_variants.states[0].clients == two_variants.tritons)
    assert two_variants.states[0].variant == "fused"
    assert [triton.loads for triton in two_variants.tritons] == [["score-risk__r1__fused"]] * 2


async def test_a_release_without_the_fused_variant_answers_with_its_ensemble(
    world: World,
) -> None:
    await world.lifecycle.start()
    await world.until_serving("score-risk/r1")
    assert world.states[0].variant == "ensemble"


async def test_where_tritons_differ_those_with_a_gpu_are_asked(two_variants: World) -> None:
    here, there = two_variants.tritons
    there.move_to_gpu(BOTH.model_of("fused"))
    await two_variants.lifecycle.start()
    await two_variants.until(lambda: two_variants.states[0].clients == (there,))
    assert two_variants.states[0].variant == "ensemble"
    there.up = False
    await two_variants.until(lambda: two_variants.states[0].clients == (here,))
    assert two_variants.states[0].variant == "fused"


async def test_the_variant_that_is_asked_for_answers(tmp_path: Path) -> None:
    world = World(tmp_path, FakeTriton(), variant="ensemble")
    world.publish(BOTH)
    world.route(score_risk={"r1": 1})
    await world.lifecycle.start()
    assert world.states[0].variant == "ensemble"
    await world.until_serving("score-risk/r1")
    await world.lifecycle.stop()
    assert world.tritons[0].loads == ["score-risk__r1"]


async def test_a_release_that_is_routed_anew_takes_over_when_it_serves(world: World) -> None:
    await world.lifecycle.start()
    await world.until_serving("score-risk/r1")
    (triton,) = world.tritons
    triton.may_load.clear()
    world.route(score_risk={"r2": 1})
    await world.until(lambda: len(world.states) == 2)
    assert world.serving() == {"score-risk/r1"}, "nobody answers while the new one is loaded"
    triton.may_load.set()
    await world.until(lambda: len(world.states) == 1)
    assert world.serving() == {"score-risk/r2"}


async def test_a_new_release_that_does_not_fit_leaves_the_old_one_serving(world: World) -> None:
    await world.lifecycle.start()
    await world.until_serving("score-risk/r1")
    del world.tritons[0].repository["score-risk__r2"]
    world.route(score_risk={"r2": 1})
    await world.until(lambda: "cannot load it" in world.details().get("score-risk/r2", ""))
    assert world.serving() == {"score-risk/r1"}


async def test_a_new_release_of_no_weight_does_not_push_the_old_one_out(world: World) -> None:
    await world.lifecycle.start()
    await world.until_serving("score-risk/r1")
    world.route(score_risk={"r2": 0})
    await world.until_serving("score-risk/r1", "score-risk/r2")


async def test_what_never_served_is_forgotten_with_its_route(world: World) -> None:
    world.tritons[0].may_load.clear()
    world.route(score_risk={"r9": 1})
    await world.lifecycle.start()
    world.route(score_risk={"r1": 1})
    await world.until(lambda: "score-risk/r1" in world.details())
    assert len(world.states) == 1


async def test_a_line_that_is_routed_no_longer_is_gone(world: World) -> None:
    world.route(score_risk={"r1": 1}, recommend={"r1": 1})
    await world.lifecycle.start()
    await world.until_serving("score-risk/r1", "recommend/r1")
    world.route(recommend={"r1": 1})
    await world.until(lambda: len(world.states) == 1)
    assert world.serving() == {"recommend/r1"}


async def test_a_route_file_that_nobody_understands_leaves_what_serves(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    await world.lifecycle.start()
    await world.until_serving("score-risk/r1")
    (world.folder / "routes" / "000002.yaml").write_text("lines: [")
    while "The routes cannot be read" not in caplog.text:
        await world.tritons[0].wait_looks(1)
    assert world.serving() == {"score-risk/r1"}


async def test_routes_that_nobody_understands_at_the_start_are_an_error(world: World) -> None:
    (world.folder / "routes" / "000002.yaml").write_text("lines: [")
    with pytest.raises(Unreadable):
        await world.lifecycle.start()


async def test_service_returns_after_triton_was_gone(world: World) -> None:
    await world.lifecycle.start()
    await world.until_serving("score-risk/r1")
    (triton,) = world.tritons
    triton.up = False
    triton.restart()
    gone = {"score-risk/r1": "Triton at triton:8001 does not answer"}
    await world.until(lambda: world.details() == gone)
    assert world.serving() == set()
    triton.up = True
    await world.until_serving("score-risk/r1")


async def test_two_tritons_serve_side_by_side_and_one_goes_on_alone(tmp_path: Path) -> None:
    here, there = FakeTriton(target="a:1"), FakeTriton(target="b:1")
    world = World(tmp_path, here, there)
    world.publish(manifest("score-risk"))
    world.route(score_risk={"r1": 1})
    await world.lifecycle.start()
    await world.until(lambda: world.states[0].clients == (here, there))
    here.up = False
    await world.until(lambda: world.states[0].clients == (there,))
    assert world.states[0].detail == ""
    there.up = False
    gone = "Triton at a:1 does not answer; Triton at b:1 does not answer"
    await world.until(lambda: world.details() == {"score-risk/r1": gone})
    assert not world.states[0].clients
    await world.lifecycle.stop()


async def test_the_same_fault_of_two_tritons_is_told_once(tmp_path: Path) -> None:
    world = World(tmp_path, FakeTriton(target="a:1"), FakeTriton(target="b:1"))
    world.publish(manifest("score-risk"))
    for triton in world.tritons:
        triton.repository["score-risk__r1"] = served(manifest("score-risk"), max_batch_size=8)
    world.route(score_risk={"r1": 1})
    await world.lifecycle.start()
    fault = "max_batch_size: the API allows 1000 rows, Triton takes 8"
    await world.until(lambda: world.details() == {"score-risk/r1": fault})
    await world.lifecycle.stop()


async def test_of_several_tritons_the_one_whose_models_do_not_fit_is_named(tmp_path: Path) -> None:
    world = World(tmp_path, FakeTriton(target="a:1"), FakeTriton(target="b:1"))
    world.publish(manifest("score-risk"))
    there = world.tritons[1]
    there.repository["score-risk__r1"] = served(manifest("score-risk"), max_batch_size=8)
    world.route(score_risk={"r1": 1})
    await world.lifecycle.start()
    fault = "Triton at b:1: max_batch_size: the API allows 1000 rows, Triton takes 8"
    await world.until(lambda: world.serving() and world.states[0].partly == fault)
    await world.lifecycle.stop()


async def test_calls_move_when_every_triton_is_ready_and_not_before(tmp_path: Path) -> None:
    here, there = FakeTriton(target="a:1"), FakeTriton(target="b:1")
    world = World(tmp_path, here, there)
    world.publish(manifest("score-risk"), manifest("score-risk", "r2"))
    world.route(score_risk={"r1": 1})
    await world.lifecycle.start()
    await world.until(lambda: world.states[0].clients == (here, there))
    there.may_load.clear()
    world.route(score_risk={"r1": 0.5, "r2": 0.5})
    await world.until(lambda: any(one.clients == (here,) for one in world.states))
    assert world.weights() == {"r1": 1, "r2": 0}, "one of two Tritons has it"
    there.may_load.set()
    await world.until(lambda: world.weights() == {"r1": 0.5, "r2": 0.5})
    await world.lifecycle.stop()


async def test_a_triton_that_is_away_does_not_hold_up_the_others(tmp_path: Path) -> None:
    here, there = FakeTriton(target="a:1"), FakeTriton(target="b:1")
    world = World(tmp_path, here, there)
    world.publish(manifest("score-risk"), manifest("score-risk", "r2"))
    world.route(score_risk={"r1": 1})
    there.up = False
    await world.lifecycle.start()
    await world.until_serving("score-risk/r1")
    world.route(score_risk={"r2": 1})
    await world.until(lambda: world.weights() == {"r2": 1})
    await world.lifecycle.stop()


async def test_a_canary_that_cannot_be_loaded_takes_nothing_from_the_stable_release(
    world: World,
) -> None:
    await world.lifecycle.start()
    await world.until_serving("score-risk/r1")
    del world.tritons[0].repository["score-risk__r2"]
    world.route(score_risk={"r1": 0.5, "r2": 0.5})
    await world.until(lambda: "cannot load it" in world.details().get("score-risk/r2", ""))
    assert world.weights() == {"r1": 1, "r2": 0}


async def test_if_nothing_else_serves_half_of_a_route_file_is_better_than_none(
    world: World,
) -> None:
    await world.lifecycle.start()
    await world.until_serving("score-risk/r1")
    (triton,) = world.tritons
    world.route(score_risk={"r2": 0.5, "r9": 0.5})
    await world.until(lambda: "score-risk/r2" in world.serving())
    assert world.weights() == {"r1": 1, "r2": 0, "r9": 0}
    del triton.repository["score-risk__r1"]
    triton.restart()
    await world.until(lambda: world.serving() == {"score-risk/r2"})
    assert world.weights()["r2"] == 0.5


async def test_what_is_routed_no_longer_is_unloaded_once_nobody_is_under_way(
    tmp_path: Path,
) -> None:
    world = World(tmp_path, FakeTriton(), unload_after_s=0)
    world.publish(manifest("score-risk"), manifest("score-risk", "r2"))
    world.route(score_risk={"r1": 1})
    busy = {("score-risk", "r1")}
    world.lifecycle.ask_before_unloading(busy.__contains__)
    await world.lifecycle.start()
    await world.until_serving("score-risk/r1")
    (triton,) = world.tritons
    world.route(score_risk={"r2": 1})
    await world.until(lambda: world.weights() == {"r2": 1})
    await triton.wait_looks(20)
    assert world.lifecycle.clients("score-risk", "r1") == (triton,), "calls are under way"
    assert "score-risk__r1" in triton.loaded
    busy.clear()
    while "score-risk__r1" in triton.loaded:
        await triton.wait_looks(1)
    assert world.lifecycle.clients("score-risk", "r1") == ()
    await triton.wait_looks(20)
    assert triton.loads.count("score-risk__r1") == 1, "it was loaded again"
    await world.lifecycle.stop()


async def test_what_comes_back_in_time_was_never_unloaded(world: World) -> None:
    await world.lifecycle.start()
    await world.until_serving("score-risk/r1")
    world.route(score_risk={"r2": 1})
    await world.until(lambda: world.weights() == {"r2": 1})
    world.route(score_risk={"r1": 1})
    await world.until(lambda: world.weights() == {"r1": 1})
    assert world.tritons[0].loads == ["score-risk__r1", "score-risk__r2"]


async def test_a_shadow_is_loaded_and_answers_nobody(world: World) -> None:
    number, routes = world.store.routes()
    world.store.add_routes(
        routes.model_copy(update={"shadows": {"score-risk": "r2"}}), after=number
    )
    await world.lifecycle.start()
    while not world.lifecycle.shadows["score-risk"].clients:
        await world.tritons[0].wait_looks(1)
    assert world.weights() == {"r1": 1}
    assert world.lifecycle.shadows["score-risk"].release == "r2"


async def test_a_release_whose_files_were_altered_is_not_loaded_and_says_which(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    slipped_in = world.folder / "models" / "score-risk__r2" / "2" / "model.onnx"
    slipped_in.parent.mkdir(parents=True)
    slipped_in.touch()
    await world.lifecycle.start()
    await world.until_serving("score-risk/r1")
    world.route(score_risk={"r2": 1})
    fault = (
        "The files of score-risk/r2 are not those released "
        "(not in the manifest: score-risk__r2/2/model.onnx)"
    )
    await world.until(lambda: world.details().get("score-risk/r2") == fault)
    assert world.weights() == {"r1": 1, "r2": 0}
    assert "score-risk__r2" not in world.tritons[0].loads
    assert fault in caplog.text


async def test_a_look_that_fails_is_logged_and_repeated(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    (triton,) = world.tritons
    look, failures = triton.is_live, iter([ZeroDivisionError("odd")])

    async def is_live() -> bool:
        for failure in failures:
            raise failure
        return await look()

    triton.is_live = is_live  # type: ignore[method-assign]
    await world.lifecycle.start()
    await world.until_serving("score-risk/r1")
    assert "ZeroDivisionError: odd" in caplog.text


async def test_only_changes_are_told(world: World) -> None:
    await world.lifecycle.start()
    await world.until_serving("score-risk/r1")
    told, states = world.changes.count, world.states
    await world.tritons[0].wait_looks(20)
    assert world.changes.count == told
    assert world.states is states


async def test_stopping_ends_every_task_and_closes_every_connection(world: World) -> None:
    await world.lifecycle.start()
    await world.until_serving("score-risk/r1")
    await world.lifecycle.stop()
    assert world.tritons[0].closed
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_where_plans_are_wanted_a_release_without_is_refused_before_triton_is_asked(
    tmp_path: Path,
) -> None:
    models = tmp_path / "models"
    profile = models / "score-risk__r1__core" / "configs" / "tensorrt.pbtxt"
    profile.parent.mkdir(parents=True)
    profile.write_text("")
    release = manifest("score-risk").model_copy(update={"files": file_hashes(models)})
    triton = FakeTriton(release)
    world = World(tmp_path, triton, where=RunsOn("tensorrt", "9.0"))
    world.store.publish(release, models, {})
    triton.repository |= models_of(release)
    world.route(score_risk={"r1": 1})
    await world.lifecycle.start()
    try:
        await world.until(lambda: "has no plan" in world.details().get("score-risk/r1", ""))
    finally:
        await world.lifecycle.stop()
    assert "model-builder compile score-risk/r1" in world.details()["score-risk/r1"]
    assert triton.loads == []
