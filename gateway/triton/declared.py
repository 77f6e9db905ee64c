"""What a release says that its answers are like, and whether an answer is like that."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from gateway.triton.tensors import Arrays, MalformedTensor
from triton_models.release import Manifest, Tensor
from triton_models.signatures import ANY, NUMPY_TYPES


class DeclaredOutputs:
    """The outputs of a release, to compare each answer with.

    Args:
        manifest: Of the release.
    """

    def __init__(self, manifest: Manifest) -> None:
        self._tensors = {one.name: one for one in manifest.outputs}
        self._fitted: dict[str, tuple[np.dtype[Any], tuple[int, ...]]] = {}
        """What fitted last: nearly always it comes again."""

    def check(self, answer: Arrays) -> None:
        """Take an answer's outputs, each ``(B, …)``.

        Raises:
            MalformedTensor: If one is not as the release says.
        """
        for name, array in answer.items():
            found = array.dtype, array.shape[1:]
            if self._fitted.get(name) == found:
                continue
            tensor = self._tensors.get(name)
            if tensor is None:
                raise MalformedTensor(name, "the release has no such output")
            if not fits(tensor, array):
                raise MalformedTensor(
                    name,
                    f"the release says {tensor.data_type} {list(tensor.dims)}, it is "
                    f"{array.dtype.name} {list(array.shape[1:])}",
                )
            self._fitted[name] = found


def fits(tensor: Tensor, array: npt.NDArray[Any]) -> bool:
    """Return whether an array ``(B, …)`` is what a release says of it, but for the batch."""
    shape = array.shape[1:]
    return (
        len(shape) == len(tensor.dims)
        and all(want in (ANY, size) for want, size in zip(tensor.dims, shape, strict=True))
        and array.dtype == np.dtype(NUMPY_TYPES[tensor.data_type])
    )
