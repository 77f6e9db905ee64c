"""How far a plan answers from the network that it was made of."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from model_builder.tensorrt.errors import PlanDiffers
from triton_models.plans import Precision

Outputs = Mapping[str, npt.NDArray[np.generic]]

TOLERANCES: Mapping[Precision, float] = {
    "fp32": 1e-3,
    "fp16": 1e-2,
    "bf16": 5e-2,
    "int8": 5e-2,
    "fp8": 5e-2,
}
"""Of numbers, relative to the largest of an output; kernels add up in another order."""

SHARES: Mapping[Precision, float] = {
    "fp32": 0.01,
    "fp16": 0.1,
    "bf16": 0.2,
    "int8": 0.2,
    "fp8": 0.2,
}
"""Of whole numbers and truths, such as which item is where: the share that may be another."""


def differences(network: Outputs, plan: Outputs) -> dict[str, float]:
    """Return how far a plan is off, by output.

    Of numbers the largest difference, relative to the largest value (or to 1); of whole numbers
    and truths the share that are others. An output that is missing or of another size is off by
    infinity.

    Args:
        network: What the network answers.
        plan: What the plan answers to the same.
    """
    return {name: _difference(array, plan.get(name)) for name, array in network.items()}


def check_plan(
    step: str,
    network: Outputs,
    plan: Outputs,
    precision: Precision,
    tolerance: float | None = None,
) -> dict[str, float]:
    """Return the differences of a plan that is near enough.

    Raises:
        PlanDiffers: If it is not; names every output.
    """
    found = differences(network, plan)
    faults = []
    for name, far in found.items():
        whole = network[name].dtype.kind != "f"
        allowed = SHARES[precision] if whole else tolerance or TOLERANCES[precision]
        if not far <= allowed:
            faults.append(f"'{name}' is off by {far:.3g}, {allowed:.3g} is allowed")
    if faults:
        raise PlanDiffers(step, faults)
    return found


def _difference(expected: npt.NDArray[np.generic], found: npt.NDArray[np.generic] | None) -> float:
    if found is None or found.shape != expected.shape:
        return float("inf")
    if expected.dtype.kind != "f":
        return float(np.mean(expected.astype(np.float64) != found.astype(np.float64)))
    wanted, given = expected.astype(np.float64), found.astype(np.float64)
    if not np.array_equal(np.isnan(wanted), np.isnan(given)):
        return float("inf")
    scale = max(1.0, float(np.nanmax(np.abs(wanted), initial=0.0)))
    return float(np.nanmax(np.abs(wanted - given), initial=0.0)) / scale
