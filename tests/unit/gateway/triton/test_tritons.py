"""Who is left out at once, who is tried first, and who is not left out at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from gateway.triton.tritons import TRIAL_S, Tritons
from gateway.triton.verdicts import HANGS, REFUSES, SLOW, UNREACHABLE, WRONG, Kind, Suspicion

KEY = ("score-risk", "r1")
LOAD_S = 120.0


class Client:
    def __init__(self, target: str) -> None:
        self.target = target


class Endpoint:
    """Notes what becomes of it."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.up = self.fits = True
        self.doubted = False
        self.may: Callable[[], bool] = lambda: False
        self.left_out: dict[str, int] = {}
        self.told: list[tuple[str, Kind]] = []
        self.within_s: list[float] = []

    def serves(self, key: Any) -> bool:
        return self.fits

    def does_well(self, key: Any) -> bool:
        return self.fits and not self.doubted

    def compare(self, key: Any, others: Any, why: str, may: Callable[[], bool]) -> None:
        self.told.append(("compared", SLOW))
        self.may = may

    def leave_out(self, key: Any, kind: Kind, why: str) -> None:
        self.told.append(("left out", kind))

    def doubt(self, key: Any, kind: Kind, why: str, within_s: float) -> None:
        self.told.append(("tried", kind))
        self.within_s.append(within_s)


Build = Callable[[int], tuple[Tritons, list[Endpoint]]]


@pytest.fixture
def build() -> Build:
    def build(count: int) -> tuple[Tritons, list[Endpoint]]:
        tritons = Tritons(Endpoint, LOAD_S)  # type: ignore[arg-type]
        new, gone = tritons.take([Client(f"t:{number}") for number in range(count)])  # type: ignore[misc]
        assert gone == []
        return tritons, new  # type: ignore[return-value]

    return build


def suspect(
    tritons: Tritons, endpoint: Endpoint, kind: Kind, usual_s: float = 0.01, *, sure: bool = True
) -> None:
    tritons.suspect(Suspicion(endpoint.client, KEY, kind, "why", usual_s, sure))


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (WRONG, "left out"),
        (UNREACHABLE, "left out"),
        (SLOW, "compared"),
        (HANGS, "tried"),
        (REFUSES, "tried"),
    ],
)
def test_one_of_three_is_left_out_or_tried(kind: Kind, told: str, build: Build) -> None:
    tritons, (first, second, third) = build(3)
    suspect(tritons, first, kind)
    assert first.told == [(told, kind)]
    assert second.told == third.told == []


@pytest.mark.parametrize("kind", [WRONG, UNREACHABLE])
def test_a_single_failure_has_one_of_three_tried_at_once(kind: Kind, build: Build) -> None:
    tritons, (first, _, _) = build(3)
    suspect(tritons, first, kind, sure=False)
    assert first.told == [("tried", kind)]
    assert first.within_s == [TRIAL_S]


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (WRONG, [("left out", WRONG)]),
        (UNREACHABLE, [("tried", UNREACHABLE)]),
        (SLOW, []),
        (HANGS, [("tried", HANGS)]),
    ],
)
def test_the_last_one_is_left_out_only_for_a_trial_that_failed_or_wrong_answers(
    kind: Kind, told: list[tuple[str, Kind]], build: Build
) -> None:
    tritons, (first, other) = build(2)
    other.fits = other.up = False
    suspect(tritons, first, kind)
    assert first.told == told
    assert first.within_s == [LOAD_S] * len(first.within_s), "there is no hurry"


def test_a_silent_one_has_little_time_for_a_trial_but_ten_times_what_is_usual(
    build: Build,
) -> None:
    tritons, (first, _) = build(2)
    suspect(tritons, first, HANGS)
    suspect(tritons, first, HANGS, usual_s=3)
    assert first.within_s == [TRIAL_S, 30]


def test_no_more_than_half_are_left_out_for_being_slow(build: Build) -> None:
    tritons, (first, second, _third) = build(3)
    suspect(tritons, first, SLOW)
    assert first.told == [("compared", SLOW)]
    assert first.may()
    second.fits = False
    assert not first.may(), "another one has gone while they were compared"
    second.fits, first.fits = True, False
    suspect(tritons, second, SLOW)
    assert second.told == []


def test_nobody_is_left_out_for_being_slow_if_all_others_are_doubted(build: Build) -> None:
    tritons, (first, second) = build(2)
    second.doubted = True
    suspect(tritons, first, SLOW)
    assert first.told == []


def test_who_stays_is_kept_and_who_has_left_is_suspected_of_nothing(build: Build) -> None:
    tritons, (first, second) = build(2)
    new, gone = tritons.take([second.client])
    assert (new, gone) == ([], [first])
    assert list(tritons) == [second]
    suspect(tritons, first, WRONG)
    assert first.told == []


def test_it_tells_who_is_asked_for_what_and_why_others_were_left_out(build: Build) -> None:
    tritons, (first, second) = build(2)
    second.fits = False
    second.left_out = {HANGS: 2}
    found = {(one.instrument.name, *one.labels): one.value for one in tritons.readings([KEY])}
    assert found == {
        ("trident.triton.serving", "t:0", *KEY): 1,
        ("trident.triton.serving", "t:1", *KEY): 0,
        ("trident.triton.left_out", "t:1", HANGS): 2,
    }
    assert first.client.target == "t:0"
