"""Does the exported model answer like the trained one?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from model_builder.errors import ParityBroken
from triton_models.gaps import gaps
from triton_models.release import Compared, Parity


def compare(
    expected: Mapping[str, npt.NDArray[Any]],
    actual: Mapping[str, npt.NDArray[Any]],
    tolerances: Mapping[str, float],
    rows: int,
    compared: Compared = "torch-onnx",
) -> dict[str, Parity]:
    """Compare the outputs named in ``tolerances``: names, then shapes, then values.

    Numbers may differ by at most the tolerance, absolutely; NaN equals NaN. Strings and
    booleans count 1 for every row in which they differ, so that a tolerance of 0 means equal.

    Raises:
        ParityBroken: At the first output that is missing, of another shape, or too far off.
    """
    found: dict[str, Parity] = {}
    yardstick = compared.split("-")[0]
    for name, tolerance in tolerances.items():
        if name not in actual or name not in expected:
            raise ParityBroken(name, float("inf"), tolerance, yardstick)
        difference = _difference(np.asarray(expected[name]), np.asarray(actual[name]))
        if difference > tolerance:
            raise ParityBroken(name, difference, tolerance, yardstick)
        found[name] = Parity(
            compared=compared, rows=rows, tolerance=tolerance, max_difference=difference
        )
    return found


def wider(known: Parity | None, part: Parity) -> Parity:
    """Return the one that is further off."""
    if known is None or part.max_difference > known.max_difference:
        return part
    return known


def _difference(expected: npt.NDArray[Any], actual: npt.NDArray[Any]) -> float:
    if expected.shape != actual.shape:
        return float("inf")
    if expected.size == 0:
        return 0.0
    if expected.dtype.kind in "OUSb" or actual.dtype.kind in "OUSb":
        differs = expected != actual
        return float(np.count_nonzero(differs.reshape(len(differs), -1).any(axis=1)))
    return float(gaps(expected, actual).max())
