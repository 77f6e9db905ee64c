from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from manifests import manifest

from model_builder.errors import ProofFailed
from model_builder.proof.comparing import Comparison
from triton_models.release import Parity

Outputs = dict[str, Any]


def parity(tolerance: float, compared: Any = "torch-onnx") -> Parity:
    return Parity(compared=compared, rows=9, tolerance=tolerance, max_difference=0)


def comparison(line: str = "score-risk", **tolerances: float) -> Comparison:
    known = {name: parity(tolerance) for name, tolerance in tolerances.items()}
    return Comparison("the model", manifest(line, parity=known), rows=2)


def test_the_furthest_batch_is_what_is_noted() -> None:
    found = comparison(score=0.1)
    for off in (0.01, 0.05, 0.02):
        found.add({"score": np.array([[1.0]])}, {"score": np.array([[1 + off]])})
    assert found.parity["score"].max_difference == pytest.approx(0.05)
    assert found.parity["score"].compared == "torch-served"
    assert found.parity["score"].rows == 2


def test_answers_that_are_off_by_one_percent_are_refused_with_who_and_how_far() -> None:
    served = {"score": np.array([[606.0]])}
    with pytest.raises(ProofFailed) as caught:
        comparison(score=0.01).add({"score": np.array([[600.0]])}, served)
    assert str(caught.value) == (
        "not proven: the model: output 'score' differs from torch by 6, "
        "more than its tolerance 0.01"
    )


@pytest.mark.parametrize(
    "served", [{}, {"score": np.zeros((1, 2))}, {"score": np.array([[np.nan]])}],
    ids=["missing", "another shape", "not a number"],
)  # fmt: skip
def test_what_is_not_there_or_no_number_is_refused(served: Outputs) -> None:
    with pytest.raises(ProofFailed, match="'score' differs"):
        comparison(score=0.01).add({"score": np.array([[600.0]])}, served)


def test_an_import_is_compared_with_its_own_framework() -> None:
    known = {"score": parity(0.1, "keras-onnx")}
    found = Comparison("the model", manifest("score-risk", parity=known), rows=1)
    found.add({"score": np.array([[1.0]])}, {"score": np.array([[1.0]])})
    assert found.parity["score"].compared == "keras-served"


def items(ids: list[str], scores: list[float], because: list[int] | None = None) -> Outputs:
    return {
        "item_ids": np.array([ids], object),
        "scores": np.array([scores], np.float32),
        "because_positions": np.array([[[one, -1] for one in because or [0] * len(ids)]]),
    }


RECORDED = items(["a", "b", "c"], [0.5, 0.2, 0.2], [0, 1, 2])
TOLERANCES = {"item_ids": 0.0, "scores": 1e-5, "because_positions": 0.0}


@pytest.mark.parametrize(
    ("ids", "because"),
    [(["a", "b", "c"], [0, 1, 2]), (["a", "c", "b"], [0, 2, 1]), (["a", "b", "d"], [0, 1, 7])],
    ids=["as recorded", "two that tie", "one that ties from beyond the list"],
)
def test_items_that_tie_may_change_places(ids: list[str], because: list[int]) -> None:
    found = comparison("recommend", **TOLERANCES)
    found.add(RECORDED, items(ids, [0.5, 0.2, 0.2], because))
    assert found.parity["item_ids"].max_difference == 0


@pytest.mark.parametrize(
    ("ids", "because"),
    [(["b", "a", "c"], [0, 1, 2]), (["a", "b", ""], [0, 1, 2]), (["d", "b", "c"], [0, 1, 2]),
     (["a", "b", "c"], [0, 1, 1])],
    ids=["better and worse", "none", "another on top", "another reason"],
)  # fmt: skip
def test_items_that_do_not_tie_may_not(ids: list[str], because: list[int]) -> None:
    with pytest.raises(ProofFailed):
        comparison("recommend", **TOLERANCES).add(RECORDED, items(ids, [0.5, 0.2, 0.2], because))
