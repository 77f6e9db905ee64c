from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.inference.priority import NORMAL, RANKS, Turn
from gateway.inference.turns import Turns

LOW, HIGH = RANKS["low"], RANKS["high"]


def waiting(*some: tuple[int, str]) -> Turns[int]:
    turns: Turns[int] = Turns()
    for number, (rank, client) in enumerate(some):
        turns.add(Turn(rank, client), number)
    return turns


def order(turns: Turns[int]) -> list[int]:
    return [turns.take() for _ in range(len(turns))]


def test_higher_classes_come_first() -> None:
    assert order(waiting((LOW, "a"), (NORMAL, "a"), (HIGH, "a"), (HIGH, "a"))) == [2, 3, 1, 0]


def test_clients_of_a_class_take_turns() -> None:
    a, b, c = (NORMAL, "a"), (NORMAL, "b"), (NORMAL, "c")
    assert order(waiting(a, a, a, b, b, c)) == [0, 3, 5, 1, 4, 2]


def test_it_knows_who_comes_before_one_more() -> None:
    turns = waiting((LOW, "a"), (NORMAL, "a"), (HIGH, "b"))
    assert [turns.before(rank) for rank in (HIGH, NORMAL, LOW)] == [1, 2, 3]


def test_the_last_of_the_lowest_class_is_the_newest_of_whoever_has_most_there() -> None:
    turns = waiting((LOW, "a"), (LOW, "a"), (LOW, "b"), (NORMAL, "c"))
    assert turns.take_last_below(LOW) is None
    assert turns.take_last_below(NORMAL) == 1
    assert [turns.take_last_below(HIGH) for _ in range(4)] == [0, 2, 3, None]
    assert len(turns) == 0


def test_nobody_is_taken_where_nobody_waits() -> None:
    with pytest.raises(IndexError):
        waiting().take()


@given(st.lists(st.tuples(st.sampled_from([HIGH, NORMAL, LOW]), st.sampled_from("abc"))), st.data())
def test_whoever_is_not_removed_is_taken_once(
    some: list[tuple[int, str]], data: st.DataObject
) -> None:
    turns = waiting(*some)
    gone = data.draw(st.sets(st.integers(0, max(0, len(some) - 1)))) if some else set()
    for number in gone:
        assert turns.remove(Turn(*some[number]), number)
        assert not turns.remove(Turn(*some[number]), number)
    taken = order(turns)
    assert sorted(taken) == sorted(set(range(len(some))) - gone)
    assert [some[number][0] for number in taken] == sorted(some[number][0] for number in taken)
