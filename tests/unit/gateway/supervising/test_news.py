from __future__ import annotations

import asyncio

import pytest

from gateway.announcing import Announcer
from gateway.starting import StartFailed
from gateway.supervising.news import WorkerNews, merged
from gateway.supervising.notices import Notice, ReleaseNotice

R1 = ReleaseNotice("score-risk", "r1", 1.0, True)
R1_LOADING = ReleaseNotice("score-risk", "r1", 1.0, False, "it is being loaded")


class Told(WorkerNews):
    """The news, with what people were told."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        super().__init__(Announcer(lambda line: self.lines.append(line.partition("  ")[2])), "st")


async def test_it_has_started_once_a_worker_takes_calls() -> None:
    news = Told()
    news.hear(Notice(1, (R1,)))
    assert not news.started.done()
    news.hear(Notice(1, (R1,), ready=True))
    assert news.started.result() is None


async def test_a_gateway_without_releases_says_so_once() -> None:
    lines: list[str] = []
    news = WorkerNews(Announcer(lines.append), "a/store")
    news.hear(Notice(0, ready=True))
    news.hear(Notice(1, ready=True))
    assert [line[:17] for line in lines] == ["Nothing is routed"]


async def test_a_worker_that_cannot_start_fails_the_start() -> None:
    news = Told()
    news.hear(Notice(0, failure="the routes are damaged"))
    news.end(0, "ended with exit code 1")
    with pytest.raises(StartFailed, match="the routes are damaged"):
        await asyncio.wait_for(news.started, 20)


async def test_the_reason_counts_even_if_the_end_is_seen_first() -> None:
    news = Told()
    news.end(0, "ended with exit code 1")
    news.hear(Notice(0, failure="the routes are damaged"))
    with pytest.raises(StartFailed, match="the routes are damaged"):
        await asyncio.wait_for(news.started, 20)


async def test_a_worker_that_ends_before_any_took_calls_fails_the_start() -> None:
    news = Told()
    news.end(1, "was ended by SIGSEGV")
    with pytest.raises(StartFailed, match="worker 1 was ended by SIGSEGV before it took calls"):
        await asyncio.wait_for(news.started, 20)


async def test_a_worker_that_fails_later_is_only_logged(caplog: pytest.LogCaptureFixture) -> None:
    news = Told()
    news.hear(Notice(0, (R1,), ready=True))
    news.end(1, "was ended by SIGKILL")
    news.hear(Notice(1, failure="no store"))
    await asyncio.sleep(0.2)  # longer than last words are waited for
    assert news.started.result() is None
    assert "Worker 1: no store" in caplog.text


async def test_people_are_told_when_a_worker_is_back() -> None:
    news = Told()
    for number in (0, 1):
        news.hear(Notice(number, (R1,), ready=True))
    assert "worker" not in " ".join(news.lines)
    news.end(1, "was ended by SIGKILL")
    news.hear(Notice(1, (R1,)))
    news.hear(Notice(1, (R1,), ready=True))
    news.hear(Notice(1, (R1,), ready=True))
    assert news.lines.count("worker 1 takes calls again") == 1


async def test_a_release_serves_once_all_workers_serve_it() -> None:
    news = Told()
    news.hear(Notice(0, (R1_LOADING,)))
    news.hear(Notice(1, (R1,)))
    assert news.lines == ["score-risk/r1: not serving: it is being loaded"]
    news.hear(Notice(0, (R1,)))
    assert news.lines[1] == "score-risk/r1: serving"


async def test_what_a_dead_worker_said_counts_no_more() -> None:
    news = Told()
    news.hear(Notice(0, (R1_LOADING,)))
    news.end(0, "was ended by SIGKILL")
    news.hear(Notice(1, (R1,)))
    assert news.lines[-2] == "score-risk/r1: serving"


def test_merged_keeps_every_release_in_the_order_of_the_first_who_names_it() -> None:
    r2 = ReleaseNotice("recommend", "r2", 1.0, True)
    assert merged([Notice(0, (R1,)), Notice(1, (r2, R1_LOADING))]) == [R1_LOADING, r2]
    assert merged([]) == []
