from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest
from synthetic_traces import Json, Planted, batch, call

from gateway.telemetry.analysis.page import render_page
from gateway.telemetry.analysis.report import Report, build_report

Analysed = Callable[..., Any]
VOID = {"meta", "br", "rect", "line", "circle", "polyline", "link", "input", "img"}


class Balanced(HTMLParser):
    """Fails on a tag that is not closed; keeps what refers to elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.references: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.references += [str(value) for name, value in attrs if name in ("href", "src")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, (tag, self.getpos())


def load(count: int) -> list[list[Json]]:
    lines = [call(replace(Planted(), decode=0.1 + n % 5), at=20 * n) for n in range(count)]
    return lines + [batch(Planted(), 1 + n % 4, window=2, at=9000 + 20 * n) for n in range(count)]


def parsed(report: Report) -> tuple[str, Balanced]:
    page = render_page(report)
    parser = Balanced()
    parser.feed(page)
    assert parser.open == []
    return page, parser


@pytest.fixture
def compared(analysed: Analysed) -> Report:
    """A report with everything in it."""
    before = analysed(*load(40), name="before.jsonl")
    slow = [call(Planted().with_step("score", queue=9.0), at=n) for n in range(60)]
    bad = [call(Planted(code="INTERNAL"))]
    return build_report(analysed(*load(40), *slow, *bad, name="after.jsonl"), before)


def test_the_page_is_well_formed_and_has_every_plot(compared: Report) -> None:
    page, parser = parsed(compared)
    assert parser.tags.count("figure") == 5  # time, percentiles, batches, two calls
    assert parser.tags.count("svg") == 1 + 1 + 1 + 5  # overview, comparison, budget
    for finding in compared.groups[0].findings:
        assert finding.text.split(":")[0].replace("`", "") in page.replace("<code>", "").replace(
            "</code>", ""
        )


def test_the_page_needs_nothing_from_elsewhere(compared: Report) -> None:
    page, parser = parsed(compared)
    assert not re.search(r"(https?:)?//[a-z]", page)
    assert "@import" not in page
    assert "url(" not in page
    assert all(one.startswith("#") for one in parser.references)


def test_the_page_knows_dark_and_light(compared: Report) -> None:
    page, _ = parsed(compared)
    assert "prefers-color-scheme: dark" in page
    assert 'data-theme="light"' in page


@pytest.mark.parametrize(
    "lines",
    [[], [call(Planted())], [call(Planted(code="INTERNAL"))], [call(Planted(has_triton=False))]],
    ids=["nothing", "one-call", "only-failed", "no-triton"],
)
def test_a_page_can_be_made_of_little(lines: list[list[Json]], analysed: Analysed) -> None:
    page, _ = parsed(build_report(analysed(*lines)))
    assert "Where the time goes" in page


def test_what_spans_say_is_never_taken_for_html(analysed: Analysed) -> None:
    evil = "<script>alert(1)</script>"
    spans = call(replace(Planted(), line=evil, release=f'"{evil}'))
    next(one for one in spans if one["name"] == "decode")["name"] = evil
    page, parser = parsed(build_report(analysed(spans)))
    assert parser.tags.count("script") == 1
    assert evil not in page
