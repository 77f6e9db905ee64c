"""One call, one trace: client, gateway, ensemble, each step's queue and compute."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from served import Gateway, run

pytestmark = pytest.mark.e2e


SPANS = 8
"""Of a call: the client's, the gateway's with its three stages and its call, Triton's first two."""


def flatten(span: dict[str, Any]) -> list[dict[str, Any]]:
    """A span of `trace show --json` and all below it."""
    return [span, *(inner for child in span.get("children", ()) for inner in flatten(child))]


def whole_trace(gateway: Gateway, trace: str, span_count: int) -> tuple[str, list[dict[str, Any]]]:
    """A trace, once Triton has sent its spans."""
    deadline = time.monotonic() + 20
    while True:
        shown = run("gateway", "trace", "show", trace, "--json", "--file", gateway.traces)
        if shown.returncode == 0:
            tree = json.loads(shown.stdout)
            spans = [span for root in tree["spans"] for span in flatten(root)]
            if len(spans) >= span_count or time.monotonic() > deadline:
                return shown.stdout, spans
        assert time.monotonic() < deadline, shown.stderr
        time.sleep(0.2)


@pytest.fixture(scope="module")
def ensembles(built: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway that serves the variant whose steps can be seen."""
    server = Gateway(built.path, tmp_path_factory.mktemp("ensembles"))
    server.start("--embedded", "--variant", "ensemble")
    yield server
    server.stop()


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (("recommend", "--history", "{history}"), "recommend"),
        (("diagnose", "--example"), "diagnose-measurements"),
        (("score-risk", "--example"), "score-risk"),
    ],
    ids=["recommend", "diagnose", "score-risk"],
)
def test_a_trace_runs_from_the_client_to_every_step(
    call: tuple[str, ...], line: str, built: Any, ensembles: Gateway
) -> None:
    history = ",".join(built.test_rows("recommend")[0]["history_item_ids"][-5:])
    words = [word.format(history=history) for word in call]
    where = ("--target", ensembles.target, "--traces", ensembles.traces)
    done = run("gateway", "call", words[0], *where, "--json", *words[1:])
    assert done.returncode == 0, done.stderr
    json.loads(done.stdout)
    steps = built.manifest(line).steps
    (trace,) = re.findall(r"trace ([0-9a-f]{32})", done.stderr)
    text, spans = whole_trace(ensembles, trace, SPANS + 2 * len(steps))
    names = [span["name"] for span in spans]
    assert {"decode", "queue", "encode"} <= set(names)
    for step in steps:
        assert step.model in text, names
    by_id = {span["span_id"]: span for span in spans}
    roots = [span for span in spans if span.get("parent_span_id") not in by_id]
    assert len(roots) == 1, names
    assert len({span["trace_id"] for span in spans}) == 1
