"""``gateway trace show`` of a call that travelled with others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from synthetic_traces import Json, Planted, Step, batch, call, write

from gateway.trace_cli import trace


@pytest.fixture
def spans() -> list[Json]:
    """Three calls in one batch."""
    return batch(Planted(), 3, window=2)


def calls(spans: list[Json]) -> list[Json]:
    return [one for one in spans if one["kind"] == 2 and one["service"] == "trident-gateway"]


def shown(path: Path, *words: str) -> Any:
    done = CliRunner().invoke(trace, ["show", "--json", "--file", str(path), *words])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def chain(span: dict[str, Any], *names: str) -> dict[str, Any]:
    for name in names:
        span = next(child for child in span["children"] if child["name"] == name)
    return span


METHOD = "inference.GRPCInferenceService/ModelInfer"


def test_the_batch_of_a_call_stands_below_its_wait_with_tritons_spans(
    spans: list[Json], tmp_path: Path
) -> None:
    path = write(tmp_path / "t.jsonl", [[one] for one in spans])  # one line a span
    for server in calls(spans):
        (root,) = shown(path, server["traceId"])["spans"]
        assert root["span_id"] == server["spanId"]
        infer = chain(root, "batch", METHOD)
        assert infer["attributes"]["trident.batch.calls"] == 3
        assert len(infer["links"]) == 2
        assert infer["trace_id"] == calls(spans)[0]["traceId"]
        assert chain(infer, "InferRequest", "score-risk__a1", "score-risk__a1__score", "compute")


@pytest.mark.parametrize("lost", ["calls", "batch"])
def test_one_of_the_links_is_enough(lost: str, spans: list[Json], tmp_path: Path) -> None:
    for one in spans:
        if (one["name"] == "batch") == (lost == "calls"):
            one.pop("links", None)
    path = write(tmp_path / "t.jsonl", [spans])
    (root,) = shown(path, calls(spans)[1]["traceId"])["spans"]
    assert chain(root, "batch", METHOD, "InferRequest")


def test_without_a_span_that_waits_the_batch_is_below_the_call(tmp_path: Path) -> None:
    spans = batch(Planted(), 3, window=2, own_trace=True)
    second = calls(spans)[1]
    infer = next(one for one in spans if one["kind"] == 3)
    infer["links"] = [{"traceId": second["traceId"], "spanId": second["spanId"]}]
    path = write(tmp_path / "t.jsonl", [[one for one in spans if one["name"] != "batch"]])
    (root,) = shown(path, second["traceId"])["spans"]
    assert chain(root, METHOD, "InferRequest")


def test_the_trace_of_a_batch_is_the_batch_alone(tmp_path: Path) -> None:
    spans = batch(Planted(), 3, window=2, own_trace=True)
    infer = next(one for one in spans if one["kind"] == 3)
    path = write(tmp_path / "t.jsonl", [spans])
    (root,) = shown(path, infer["traceId"])["spans"]
    assert root["name"] == METHOD
    assert [one["name"] for one in root["children"]] == ["InferRequest"]


def test_a_link_to_another_programs_trace_is_not_followed(
    spans: list[Json], tmp_path: Path
) -> None:
    server = calls(spans)[0]
    other = calls(batch(Planted(), 1, window=1))[0]
    server["links"] = [{"traceId": other["traceId"], "spanId": other["spanId"]}]
    path = write(tmp_path / "t.jsonl", [spans, [other]])
    (root,) = shown(path, server["traceId"])["spans"]
    assert root["span_id"] == server["spanId"]
    assert other["spanId"] not in json.dumps(root["children"])


def test_the_waterfall_says_who_travelled_together(spans: list[Json], tmp_path: Path) -> None:
    path = write(tmp_path / "t.jsonl", [spans])
    first, second, third = (one["traceId"] for one in calls(spans))
    for shown_one, others in ((first, {second, third}), (second, {first, third})):
        done = CliRunner().invoke(trace, ["show", shown_one, "--file", str(path)])
        (line,) = (one for one in done.stdout.splitlines() if "travelled together" in one)
        assert "3 calls" in line
        assert {one for one in (first, second, third) if one in line} == others


def test_the_step_where_an_ensemble_stopped_is_named(tmp_path: Path) -> None:
    stopped = Planted(code="INTERNAL", steps=(Step("prepare"), Step("score")))
    spans = call(stopped)
    infer = next(one for one in spans if one["kind"] == 3 and one["service"] == "trident-gateway")
    infer["status"] = {"code": 2, "message": "no"}
    done = CliRunner().invoke(
        trace, ["show", "--last", "--file", str(write(tmp_path / "t.jsonl", [spans]))]
    )
    assert "score: ERROR: no (the ensemble stopped here)" in done.stdout
    assert "prepare: " not in done.stdout


def test_where_a_step_says_itself_that_it_failed_no_other_is_named(tmp_path: Path) -> None:
    stopped = Planted(code="INTERNAL", steps=(Step("prepare"), Step("score")))
    spans = call(stopped)
    infer = next(one for one in spans if one["kind"] == 3 and one["service"] == "trident-gateway")
    prepare = next(one for one in spans if one["name"].endswith("__prepare"))
    infer["status"] = prepare["status"] = {"code": 2, "message": "no"}
    done = CliRunner().invoke(
        trace, ["show", "--last", "--file", str(write(tmp_path / "t.jsonl", [spans]))]
    )
    assert "ModelInfer, prepare: ERROR: no" in done.stdout
    assert "the ensemble stopped here" not in done.stdout
