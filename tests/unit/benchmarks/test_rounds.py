"""A plan asks everybody at its loads; a run is taken up again where a round was completed."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.serving.contenders import contenders, exactly
from benchmarks.serving.rounds import Plan, Results

ALL = contenders()


def test_names_are_unique_and_every_baseline_is_one() -> None:
    names = [one.name for one in ALL]
    assert len(set(names)) == len(names)
    assert {one.baseline for one in ALL} <= set(names)


def test_a_baseline_is_measured_wherever_somebody_is_compared_with_it() -> None:
    loads = {one.name: one.in_flight for one in ALL}
    for one in ALL:
        for task, in_flight in one.in_flight.items():
            expected = (64,) if one.form == "stream" else in_flight
            assert set(expected) <= set(loads[one.baseline][task]), one.name


def test_the_plan_has_the_loads_that_were_asked_for_and_batches_besides() -> None:
    plan = Plan(ALL, [64], rounds=1, seconds=1)
    closed = dict(plan.closed("diagnose"))
    assert set(closed) == {4, 64}
    assert all(one.form == "batch" for one in closed[4])
    assert {one.name for one in plan.opened("diagnose")} == {
        "triton", "gateway-grpc", "gateway-envoy"
    }  # fmt: skip
    assert plan.bursts("diagnose") == len(closed[4]) + len(closed[64]) + 3


def test_nobody_is_asked_at_random_moments_without_a_known_capacity() -> None:
    assert Plan(ALL, [1, 16], rounds=1, seconds=1).opened("diagnose") == []


def test_a_run_is_taken_up_again_at_the_round_that_was_not_completed(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    burst = {"task": "diagnose", "contender": "triton", "loop": "closed", "in_flight": 1}
    before = Results(path)
    before.add("burst", burst | {"round": 0})
    before.add("round", {"task": "diagnose", "round": 0})
    before.add("burst", burst | {"round": 1})
    again = Results.read(path)
    assert [one["round"] for one in again.bursts] == [0]
    assert again.complete == {("diagnose", 0)}
    again.add("burst", burst | {"round": 1, "second": True})
    again.add("round", {"task": "diagnose", "round": 1})
    assert [one.get("second") for one in Results.read(path).bursts] == [None, True]


def test_only_those_named_exactly_are_asked_and_at_no_random_moments() -> None:
    chosen = exactly(["gateway-envoy", "gateway-envoy-traced-10"])
    plan = Plan(chosen, [64], 30, 1.5)
    assert [one.name for one in chosen] == ["gateway-envoy", "gateway-envoy-traced-10"]
    assert plan.bursts("diagnose") == 2


@pytest.mark.parametrize(
    ("fresh_every", "sittings"),
    [(None, [[3, 4, 5, 6, 7]]), (2, [[3, 4], [5, 6], [7]]), (9, [[3, 4, 5, 6, 7]])],
)
def test_servers_are_started_anew_after_some_rounds(
    fresh_every: int | None, sittings: list[list[int]]
) -> None:
    plan = Plan(ALL, [64], 8, 1.5, fresh_every)
    assert plan.sittings([3, 4, 5, 6, 7]) == sittings
    assert plan.sittings([]) == []


def test_a_name_that_nobody_has_is_said() -> None:
    with pytest.raises(LookupError, match="no contender gateway-envoy-traced;"):
        exactly(["gateway-envoy", "gateway-envoy-traced"])


def a_run(rounds: int, **about: object) -> Results:
    found = Results(Path("nowhere"), about={"rounds": rounds, "fresh_every": 4, **about})
    for number in range(rounds):
        found.bursts.append({"task": "diagnose", "contender": "triton", "round": number})
        found.complete.add(("diagnose", number))
    return found


def test_runs_of_one_plan_are_one_in_which_no_sitting_is_of_both() -> None:
    """Each is cut into sittings of four rounds: the second begins with a new one."""
    runs = [a_run(6, commit="a"), a_run(5, commit="a")]
    whole = Results.pooled(runs)
    numbers = [one["round"] for one in whole.bursts]
    assert numbers == [0, 1, 2, 3, 4, 5, 8, 9, 10, 11, 12]
    assert [number // 4 for number in numbers] == [0, 0, 0, 0, 1, 1, 2, 2, 2, 2, 3]
    assert whole.complete == {("diagnose", number) for number in numbers}
    assert whole.about == {"rounds": 11, "fresh_every": 4, "commit": "a"}
    assert [one["round"] for one in runs[1].bursts] == [0, 1, 2, 3, 4]


def test_a_single_run_stays_as_it_is() -> None:
    run = a_run(6)
    whole = Results.pooled([run])
    assert (whole.bursts, whole.complete, whole.about) == (run.bursts, run.complete, run.about)


@pytest.mark.parametrize("other", [{"commit": "b"}, {"fresh_every": 5}, {"cpu": "another"}])
def test_runs_that_do_not_go_together_are_refused(other: dict[str, object]) -> None:
    (name,) = other
    with pytest.raises(ValueError, match=f"they differ in {name}: .*{other[name]}"):
        Results.pooled([a_run(6, commit="a"), a_run(6, **{"commit": "a", **other})])
