from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from gateway.audit.background import Background


def test_what_is_left_is_done_in_its_order() -> None:
    done: list[int] = []
    queue: Background[int] = Background("test", done.extend, room=1000, delay_s=0.001)
    for number in range(300):
        queue.put(number)
    queue.close(10)
    assert done == list(range(300))
    assert queue.dropped == 0


def test_what_does_not_fit_is_counted_and_nobody_waits(caplog: pytest.LogCaptureFixture) -> None:
    go_on, begun = threading.Event(), threading.Event()

    def work(some: Sequence[int]) -> None:
        begun.set()
        go_on.wait(10)

    queue: Background[int] = Background("test", work, room=3, delay_s=0.001)
    queue.put(1)
    assert begun.wait(10)
    for number in range(5):
        queue.put(number)
    assert queue.dropped == 3
    go_on.set()
    queue.close(10)
    assert queue.dropped == 3
    assert len(caplog.messages) == 1


def test_room_is_measured_in_the_size_of_items() -> None:
    queue: Background[int] = Background("test", lambda some: None, room=10, delay_s=60)
    queue.put(1, 8)
    queue.put(2, 8)
    assert queue.dropped == 1
    queue.close(10)


def test_what_fails_is_counted_and_logged_once_and_the_rest_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    done: list[int] = []
    full = True

    def work(some: Sequence[int]) -> None:
        if full:
            raise OSError("the disk is full")
        done.extend(some)

    queue: Background[int] = Background("test", work, room=100, delay_s=0.001)
    for number in range(3):
        queue.put(number)
    while queue.dropped < 3:
        pass
    full = False
    queue.put(7)
    queue.close(10)
    assert done == [7]
    assert len([line for line in caplog.messages if "the disk is full" in line]) == 1


def test_after_the_end_nothing_is_taken() -> None:
    queue: Background[int] = Background("test", lambda some: None, room=100)
    queue.close(1)
    queue.put(1)
    assert queue.dropped == 1


def test_the_end_is_told_to_whoever_gathers() -> None:
    told: list[bool] = []
    queue: Background[int] = Background(
        "test", lambda some: None, idle=told.append, room=100, delay_s=60
    )
    queue.put(1)
    queue.close(10)
    assert told == [True]


def test_without_items_there_is_no_thread() -> None:
    Background[int]("unused-log", lambda some: None, room=1)
    assert "unused-log" not in {thread.name for thread in threading.enumerate()}
