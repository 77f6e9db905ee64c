"""Recorded answers against served ones: names, shapes, values, within the recorded tolerance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from model_builder.errors import ParityBroken, ProofFailed
from model_builder.evaluation.parity import compare, wider
from triton_models.release import Compared, Manifest, Parity

Outputs = Mapping[str, npt.NDArray[Any]]

_TIE = 1e-4
"""Share of a score by which two items may differ and still change places."""


class Comparison:
    """Adds up the comparisons of one who was asked, a batch at a time.

    Args:
        who: Who was asked, for people.
        manifest: Has the tolerances.
        rows: How many rows the proof compares in all.
    """

    def __init__(self, who: str, manifest: Manifest, rows: int) -> None:
        self._who = who
        self._manifest = manifest
        self._rows = rows
        self.parity: dict[str, Parity] = {}

    def add(self, expected: Outputs, actual: Outputs) -> None:
        """Compare a batch, ``(B, …)`` each.

        Raises:
            ProofFailed: At the first output that is too far off; names who, which and how far.
        """
        known = self._manifest.parity
        tolerances = {name: known[name].tolerance for name in expected if name in known}
        yardstick = next(iter(known.values())).compared.split("-")[0] if known else "torch"
        try:
            found = compare(
                expected,
                settled(expected, actual),
                tolerances,
                self._rows,
                cast(Compared, f"{yardstick}-served"),
            )
        except ParityBroken as error:
            raise ProofFailed(f"{self._who}: {error}") from error
        for name, parity in found.items():
            self.parity[name] = wider(self.parity.get(name), parity)


def settled(expected: Outputs, actual: Outputs) -> Outputs:
    """Return ``actual`` with the recorded item wherever the one served scores alike.

    Items that tie may change places with the size of the batch, in which sums are rounded
    otherwise; one that takes the last place may come from beyond it.
    """
    if "item_ids" not in expected or "item_ids" not in actual:
        return actual
    wanted, ids = expected["item_ids"], actual["item_ids"].copy()
    if ids.shape != wanted.shape:
        return actual
    settled: dict[str, npt.NDArray[Any]] = {**actual, "item_ids": ids}
    because = actual.get("because_positions")
    if because is not None and because.shape == expected["because_positions"].shape:
        because = settled["because_positions"] = because.copy()
    for row, rank in np.argwhere(ids != wanted):
        scores = expected["scores"][row]
        score = scores[rank]
        elsewhere = np.flatnonzero(wanted[row] == ids[row, rank])
        its_own = scores[elsewhere[0]] if len(elsewhere) else scores[-1]
        if ids[row, rank] and abs(its_own - score) <= _TIE * score:
            ids[row, rank] = wanted[row, rank]
            if because is not None:
                because[row, rank] = expected["because_positions"][row, rank]
    return settled
