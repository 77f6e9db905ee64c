"""How far the axes go that vary: what TensorRT must know of a network before it compiles it.

The batch goes from one row to as many as Triton takes at once. Other axes are told by their
letters: what the API allows, and what a release says of itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import onnx

from triton_models.limits import MAX_BATCH_ROWS, MAX_IDS
from triton_models.plans import Shapes
from triton_models.signatures import RECOMMEND

USUAL_ROWS = 32
"""What plans are tuned for: batches as a gateway under load makes them."""


@dataclass(frozen=True)
class Range:
    """How far one axis goes."""

    least: int
    usual: int
    most: int


Ranges = Mapping[str, Range]
"""By the axis' letter; ``B`` is the batch."""

BATCH = "B"

BATCH_RANGE = Range(1, USUAL_ROWS, MAX_BATCH_ROWS)


class UnboundedAxes(Exception):
    """Axes vary, and nothing says how far."""

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(faults))


def ranges_of(line: str, note_tokens: int | None = None, batch: Range = BATCH_RANGE) -> Ranges:
    """Return how far the axes inside a release of a line go.

    Args:
        line: Which.
        note_tokens: That a release reads of a note at most; ``None``: it reads none.
        batch: Rows.
    """
    ranges = {BATCH: batch}
    if line == RECOMMEND.line:
        # Excluded items are, from the step `encode` on, also those of the history.
        ranges |= {"C": Range(1, 1, MAX_IDS), "X": Range(1, 64, 2 * MAX_IDS)}
    if note_tokens is not None:
        ranges["T"] = Range(1, min(64, note_tokens), note_tokens)
    return ranges


def seen(
    ranges: Ranges,
    inputs: Iterable[onnx.ValueInfoProto],
    asked: Mapping[str, npt.NDArray[np.generic]],
) -> Ranges:
    """Return the ranges with what real requests usually have.

    Args:
        ranges: As they are known.
        inputs: Of a network.
        asked: By input, ``(B, …)``: what it was really asked; others are not looked at.
    """
    usual = dict(ranges)
    for value in inputs:
        array = asked.get(value.name)
        if array is None:
            continue
        for place, dim in enumerate(value.type.tensor_type.shape.dim):
            known = usual.get(dim.dim_param)
            if place and known is not None:
                size = min(max(array.shape[place], known.least), known.most)
                usual[dim.dim_param] = replace(known, usual=size)
    return usual


def shapes_of(inputs: Iterable[onnx.ValueInfoProto], ranges: Ranges) -> dict[str, Shapes]:
    """Return the least, usual and greatest size of each input, with the batch axis.

    Raises:
        UnboundedAxes: If nothing says how far an axis goes; names each.
    """
    faults: list[str] = []
    shapes = {}
    for value in inputs:
        axes = []
        for place, dim in enumerate(value.type.tensor_type.shape.dim):
            if dim.HasField("dim_value"):
                axes.append(Range(dim.dim_value, dim.dim_value, dim.dim_value))
            elif (known := ranges.get(dim.dim_param if place else BATCH)) is not None:
                axes.append(known)
            else:
                letter = f" ('{dim.dim_param}')" if dim.dim_param else ""
                faults.append(
                    f"input '{value.name}': axis {place}{letter} varies, "
                    "and nothing says how far it goes"
                )
        shapes[value.name] = Shapes(
            least=tuple(axis.least for axis in axes),
            usual=tuple(axis.usual for axis in axes),
            most=tuple(axis.most for axis in axes),
        )
    if faults:
        raise UnboundedAxes(faults)
    return shapes


def greatest_sizes(
    inputs: Iterable[onnx.ValueInfoProto], ranges: Ranges
) -> dict[str, tuple[int, ...]]:
    """Return the greatest size of each input, but of the batch, which is one row.

    Raises:
        UnboundedAxes: If nothing says how far an axis goes; names each.
    """
    one_row = {**ranges, BATCH: Range(1, 1, 1)}
    return {name: shapes.most for name, shapes in shapes_of(inputs, one_row).items()}


def ranges_text(shapes: Mapping[str, Shapes]) -> dict[str, str]:
    """Return the least, usual and greatest sizes as TensorRT's tools read and call them."""
    return {
        kind: shapes_text({name: getattr(each, of) for name, each in shapes.items()})
        for kind, of in (("min", "least"), ("opt", "usual"), ("max", "most"))
    }


def shapes_text(shapes: Mapping[str, Sequence[int]]) -> str:
    """Return sizes as TensorRT's tools read them: ``history:1x50,query:1x66``."""
    return ",".join(f"{name}:{'x'.join(map(str, sizes))}" for name, sizes in shapes.items())
