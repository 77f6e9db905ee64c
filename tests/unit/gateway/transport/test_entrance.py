from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from fake_runner import FakeCall

from gateway.errors import Overloaded, QuotaExceeded
from gateway.inference.priority import NORMAL, RANKS, Turn
from gateway.settings_limits import ClientLimit
from gateway.transport.after_triton import AfterTriton
from gateway.transport.entrance import PRIORITY, Entrance


class Called(FakeCall):
    """A call from an address, or of a client that has shown who it is."""

    def __init__(self, peer: str = "ipv4:10.0.0.1:4711", shown: str = "", **metadata: str) -> None:
        super().__init__(metadata={key.replace("_", "-"): value for key, value in metadata.items()})
        self._peer = peer
        self.client: Any = SimpleNamespace(id=shown) if shown else None

    def peer(self) -> str:
        return self._peer


def asking(priority: str, **who: str) -> Called:
    return Called(**who, **{PRIORITY.replace("-", "_"): priority})


def test_without_limits_everybody_is_let_in() -> None:
    entrance = Entrance()
    for _ in range(1000):
        entrance.letting_in("risk", Called()).__enter__()
    assert list(entrance.readings()) == []


def test_limits_of_clients_are_kept_and_refusals_counted_by_reason() -> None:
    entrance = Entrance(ClientLimit(rate=0.001), {"key:big": ClientLimit()})
    with entrance.letting_in("risk", Called()):
        pass
    with pytest.raises(QuotaExceeded), entrance.letting_in("risk", Called()):
        pass
    for _ in range(3):
        with entrance.letting_in("risk", Called(shown="key:big"), 1000):
            pass
    (reading,) = entrance.readings()
    assert (reading.labels, reading.value) == (("client", "", "rate"), 1)


def test_a_domain_answers_only_so_many_at_a_time_and_another_as_many_as_come() -> None:
    entrance = Entrance(domains={"risk": 1})
    with entrance.letting_in("risk", Called()):
        with pytest.raises(Overloaded) as refused, entrance.letting_in("risk", Called()):
            pass
        with entrance.letting_in("recommend", Called()):
            pass
    assert refused.value.metadata == {"line": "risk", "why": "concurrency"}
    with entrance.letting_in("risk", Called()):
        pass
    (reading,) = entrance.readings()
    assert (reading.labels, reading.value) == (("domain", "risk", "concurrency"), 1)


def test_a_call_that_fails_gives_its_place_back() -> None:
    entrance = Entrance(ClientLimit(concurrent=1), {}, {"risk": 1})
    for _ in range(3):
        with pytest.raises(ValueError, match="bad"), entrance.letting_in("risk", Called()):
            raise ValueError("bad")


def test_other_limits_hold_for_the_next_call_and_for_no_call_that_is_let_in() -> None:
    entrance = Entrance()
    with entrance.letting_in("risk", Called()):
        entrance.change(ClientLimit(), {}, {"risk": 1})
        with entrance.letting_in("risk", Called()):
            with pytest.raises(Overloaded), entrance.letting_in("risk", Called()):
                pass
            entrance.change(ClientLimit(), {}, {})
        assert entrance.is_open


@pytest.mark.parametrize(
    ("asked", "rank"), [("high", RANKS["high"]), ("low", RANKS["low"]), ("urgent!", NORMAL)]
)
def test_a_call_says_how_much_it_matters(asked: str, rank: int) -> None:
    assert Entrance().rank(asking(asked)) == rank
    assert Entrance().rank(Called()) == NORMAL
    assert Entrance().turn(asking(asked, shown="key:desk")) == Turn(rank, "key:desk")


def test_a_client_asks_for_no_more_than_it_may_and_has_that_unasked() -> None:
    some = {"key:night": ClientLimit(priority="low"), "key:desk": ClientLimit(priority="high")}
    entrance = Entrance(ClientLimit(), some)
    assert entrance.rank(asking("high", shown="key:night")) == RANKS["low"]
    assert entrance.rank(Called(shown="key:night")) == RANKS["low"]
    assert entrance.rank(Called(shown="key:desk")) == RANKS["high"]
    assert entrance.rank(asking("low", shown="key:desk")) == RANKS["low"]
    assert entrance.rank(asking("high")) == RANKS["high"]


def test_triton_has_less_time_by_what_answers_cost_after_it() -> None:
    after = AfterTriton()
    assert after.less("risk", 1.0) == 1.0
    for _ in range(100):
        after.took("risk", 0.01)
    assert after.less("risk", 1.0) == pytest.approx(0.99, abs=0.001)
    assert after.less("risk", 0.01) == pytest.approx(0.005), "it is asked in any case"
    assert after.less("risk", -1) == -1
    assert after.less("recommend", 1.0) == 1.0, "which has nothing to do with it"
