from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from gateway.announcing import Announcer
from gateway.supervising.notices import ReleaseNotice

LOADING = "it is being loaded"


def state(
    line: str, release: str = "r1", *, serving: bool = True, detail: str = ""
) -> ReleaseNotice:
    return ReleaseNotice(line, release, 1.0, serving, detail)


def waiting(line: str, detail: str = LOADING) -> ReleaseNotice:
    return state(line, serving=False, detail=detail)


class Heard:
    """An announcer, and what it said."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.announcer = Announcer(self.lines.append)

    def show(self, *states: ReleaseNotice) -> list[str]:
        """Show states; what was said about them, without the time."""
        self.lines.clear()
        self.announcer.show(states)
        return [line.partition("  ")[2] for line in self.lines]


@pytest.fixture
def heard() -> Heard:
    return Heard()


def told(lines: list[str], *words: str) -> bool:
    """Whether exactly one line has all these words."""
    return sum(all(word in line for word in words) for line in lines) == 1


def test_everything_is_introduced_with_where_it_is(heard: Heard) -> None:
    heard.announcer.introduce(
        address="here:1", store="a/store", triton="there:2", traces="off", metrics="http://m:3"
    )
    for name, where in {
        "Gateway": "here:1", "Releases": "a/store", "Triton": "there:2", "Traces": "off",
        "Metrics": "http://m:3",
    }.items():  # fmt: skip
        assert told(heard.lines, name, where)


def test_who_has_nothing_to_serve_is_told_how_to_build_something(heard: Heard) -> None:
    heard.announcer.empty("a/store")
    assert told(heard.lines, "Nothing is routed in a/store", "model-builder build", "a/store")


def test_a_change_is_said_once(heard: Heard) -> None:
    assert told(heard.show(waiting("score-risk")), "score-risk/r1", LOADING)
    assert heard.show(waiting("score-risk")) == []
    assert told(heard.show(state("score-risk")), "score-risk/r1: serving")
    assert heard.show(state("score-risk")) == []


def test_only_what_changed_is_said(heard: Heard) -> None:
    heard.show(waiting("score-risk"), waiting("recommend"))
    lines = heard.show(waiting("score-risk", "torn"), waiting("recommend"))
    assert told(lines, "score-risk/r1", "torn")
    assert not any("recommend" in line for line in lines)


def test_every_line_carries_the_time(heard: Heard) -> None:
    heard.show(state("score-risk"))
    for line in heard.lines:
        assert line[2] == line[5] == ":"


def test_ready_is_said_once_when_all_lines_serve(heard: Heard) -> None:
    assert not told(heard.show(state("score-risk"), waiting("recommend")), "ready")
    both = state("score-risk"), state("recommend")
    assert told(heard.show(*both), "ready: 2 lines serve")
    assert heard.show(*both) == []


def test_a_single_line_serves(heard: Heard) -> None:
    assert told(heard.show(state("score-risk")), "ready: 1 line serves")


def test_a_line_serves_if_one_of_its_releases_does(heard: Heard) -> None:
    torn = state("score-risk", "r2", serving=False, detail="torn")
    lines = heard.show(state("score-risk"), torn)
    assert told(lines, "ready: 1 line serves")
    assert told(lines, "score-risk/r2", "torn")


def test_nothing_routed_is_not_ready(heard: Heard) -> None:
    assert heard.show() == []


def test_after_an_outage_ready_is_said_again(heard: Heard) -> None:
    heard.show(state("score-risk"))
    assert told(heard.show(waiting("score-risk", "Triton is gone")), "Triton is gone")
    lines = heard.show(state("score-risk"))
    assert told(lines, "score-risk/r1: serving")
    assert told(lines, "ready: 1 line serves")


def test_what_is_routed_no_longer_is_said_once(heard: Heard) -> None:
    heard.show(state("score-risk"), state("score-risk", "r2"))
    lines = heard.show(state("score-risk", "r2"))
    assert told(lines, "score-risk/r1", "no longer routed")
    assert not told(lines, "score-risk/r2")
    assert heard.show(state("score-risk", "r2")) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda one: replace(one, weight=0.25), "serving, weight 0.25"),
        (lambda one: replace(one, weight=0.0), "ready, and gets no calls"),
    ],
    ids=["a share", "none"],
)
def test_a_share_is_said_with_the_release(
    change: Callable[[ReleaseNotice], ReleaseNotice], words: str, heard: Heard
) -> None:
    heard.show(state("score-risk"))
    assert told(heard.show(change(state("score-risk"))), "score-risk/r1", words)
