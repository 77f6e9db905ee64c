from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from staged_release import LINE, stage

from model_builder import routing
from model_builder.errors import NothingToRollBack, NotPromotable
from triton_models.release import Routes
from triton_models.store import ReleaseStore
from triton_models.store_errors import ReleaseNotFound, RoutesChanged

FIRST = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> ReleaseStore:
    """A store with r1 to r5, a day apart, and ``bad``, which the gate refused; nothing routed."""
    store = ReleaseStore(tmp_path / "store")
    for day in range(1, 6):
        put(store, tmp_path, f"r{day}", create_time=FIRST + timedelta(days=day))
    put(store, tmp_path, "bad", verdict="refused", create_time=FIRST)
    return store


SERVED = {"fused": {"score": {"compared": "torch-served", "rows": 9, "tolerance": 1e-4,
                              "max_difference": 0.0}}}  # fmt: skip


def put(store: ReleaseStore, folder: Path, release: str, **changes: object) -> None:
    manifest, models = stage(folder, release, **{"served_parity": SERVED, **changes})
    store.publish(manifest, models, {})


def shares(store: ReleaseStore) -> dict[str, float]:
    return {one.release: one.weight for one in store.routes()[1].lines.get(LINE, ())}


def test_a_promoted_release_gets_all_calls(store: ReleaseStore) -> None:
    change = routing.promote(store, LINE, "r1")
    assert (change.number, shares(store)) == (1, {"r1": 1})
    assert change.after.note == "promote score-risk/r1"
    assert change.after.create_time is not None


def test_a_canary_gets_its_share_and_the_others_the_rest(store: ReleaseStore) -> None:
    routing.promote(store, LINE, "r1")
    change = routing.promote(store, LINE, "r2", 0.05)
    assert shares(store) == {"r1": 0.95, "r2": 0.05}
    assert change.after.note == "promote score-risk/r2 --weight 5%"
    routing.promote(store, LINE, "r2", 0.5)
    assert shares(store) == {"r1": 0.5, "r2": 0.5}
    routing.promote(store, LINE, "r3", 0.2)
    assert shares(store) == pytest.approx({"r1": 0.4, "r2": 0.4, "r3": 0.2})
    routing.promote(store, LINE, "r3")
    assert shares(store) == {"r3": 1}


def test_a_share_needs_somebody_to_take_the_rest(store: ReleaseStore) -> None:
    with pytest.raises(NotPromotable, match="nothing else of 'score-risk' is routed"):
        routing.promote(store, LINE, "r1", 0.05)
    assert store.routes()[0] == 0


def test_what_the_gate_refused_or_nobody_released_is_not_promoted(store: ReleaseStore) -> None:
    with pytest.raises(NotPromotable, match="score-risk/bad is not promoted: the gate refused it"):
        routing.promote(store, LINE, "bad")
    with pytest.raises(ReleaseNotFound):
        routing.promote(store, LINE, "r9")
    assert store.routes()[0] == 0


def test_what_was_not_proven_is_promoted_only_if_it_is_said_again(
    store: ReleaseStore, tmp_path: Path
) -> None:
    put(store, tmp_path, "hope", served_parity={})
    with pytest.raises(NotPromotable, match="built without the proof"):
        routing.promote(store, LINE, "hope")
    assert routing.promote(store, LINE, "hope", unproven=True).number == 1


def test_other_lines_are_left_as_they_are(store: ReleaseStore, tmp_path: Path) -> None:
    routes = Routes.model_validate({"lines": {"recommend": [{"release": "m"}]}})
    store.add_routes(routes, after=0)
    routing.promote(store, LINE, "r1")
    assert store.routes()[1].lines["recommend"] == routes.lines["recommend"]


def test_the_rollback_of_a_promotion_brings_back_what_was_before(store: ReleaseStore) -> None:
    routing.promote(store, LINE, "r1")
    routing.promote(store, LINE, "r2")
    change = routing.rollback(store, "risk")
    assert shares(store) == {"r1": 1}
    assert (change.number, change.after.restores) == (3, {LINE: 1})
    with pytest.raises(NothingToRollBack, match="'risk' had no other release before"):
        routing.rollback(store, "risk")


def test_rolling_back_again_goes_back_further_and_not_forth(store: ReleaseStore) -> None:
    for release in ("r1", "r2", "r3"):
        routing.promote(store, LINE, release)
    assert [next(iter(shares(routing_back(store)))) for _ in range(2)] == ["r2", "r1"]
    routing.promote(store, LINE, "r4")
    routing.rollback(store, LINE)
    assert shares(store) == {"r1": 1}, "what answered before r4, not what was left behind"


def routing_back(store: ReleaseStore) -> ReleaseStore:
    routing.rollback(store, "risk")
    return store


def test_a_rolled_back_canary_leaves_the_stable_release_alone(store: ReleaseStore) -> None:
    routing.promote(store, LINE, "r1")
    routing.promote(store, LINE, "r2", 0.05)
    routing.rollback(store, "risk")
    assert shares(store) == {"r1": 1}


def test_changes_of_another_line_are_no_steps_back(store: ReleaseStore) -> None:
    routing.promote(store, LINE, "r1")
    routing.promote(store, LINE, "r2")
    number, routes = store.routes()
    lines = {**routes.lines, "recommend": routes.lines[LINE]}
    store.add_routes(routes.model_copy(update={"lines": lines}), after=number)
    routing.rollback(store, "risk")
    assert shares(store) == {"r1": 1}
    assert "recommend" in store.routes()[1].lines


def test_a_shadow_is_named_promoted_and_stopped(store: ReleaseStore) -> None:
    routing.promote(store, LINE, "r1")
    with pytest.raises(NotPromotable, match="it answers calls already"):
        routing.shadow(store, LINE, "r1")
    routing.shadow(store, LINE, "r2")
    assert store.routes()[1].shadows == {LINE: "r2"}
    assert shares(store) == {"r1": 1}
    routing.promote(store, LINE, "r3", 0.1)
    assert store.routes()[1].shadows == {LINE: "r2"}, "it is another release"
    routing.promote(store, LINE, "r2", 0.1)
    assert store.routes()[1].shadows == {}, "it answers now"
    routing.shadow(store, LINE, "r4")
    routing.shadow(store, LINE, None)
    assert store.routes()[1].shadows == {}


def test_a_shadow_needs_somebody_to_be_compared_with(store: ReleaseStore) -> None:
    with pytest.raises(NotPromotable, match="no release of 'score-risk' is routed"):
        routing.shadow(store, LINE, "r1")
    with pytest.raises(NotPromotable, match="the gate refused it"):
        routing.shadow(store, LINE, "bad")


def test_a_change_of_routes_that_are_no_longer_in_force_is_refused(store: ReleaseStore) -> None:
    routing.promote(store, LINE, "r1")
    for change in (
        lambda: routing.promote(store, LINE, "r2", after=0),
        lambda: routing.shadow(store, LINE, "r2", after=0),
        lambda: routing.rollback(store, "risk", after=7),
    ):
        with pytest.raises(RoutesChanged, match="were changed by somebody else"):
            change()
    assert store.routes()[0] == 1


def test_of_two_promotions_at_once_one_wins_and_the_other_says_so_a_hundred_times(
    store: ReleaseStore,
) -> None:
    routing.promote(store, LINE, "r1")
    for number in range(1, 101):
        start, won, lost = threading.Barrier(2), [], []

        def promote(release: str) -> None:
            start.wait()  # noqa: B023
            try:
                won.append(routing.promote(store, LINE, release, after=number))  # noqa: B023
            except RoutesChanged as error:
                lost.append(error)  # noqa: B023

        threads = [threading.Thread(target=promote, args=(name,)) for name in ("r2", "r3")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (len(won), len(lost)) == (1, 1)
        assert store.routes() == (number + 1, won[0].after)


def test_prune_removes_what_nobody_needs_and_nothing_else(store: ReleaseStore) -> None:
    routing.promote(store, LINE, "r1")
    routing.promote(store, LINE, "r2")
    routing.shadow(store, LINE, "r3")
    expected = [(LINE, "bad"), (LINE, "r4")]
    assert routing.prunable(store, keep=1) == expected
    assert routing.prune(store, keep=1) == expected
    assert store.releases() == [(LINE, name) for name in ("r1", "r2", "r3", "r5")]
    left = {path.name.split("__")[1] for path in Path(store.models_path).iterdir()}
    assert left == {"r1", "r2", "r3", "r5"}
    for _, release in store.releases():
        store.check_files(store.manifest(LINE, release))
    routing.rollback(store, "risk")
    assert shares(store) == {"r1": 1}


def test_prune_keeps_the_newest_and_other_lines(store: ReleaseStore) -> None:
    assert routing.prune(store, keep=1, lines=["recommend"]) == []
    assert routing.prune(store, keep=6) == []
    assert routing.prune(store, keep=4) == [(LINE, "bad"), (LINE, "r1")]


class RoutedMeanwhile(ReleaseStore):
    """Somebody else routes a release when the first one is removed."""

    def __init__(self, folder: Path, route: Callable[[ReleaseStore], object]) -> None:
        super().__init__(folder)
        self._route: Callable[[ReleaseStore], object] | None = route

    def remove(self, line: str, release: str) -> None:
        super().remove(line, release)
        route, self._route = self._route, None
        if route is not None:
            route(self)


@pytest.mark.parametrize(
    "route",
    [
        lambda store: routing.promote(store, LINE, "r3"),
        lambda store: routing.shadow(store, LINE, "r3"),
        lambda store: (routing.promote(store, LINE, "r3"), routing.promote(store, LINE, "r1")),
    ],
    ids=["promoted", "shadowed", "a rollback's"],
)
def test_prune_keeps_what_is_routed_while_it_runs_and_does_not_say_it_went(
    store: ReleaseStore, route: Callable[[ReleaseStore], object]
) -> None:
    routing.promote(store, LINE, "r1")
    busy = RoutedMeanwhile(Path(store.models_path).parent, route)
    assert (LINE, "r3") in routing.prunable(busy, keep=1)
    assert routing.prune(busy, keep=1) == [(LINE, "bad"), (LINE, "r2"), (LINE, "r4")]
    assert store.releases() == [(LINE, name) for name in ("r1", "r3", "r5")]
