"""What goes into each network of a release for rows of its training split."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from model_builder.errors import CannotDerive
from model_builder.export.chain import StepChain
from model_builder.export.running import Arrays
from model_builder.opened_release import Opened
from model_builder.proof.recorded import CALIBRATION, from_parquet
from model_builder.task import StepModel

_ROWS_AT_ONCE = 16
"""Long rows lengthen all others of their batch."""

Batches = dict[str, list[Arrays]]
"""By step, its inputs, a batch after the other."""


def calibration_inputs(parent: Opened, steps: Sequence[StepModel]) -> Batches:
    """Return what each step is given for the calibration rows of a release.

    Args:
        parent: Has the rows.
        steps: Its steps, or what has become of them.

    Raises:
        CannotDerive: If the release was built before such rows were kept.
    """
    content = parent.reports.get(CALIBRATION)
    if content is None:
        raise CannotDerive(
            parent.name, f"it has no {CALIBRATION}: it was built before training rows were kept"
        )
    rows = from_parquet(content)
    chain = StepChain(steps)
    found: Batches = {step.name: [] for step in steps}
    for start in range(0, rows.rows, _ROWS_AT_ONCE):
        places = np.arange(start, min(start + _ROWS_AT_ONCE, rows.rows))
        for name, given in chain.given(rows.batch(places)[0]).items():
            found[name].append(given)
    return found
