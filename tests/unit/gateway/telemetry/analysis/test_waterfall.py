from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console
from span_makers import span

from gateway.telemetry.analysis.reading import newest_trace, read_trace
from gateway.telemetry.analysis.tree import Node, build_tree
from gateway.telemetry.analysis.waterfall import render
from gateway.telemetry.span import Status

DATA = Path(__file__).parents[4] / "data" / "traces"


def rendered(roots: Sequence[Node], width: int, encoding: str = "utf-8") -> str:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding)
    render(roots, Console(file=file, width=width, highlight=False))
    file.flush()
    return raw.getvalue().decode(encoding)


@pytest.fixture
def recorded() -> list[Node]:
    """One real call through an ensemble of two steps."""
    path = DATA / "two_steps.jsonl"
    return build_tree(read_trace(path, newest_trace(path)))


@pytest.mark.parametrize("width", [80, 120])
def test_a_recorded_trace_looks_as_it_did(recorded: list[Node], width: int) -> None:
    assert rendered(recorded, width) == (DATA / f"two_steps_{width}.txt").read_text()


@pytest.mark.parametrize("width", [80, 100, 160])
def test_every_line_of_the_chart_is_as_wide_as_the_console_allows(
    recorded: list[Node], width: int
) -> None:
    chart = rendered(recorded, width).splitlines()[2:]
    assert {cell_len(line) for line in chart} == {width}


def test_nothing_but_text_goes_into_a_pipe(recorded: list[Node]) -> None:
    assert "\x1b" not in rendered(recorded, 80)


def test_where_there_are_no_blocks_the_bars_are_plain(recorded: list[Node]) -> None:
    text = rendered(recorded, 80, encoding="ascii")
    assert "###" in text
    assert len(text.splitlines()) == len(rendered(recorded, 80).splitlines())


def bars(roots: Sequence[Node], width: int = 80) -> dict[str, str]:
    """By label: the part of the line between the service and the numbers."""
    chart = rendered(roots, width).splitlines()[1:]
    left = chart[0].index("service") + len("service") + 2
    return {line.split()[0]: line[left : width - 20] for line in chart[1:]}


def test_bars_lie_on_one_axis() -> None:
    spans = [span("all", 1, times=(0, 100)), span("first", 2, 1, times=(0, 50)),
             span("second", 3, 1, times=(50, 100))]  # fmt: skip
    found = bars(build_tree(spans))
    whole = len(found["all"].strip())
    assert len(found["first"].strip()) == pytest.approx(whole / 2, abs=1)
    assert found["second"].index("█") == pytest.approx(whole / 2, abs=1)
    assert found["first"].startswith("█")


def test_the_shortest_span_is_still_seen() -> None:
    spans = [span("all", 1, times=(0, 1_000_000)), span("tiny", 2, 1, times=(999_999, 1_000_000))]
    assert bars(build_tree(spans))["tiny"].strip() == "▏"


def test_a_trace_that_took_no_time_is_shown() -> None:
    assert "0.00" in rendered(build_tree([span("point", 1, times=(5, 5))]), 80)


def test_long_names_are_shortened_and_deep_ones_keep_their_numbers() -> None:
    spans = [span("n" * 200, 1)] + [span(f"deep{n}", n, n - 1) for n in range(2, 40)]
    chart = rendered(build_tree(spans), 80).splitlines()[1:]
    assert all(cell_len(line) == 80 for line in chart)
    assert "…" in chart[1]
    assert all(line.endswith("1.00") for line in chart[1:])


def test_what_failed_and_what_is_missing_is_said_below() -> None:
    spans = [span("call", 1, status=Status.ERROR, message="queue is [full]",
                  attributes={"error.type": "UNAVAILABLE"}),
             span("lost", 2, 0x99)]  # fmt: skip
    lines = rendered(build_tree(spans), 80).splitlines()
    assert "call: UNAVAILABLE: queue is [full]" in lines
    assert "lost: its parent 0000000000000099 is not in the file" in lines


def test_what_failed_by_the_same_error_is_said_once() -> None:
    wrong: dict[str, Any] = {"status": Status.ERROR, "attributes": {"error.type": "INTERNAL"}}
    spans = [span("call", 1, message="broken", **wrong), span("asked", 2, 1, message="no", **wrong),
             span("step", 3, 2, message="no", **wrong)]  # fmt: skip
    lines = rendered(build_tree(spans), 80).splitlines()
    assert lines[-2:] == ["call: INTERNAL: broken", "asked, step: INTERNAL: no"]


def test_the_head_says_which_release_answered(recorded: list[Node]) -> None:
    assert "by letters/a1 (ensemble)" in rendered(recorded, 80).splitlines()[1]


def test_the_head_does_not_repeat_the_release_for_every_step() -> None:
    release = {"trident.line": "letters", "trident.release": "a1"}
    spans = [
        span("call", 1, attributes={**release, "trident.variant": "fused"}),
        span("prepare", 2, 1, service="triton", attributes=release),
    ]
    said = [line for line in rendered(build_tree(spans), 80).splitlines() if " by " in line]
    assert said == ["call by letters/a1 (fused)"]


def test_nothing_is_printed_for_nothing() -> None:
    assert rendered([], 80) == ""
