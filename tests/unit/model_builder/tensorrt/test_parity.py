from __future__ import annotations

import numpy as np
import pytest

from model_builder.tensorrt.errors import PlanDiffers
from model_builder.tensorrt.parity import check_plan, differences

NETWORK = {
    "scores": np.array([[1.0, 200.0]], np.float32),
    "items": np.array([[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]], np.int32),
}


def test_numbers_are_compared_with_the_largest_and_whole_ones_counted() -> None:
    plan = {"scores": NETWORK["scores"] + 0.1, "items": NETWORK["items"].astype(np.float64)}
    plan["items"][0, 0] = 7
    found = differences(NETWORK, plan)
    assert found == {"scores": pytest.approx(0.1 / 200, rel=1e-3), "items": 0.1}


@pytest.mark.parametrize(
    "plan",
    [{}, {"scores": np.zeros((1, 3))}, {"scores": np.array([[1.0, np.nan]])}],
    ids=["missing", "of another size", "not a number"],
)
def test_what_cannot_be_compared_is_off_by_infinity(plan: dict[str, np.ndarray]) -> None:
    assert differences({"scores": NETWORK["scores"]}, plan)["scores"] == float("inf")


def test_the_same_holes_are_no_difference() -> None:
    holes = {"scores": np.array([np.nan, 1.0])}
    assert differences(holes, holes) == {"scores": 0.0}


def test_every_output_that_is_off_is_named() -> None:
    plan = {"scores": NETWORK["scores"] + 1, "items": NETWORK["items"] + 1}
    with pytest.raises(PlanDiffers) as raised:
        check_plan("rank", NETWORK, plan, "fp32")
    assert raised.value.faults == (
        "'scores' is off by 0.005, 0.001 is allowed",
        "'items' is off by 1, 0.01 is allowed",
    )


def test_a_lower_precision_may_be_further_off_and_a_tolerance_is_taken() -> None:
    plan = NETWORK | {"scores": NETWORK["scores"] + 1}
    assert check_plan("rank", NETWORK, plan, "fp16")["scores"] == pytest.approx(0.005)
    with pytest.raises(PlanDiffers):
        check_plan("rank", NETWORK, plan, "fp16", tolerance=0.004)
