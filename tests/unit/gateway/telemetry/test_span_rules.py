"""One table of rules, followed by the gateway and by the Collector."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ottl
import pytest
import yaml
from synthetic_traces import Planted, Step, call

from gateway.telemetry.span import Kind
from gateway.telemetry.span_rules import SCOPE, Draft, collector_config, repair

FILE = Path(__file__).parents[4] / "deploy" / "otel" / "triton-spans.yaml"
TRITON = [
    one for one in call(Planted(steps=(Step("prepare"), Step("score.2"))))
    if one["service"] == "triton"
]  # fmt: skip
ODD: list[dict[str, Any]] = [
    {"name": "letters__encode", "attributes": {"triton.model_name": "letters__encode"}},
    {"name": "plain", "attributes": {"triton.model_name": "plain"}},
    {"name": "a__b__c__d", "attributes": {"triton.model_name": "a__b__c__d"}},
    {"name": "Ü__r__x", "attributes": {"triton.model_name": "Ü__r__x"}},
    {"name": "compute", "events": {"COMPUTE_START": 5_000, "COMPUTE_END": 9_000}},
    {"name": "compute", "events": {"COMPUTE_START": 9_999, "COMPUTE_INPUT_END": 1_000}},
    {"name": "InferRequest", "events": {"GRPC_WAITREAD_START": 7}},
    {"name": "InferRequest", "events": {"HTTP_RECV_START": 7}},
]


def as_plain(span: dict[str, Any]) -> dict[str, Any]:
    """A span of OTLP/JSON as the rules look at it."""
    return {
        "name": span["name"],
        "kind": 2,
        "scope": SCOPE,
        "attributes": {one["key"]: one["value"]["stringValue"]
                       for one in span.get("attributes", ())},
        "events": {one["name"]: int(one["timeUnixNano"]) for one in span.get("events", ())},
    }  # fmt: skip


SPANS = [as_plain(one) for one in TRITON] + [
    {"kind": 2, "scope": SCOPE, "attributes": {}, "events": {}} | one for one in ODD
]


def repaired(span: dict[str, Any]) -> dict[str, Any]:
    draft = Draft(span["name"], Kind(span["kind"]), dict(span["attributes"]), span["events"])
    repair(draft)
    return {"name": draft.name, "kind": draft.kind.value, "attributes": draft.attributes}


@pytest.mark.parametrize("span", SPANS, ids=lambda one: one["name"])
def test_the_collector_makes_of_a_span_what_the_gateway_makes_of_it(span: dict[str, Any]) -> None:
    by_collector = span | {"attributes": dict(span["attributes"])}
    config = yaml.safe_load(FILE.read_text())["processors"]["transform/triton"]
    ottl.transform(config, by_collector)
    ours = repaired(span)
    assert {key: by_collector[key] for key in ours} == ours


def test_the_collector_leaves_spans_of_others_alone() -> None:
    config = yaml.safe_load(FILE.read_text())["processors"]["transform/triton"]
    for span in SPANS:
        other = span | {"scope": "trident.gateway", "attributes": dict(span["attributes"])}
        before = other | {"attributes": dict(span["attributes"])}
        ottl.transform(config, other)
        assert other == before


def test_the_file_for_the_collector_is_what_the_rules_say() -> None:
    assert FILE.read_text() == collector_config(), (
        "write it anew: python -m gateway.telemetry.span_rules > deploy/otel/triton-spans.yaml"
    )


def test_a_step_is_called_by_its_name_and_says_which_release_it_is_of() -> None:
    model = "score-risk__a1__score.2"
    (span,) = (one for one in SPANS if one["attributes"].get("triton.model_name") == model)
    made = repaired(span)
    assert (made["name"], made["kind"]) == ("score.2", 1)
    assert made["attributes"] == {
        "triton.model_name": model,
        "trident.line": "score-risk",
        "trident.release": "a1",
        "trident.step": "score.2",
    }


def test_an_ensemble_keeps_its_name_and_is_no_step() -> None:
    made = repaired(next(one for one in SPANS if one["name"] == "score-risk__a1"))
    assert made["name"] == "score-risk__a1"
    assert made["attributes"]["trident.release"] == "a1"
    assert "trident.step" not in made["attributes"]


def test_compute_says_how_long_it_loaded_computed_and_stored() -> None:
    made = repaired(next(one for one in SPANS if one["name"] == "compute"))
    times = {key: value for key, value in made["attributes"].items() if key.endswith("_us")}
    assert times == {
        "trident.compute_input_us": 20,
        "trident.compute_infer_us": 400,
        "trident.compute_output_us": 30,
    }


def test_only_the_request_itself_is_a_servers() -> None:
    kinds = {one["name"]: repaired(one)["kind"] for one in SPANS}
    assert kinds.pop("InferRequest") == 2
    assert set(kinds.values()) == {1}
