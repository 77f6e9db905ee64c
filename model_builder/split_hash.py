"""Proves which rows a split put where."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt


def assignment_sha256(parts: Iterable[tuple[str, Iterable[npt.NDArray[Any]]]]) -> str:
    """Return the sha256 of an assignment: the same data and seed give the same one.

    Args:
        parts: Name of each part and the integers or booleans that say what lies in it, in
            order. Names, shapes and values count; the width of the integers does not.
    """
    digest = hashlib.sha256()
    for name, arrays in parts:
        for array in arrays:
            digest.update(f"{name} {array.shape}\n".encode())
            digest.update(np.ascontiguousarray(array, dtype="<i8").tobytes())
    return digest.hexdigest()
