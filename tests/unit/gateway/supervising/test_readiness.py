from __future__ import annotations

from collections.abc import Callable

import pytest
from hand_clock import Clock

from gateway.announcing import Announcer
from gateway.supervising.news import WorkerNews
from gateway.supervising.notices import Notice, ReleaseNotice
from gateway.supervising.readiness import probes


def release(line: str, serving: bool = True) -> ReleaseNotice:
    return ReleaseNotice(line, "a1", 1.0, serving)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def news(clock: Clock) -> WorkerNews:
    return WorkerNews(Announcer(lambda text: None), "store", clock)


@pytest.fixture
async def ask(news: WorkerNews) -> Callable[[str], str]:
    found = probes(news, lambda: False)
    return lambda path: found[path]()


async def test_nothing_is_well_before_a_worker_takes_calls(ask: Callable[[str], str]) -> None:
    assert ask("/livez") == ask("/readyz") == "no worker takes calls"


async def test_it_lives_without_releases_and_is_not_ready(
    news: WorkerNews, ask: Callable[[str], str]
) -> None:
    news.hear(Notice(0, ready=True))
    assert (ask("/livez"), ask("/readyz")) == ("", "nothing is routed")


async def test_it_is_ready_once_each_routed_domain_is_served(
    news: WorkerNews, ask: Callable[[str], str]
) -> None:
    lines = (release("score-risk"), release("diagnose-note", False), release("recommend", False))
    news.hear(Notice(0, lines, ready=True))
    assert ask("/readyz") == "no release of recommend, diagnose serves"
    more = (release("score-risk"), release("diagnose-note", False), release("diagnose-image"))
    news.hear(Notice(0, more, ready=True))
    assert ask("/readyz") == ""


async def test_once_ready_it_stays_so_as_long_as_any_domain_is_served(
    news: WorkerNews, ask: Callable[[str], str]
) -> None:
    for lines, why in (
        ((release("score-risk"),), ""),
        ((release("score-risk"), release("recommend", False)), ""),
        ((release("score-risk", False),), "no release of risk serves"),
        ((), "nothing is routed"),
        ((release("score-risk", False), release("recommend")), ""),
    ):
        news.hear(Notice(0, lines, ready=True))
        assert ask("/readyz") == why
    news.end(0, "died")
    assert ask("/readyz") == "no worker takes calls"


async def test_it_is_not_ready_when_it_stops_and_dead_when_its_worker_is(
    news: WorkerNews,
) -> None:
    news.hear(Notice(0, (release("score-risk"),), ready=True))
    stopping = probes(news, lambda: True)
    assert (stopping["/livez"](), stopping["/readyz"]()) == ("", "the gateway is stopping")
    news.end(0, "died")
    assert stopping["/livez"]() == "no worker takes calls"


async def test_a_worker_of_which_nothing_is_heard_hangs_until_it_is_heard_again(
    news: WorkerNews, ask: Callable[[str], str], clock: Clock
) -> None:
    for number in (0, 1):
        news.hear(Notice(number, (release("score-risk"),), ready=True))
    news.hear(Notice(2))  # is yet to start, which may take long
    clock.now += 11
    news.hear(Notice(0, (release("score-risk"),), ready=True))
    assert ask("/livez") == ask("/readyz") == "worker 1 hangs: nothing was heard of it for 11 s"
    news.hear(Notice(1, (release("score-risk"),), ready=True))
    assert ask("/livez") == ask("/readyz") == ""
