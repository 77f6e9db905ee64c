"""Compares both variants of a release, the chained steps and the fused model, with the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy.typing as npt

from model_builder.evaluation.parity import compare
from model_builder.export.chain import StepChain
from model_builder.export.fused import FusedModel
from model_builder.export.running import run_in_parts
from model_builder.task import StepModel
from triton_models.release import Compared, Parity
from triton_models.signatures import MAX_BATCH_ROWS, Signature


def compare_variants(
    steps: Sequence[StepModel],
    signature: Signature,
    inputs: Mapping[str, npt.NDArray[Any]],
    expected: Mapping[str, npt.NDArray[Any]],
    tolerances: Mapping[str, float],
    *,
    rows_at_once: int = MAX_BATCH_ROWS,
    compared: Compared = "torch-onnx",
) -> tuple[dict[str, Parity], dict[str, Parity]]:
    """Return the parity of the steps and of the fused model, by output.

    Args:
        steps: As they are released.
        signature: Of the line.
        inputs: The line's, each ``(rows, …)``.
        expected: What the network answers, each ``(rows, …)``.
        tolerances: How far off an output may be; others are not compared.
        rows_at_once: Rows that go in together.
        compared: With what.

    Raises:
        ParityBroken: At the first output that is missing, of another shape, or too far off.
    """
    rows = len(next(iter(inputs.values())))
    parity, fused_parity = (
        compare(
            expected,
            run_in_parts(model, inputs, rows_at_once, tuple(tolerances)),
            tolerances,
            rows=rows,
            compared=compared,
        )
        for model in (StepChain(steps), FusedModel(steps, signature))
    )
    return parity, fused_parity
