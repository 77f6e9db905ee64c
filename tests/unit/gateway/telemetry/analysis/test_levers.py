"""What a finding tells to change can be changed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.settings import Settings
from gateway.telemetry.analysis import (
    findings,
    findings_of_errors,
    findings_of_waiting,
    findings_over_time,
    levers,
)
from gateway.telemetry.analysis.failures import NO_RELEASE
from gateway.telemetry.analysis.levers import LEVERS, lever_of
from gateway.telemetry.analysis.stages import FIXED, stages_of_step

CHART = Path(__file__).parents[5] / "deploy" / "k8s" / "trident" / "values.yaml"
ONE = re.compile(
    r"(?P<name>[a-z_.A-Z]+)(: (?P<value>\w+))? \((?P<owner>gateway|chart)(, embedded)?\)(: .+)?"
)
PARTS = sorted({part for lever in LEVERS for part in lever.split("; ")})


@pytest.mark.parametrize("part", PARTS)
def test_a_lever_is_a_setting_of_the_gateway_or_a_value_of_the_chart(part: str) -> None:
    said = ONE.fullmatch(part)
    assert said is not None
    if said["owner"] == "gateway":
        assert said["name"] in Settings.model_fields
        if said["value"]:
            Settings(triton=("localhost:8001",), **{said["name"]: said["value"]})
        return
    values: Any = yaml.safe_load(CHART.read_text())
    for key in said["name"].split("."):
        values = values[key]


def test_every_lever_is_among_them() -> None:
    named = {
        name for name, value in vars(levers).items()
        if name.isupper() and isinstance(value, str)
    }  # fmt: skip
    assert {vars(levers)[name] for name in named} == set(LEVERS)
    rules = (findings, findings_of_errors, findings_of_waiting, findings_over_time)
    assert not [
        name for module in rules for name, value in vars(module).items()
        if name.isupper() and isinstance(value, str) and value not in (*LEVERS, NO_RELEASE)
    ]  # fmt: skip


@pytest.mark.parametrize("stage", [*FIXED, *stages_of_step("score.2", 0)], ids=lambda one: one.key)
def test_every_stage_of_ours_has_one(stage: Any) -> None:
    assert lever_of(stage.key) in LEVERS


def test_a_span_of_somebody_else_has_none() -> None:
    assert lever_of("other.cleanup") == ""


@pytest.mark.parametrize("part", [one for one in PARTS if one.startswith("max_batch_wait_s")])
def test_the_window_is_never_named_without_a_direction(part: str) -> None:
    assert ("lower it" in part) != ("raise it" in part)


@pytest.mark.parametrize("part", ["queue", "input", "infer", "output", "other"])
def test_what_is_fused_is_not_told_to_be(part: str) -> None:
    assert "variant: fused" not in lever_of(f"step.fused.{part}", fused=True)
    assert lever_of("step.fused.infer", fused=True) == "triton.gpu.count (chart)"
