from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from fake_runner import Outputs
from manifests import manifest

from gateway.domains.domain import check_answer
from gateway.errors import ModelContractBroken

DIAGNOSE = manifest("diagnose-measurements")
NAMES = ("probabilities", "contributions", "input_rules")
SIZES = {"B": 2, "F": 3, "K": 3}


def answer() -> Outputs:
    return {
        "probabilities": np.zeros((2, 3), np.float32),
        "contributions": np.zeros((2, 3, 3), np.float32),
        "input_rules": np.zeros((2, 3), np.int32),
    }


def with_(name: str, array: np.ndarray) -> Callable[[Outputs], None]:
    return lambda outputs: outputs.update({name: array})


def test_an_answer_as_declared_is_accepted() -> None:
    check_answer(answer(), NAMES, DIAGNOSE, SIZES)


@pytest.mark.parametrize(
    "spoil",
    [
        with_("probabilities", np.zeros((1, 3), np.float32)),
        with_("probabilities", np.zeros((2, 4), np.float32)),
        with_("probabilities", np.zeros(2, np.float32)),
        with_("probabilities", np.zeros((2, 3), np.float64)),
        with_("probabilities", np.full((2, 3), np.nan, np.float32)),
        with_("contributions", np.zeros((2, 4, 3), np.float32)),
        with_("contributions", np.full((2, 3, 3), np.inf, np.float32)),
        with_("input_rules", np.zeros((2, 2), np.int32)),
    ],
    ids=["rows", "labels", "rank", "type", "nan", "features", "infinite", "rules"],
)
def test_an_answer_of_another_shape_breaks_the_contract(spoil: Callable[[Outputs], None]) -> None:
    outputs = answer()
    spoil(outputs)
    with pytest.raises(ModelContractBroken, match="'r1' of 'diagnose-measurements'"):
        check_answer(outputs, NAMES, DIAGNOSE, SIZES)


@pytest.mark.parametrize("name", NAMES)
def test_an_answer_without_an_output_breaks_the_contract(name: str) -> None:
    outputs = answer()
    del outputs[name]
    with pytest.raises(ModelContractBroken):
        check_answer(outputs, NAMES, DIAGNOSE, SIZES)


def test_axes_that_no_one_sized_must_be_alike_in_all_outputs() -> None:
    outputs = {
        "item_ids": np.full((1, 4), b"", np.object_),
        "scores": np.zeros((1, 4), np.float32),
        "because_positions": np.zeros((1, 4, 2), np.int32),
    }
    check_answer(outputs, tuple(outputs), manifest("recommend"), {"B": 1})
    outputs["scores"] = np.zeros((1, 3), np.float32)
    with pytest.raises(ModelContractBroken):
        check_answer(outputs, tuple(outputs), manifest("recommend"), {"B": 1})


def test_axes_sized_in_the_signature_must_have_that_size() -> None:
    outputs = {"because_positions": np.zeros((1, 4, 3), np.int32)}
    with pytest.raises(ModelContractBroken):
        check_answer(outputs, tuple(outputs), manifest("recommend"), {"B": 1})
