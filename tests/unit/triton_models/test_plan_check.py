from __future__ import annotations

from typing import Any

import pytest
from manifests import manifest

from triton_models.plan_check import RunsOn, capability_of, plan_faults, version_of
from triton_models.plans import Plan, architecture, config_file, plan_file
from triton_models.release import Manifest

CORE = "score-risk__r1__core"
HERE = RunsOn("tensorrt", "9.0", "10.13.3.9")


def plan(**changes: Any) -> Plan:
    fields = {
        "step": "core",
        "file": f"{CORE}/1/sm_90-trt10.13.3.9.plan",
        "compute_capability": "9.0",
        "tensorrt": "10.13.3.9",
        "precision": "fp32",
    }
    return Plan.model_validate(fields | changes)


def release(*plans: Plan) -> Manifest:
    return manifest("score-risk").model_copy(
        update={"files": {config_file(CORE, "tensorrt"): "0" * 64}, "plans": plans}
    )


@pytest.mark.parametrize("profile", ["", "onnx-cuda", "onnx-tensorrt", "h100"])
def test_without_the_profile_no_plan_is_needed(profile: str) -> None:
    assert plan_faults(release(), RunsOn(profile, "9.0", "10.13.3")) == []


def test_a_release_without_plans_is_refused_with_the_command_that_makes_them() -> None:
    assert plan_faults(release(), HERE) == [
        "step 'core' has no plan: run `model-builder compile score-risk/r1 --profile tensorrt` on "
        "the GPU, and serve the release that it makes"
    ]


def test_a_core_without_the_profile_runs_as_on_any_machine() -> None:
    assert plan_faults(manifest("score-risk"), HERE) == []


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({}, HERE),
        ({}, RunsOn("tensorrt")),
        ({}, RunsOn("tensorrt", "9.0", "10.13.3")),
        ({"tensorrt": "10.13.3"}, HERE),
        ({"hardware_compatible": True}, RunsOn("tensorrt", "8.6", "10.13.3.9")),
        ({"version_compatible": True}, RunsOn("tensorrt", "9.0", "11.4.1")),
    ],
    ids=["same", "nothing known", "less known", "less said", "any GPU", "later version"],
)
def test_a_plan_that_fits_has_no_fault(changes: dict[str, Any], where: RunsOn) -> None:
    assert plan_faults(release(plan(**changes)), where) == []


@pytest.mark.parametrize(
    ("changes", "where", "fault"),
    [
        (
            {},
            RunsOn("tensorrt", "8.9", "10.13.3.9"),
            "is for sm_90 with TensorRT 10.13.3.9; Triton has sm_89 with TensorRT 10.13.3.9",
        ),
        (
            {},
            RunsOn("tensorrt", "9.0", "10.14.0"),
            "is for sm_90 with TensorRT 10.13.3.9; Triton has sm_90 with TensorRT 10.14.0",
        ),
        (
            {"hardware_compatible": True},
            RunsOn("tensorrt", "7.5"),
            "is for sm_90 and any GPU from sm_80 on with TensorRT 10.13.3.9; Triton has sm_75",
        ),
        (
            {"version_compatible": True},
            RunsOn("tensorrt", None, "10.9.0"),
            "is for sm_90 with TensorRT 10.13.3.9 or later; Triton has TensorRT 10.9.0",
        ),
    ],
    ids=["another GPU", "another version", "too old a GPU", "an earlier version"],
)
def test_a_plan_that_does_not_fit_is_refused_with_both_sides(
    changes: dict[str, Any], where: RunsOn, fault: str
) -> None:
    assert plan_faults(release(plan(**changes)), where) == [f"the plan of step 'core' {fault}"]


def test_one_of_several_plans_is_enough() -> None:
    other = plan(compute_capability="8.9", tensorrt="10.13.3.9")
    assert plan_faults(release(other, plan()), HERE) == []
    (fault,) = plan_faults(release(other, plan()), RunsOn("tensorrt", "12.0"))
    assert "sm_89 with TensorRT 10.13.3.9 and sm_90 with TensorRT 10.13.3.9" in fault


@pytest.mark.parametrize("text", ["9.0", "90", "sm_90"])
def test_a_capability_is_read_as_people_write_it(text: str) -> None:
    assert capability_of(text) == "9.0"
    assert capability_of("sm_120") == "12.0"


@pytest.mark.parametrize("text", ["", "H100", "9", "9.0.1"])
def test_what_is_no_capability_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="compute capability"):
        capability_of(text)


def test_a_version_has_two_to_four_numbers() -> None:
    assert version_of("10.13.3.9") == "10.13.3.9"
    for text in ("10", "v10.1", "10.1.2.3.4"):
        with pytest.raises(ValueError, match="version"):
            version_of(text)


def test_a_plan_is_called_after_what_can_run_it() -> None:
    assert architecture("12.0") == "sm_120"
    assert plan_file("9.0", "10.13.3.9") == "sm_90-trt10.13.3.9.plan"
