from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from manifests import manifest

from gateway.triton.declared import DeclaredOutputs
from gateway.triton.tensors import MalformedTensor
from triton_models.signatures import ANY, NUMPY_TYPES

RELEASE = manifest("recommend")


def answer(rows: int = 2) -> dict[str, Any]:
    """Just what the release says, each axis that varies 3 long."""
    return {
        one.name: np.zeros(
            (rows, *(3 if size == ANY else size for size in one.dims)), NUMPY_TYPES[one.data_type]
        )
        for one in RELEASE.outputs
    }


def test_an_answer_as_the_release_says_is_one() -> None:
    DeclaredOutputs(RELEASE).check(answer())


@pytest.mark.parametrize("output", [one.name for one in RELEASE.outputs])
def test_an_output_of_another_shape_or_type_is_none(output: str) -> None:
    declared, right = DeclaredOutputs(RELEASE), answer()
    for wrong in (right[output][..., None], np.zeros(right[output].shape, np.float64)):
        with pytest.raises(MalformedTensor, match=f"'{output}': the release says"):
            declared.check(right | {output: wrong})


def test_an_output_with_an_axis_of_another_length_is_none() -> None:
    risk = manifest("score-risk")
    score = next(one for one in risk.outputs if one.name == "score")
    wrong = np.zeros((2, score.dims[0] + 1), np.float32)
    with pytest.raises(MalformedTensor, match="'score'"):
        DeclaredOutputs(risk).check({"score": wrong})


def test_an_output_that_nobody_declared_is_none() -> None:
    with pytest.raises(MalformedTensor, match="the release has no such output"):
        DeclaredOutputs(RELEASE).check(answer() | {"surprise": np.zeros((2, 1), np.float32)})
