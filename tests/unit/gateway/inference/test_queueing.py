"""Who waits, counted for all queues of a line, and who is next; test_batcher.py has the rest."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import count

import pytest
from callers import Caller

from gateway.inference.priority import NORMAL, RANKS
from gateway.inference.queueing import Entry, Queue, WaitingRoom

HIGH, LOW = RANKS["high"], RANKS["low"]


@pytest.fixture
def times() -> Iterator[float]:
    """The moments at which entries come."""
    return map(float, count())


@pytest.fixture
async def room() -> WaitingRoom:
    return WaitingRoom("score-risk", 100)


def entry(times: Iterator[float], rank: int = NORMAL, client: str = "a") -> Entry[str, str]:
    future = asyncio.get_running_loop().create_future()
    return Entry("item", future, None, Caller(client), next(times), rank)


def filled(
    room: WaitingRoom, times: Iterator[float], *ranks: int
) -> tuple[Queue[str, str], list[Entry[str, str]]]:
    queue: Queue[str, str] = Queue(room)
    entries = [entry(times, rank) for rank in ranks]
    for one in entries:
        queue.add(one)
    return queue, entries


async def test_a_room_counts_those_of_all_its_queues(
    room: WaitingRoom, times: Iterator[float]
) -> None:
    one, entries = filled(room, times, NORMAL, LOW, HIGH, NORMAL)
    other, _ = filled(room, times, NORMAL, NORMAL)
    assert room.taken == 6
    assert one.remove(entries[1])
    assert not one.remove(entries[1])
    assert (len(one), room.taken) == (3, 5)
    assert one.pop_first() is entries[0]
    assert (len(one.take(1)), len(other.take(5)), room.taken) == (1, 2, 1)
    assert len(one.cut(0)) == 1
    assert (len(one), len(other), room.taken) == (0, 0, 0)


async def test_those_with_a_higher_priority_are_next(
    room: WaitingRoom, times: Iterator[float]
) -> None:
    queue, (normal, low, high) = filled(room, times, NORMAL, LOW, HIGH)
    assert queue.first is normal
    assert [queue.before(rank) for rank in (HIGH, NORMAL, LOW)] == [1, 2, 3]
    assert queue.take(2) == [high, normal]
    assert queue.take(2) == [low]


async def test_clients_take_turns(room: WaitingRoom, times: Iterator[float]) -> None:
    queue: Queue[str, str] = Queue(room)
    many = [entry(times, client="many") for _ in range(3)]
    one = entry(times, client="one")
    for each in (*many, one):
        queue.add(each)
    assert queue.take(2) == [many[0], one]


async def test_the_newest_of_the_lowest_class_makes_room_for_a_higher_one(
    room: WaitingRoom, times: Iterator[float]
) -> None:
    queue, (_, older, newer) = filled(room, times, NORMAL, LOW, LOW)
    assert queue.last_below(NORMAL) is newer
    assert queue.last_below(LOW) is None
    assert queue.cut(1) == [older, newer]
    assert queue.last_below(NORMAL) is None  # nobody of that class waits any more
    assert queue.last_below(HIGH) is queue.first
