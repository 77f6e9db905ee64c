"""How far new rows lie from those that a release was built on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from model_builder.data_report.drift import CHANCE, LEAST_PSI, stability_index
from model_builder.errors import DataFault, Fault
from model_builder.export.running import OnnxModel, run_in_parts
from model_builder.risk.distributions import counted
from model_builder.tabular.checking import with_gaps
from model_builder.tabular.columns import canonical
from model_builder.tabular.kinds import written_numbers
from model_builder.tabular.loading import read_raw
from model_builder.task import ResolvedData
from triton_models.release import Distribution, Manifest

Values = npt.NDArray[Any]


@dataclass(frozen=True)
class Shift:
    """How far one distribution has moved."""

    name: str
    kind: str
    """``score``, ``number`` or ``category``."""
    psi: float
    """Population stability index: 0 is the same, 0.1 a shift, 0.25 a large one."""
    p_value: float
    """How likely chance gives one as large."""
    drifted: bool
    missing: float
    """Share of the new rows that hold no value."""
    unknown: float
    """Share of the new rows that hold a category that the release does not know."""


def shifts(manifest: Manifest, data: ResolvedData, model: bytes) -> tuple[int, list[Shift]]:
    """Return how many new rows there are, and the shift of the score and of each feature.

    Args:
        manifest: Of the release.
        data: New rows, with a column for each feature; a label is not needed.
        model: The release's fused ONNX model, which scores them.

    Raises:
        DataFault: If a feature has no column, or the release keeps no distributions.
    """
    if not manifest.distributions:
        name = f"{manifest.line}/{manifest.release}"
        raise DataFault([Fault(name, "distributions to compare with", "none")])
    values = new_values(manifest, data)
    scored = scores(manifest, values, model)
    sure = CHANCE / len(manifest.distributions)
    found = [
        _shift(each, scored if each.kind == "score" else values[each.name], sure)
        for each in manifest.distributions
    ]
    return len(scored), sorted(found, key=lambda shift: (shift.kind != "score", -shift.psi))


def _shift(reference: Distribution, values: Values, sure: float) -> Shift:
    now = np.array(counted(reference, values).counts)
    psi, p_value = stability_index(np.array(reference.counts), now)
    return Shift(
        name=reference.name,
        kind=reference.kind,
        psi=psi,
        p_value=p_value,
        drifted=psi >= LEAST_PSI and p_value < sure,
        missing=float(now[-1] / now.sum()),
        unknown=float(now[-2] / now.sum()),
    )


def new_values(manifest: Manifest, data: ResolvedData) -> dict[str, Values]:
    """Return each feature's values ``(rows,)``: float with NaN for missing, or ``str`` with ''.

    Raises:
        DataFault: If a feature has no column; names each.
    """
    raw, layout = read_raw(data)
    columns = {column.name: column for column in layout.columns} if layout else {}
    named = [(feature, columns.get(feature.name)) for feature in manifest.features]
    files = {f.name: column.file_name if column else f.name for f, column in named}
    absent = [name for name in files.values() if name not in raw.frame.columns]
    if absent:
        raise DataFault([Fault(raw.file, f"a column '{name}'", "none") for name in absent])
    found: dict[str, Values] = {}
    for feature, column in named:
        cells = with_gaps(raw.frame[files[feature.name]], feature.missing_values)
        if feature.kind == "category":
            found[feature.name] = _words(cells, column.meanings if column else {})
        else:
            found[feature.name] = _numbers(cells)
    return found


def _numbers(cells: pl.Series) -> Values:
    numbers = written_numbers(cells).cast(pl.Float64, strict=False)
    return numbers.fill_null(float("nan")).to_numpy().astype(np.float64)


def _words(cells: pl.Series, meanings: Mapping[str, str]) -> Values:
    if meanings:
        texts = cells.map_elements(canonical, return_dtype=pl.String)
        cells = texts.replace_strict(meanings, default=texts, return_dtype=pl.String)
    return cells.fill_null("").to_numpy().astype(np.object_)


def scores(manifest: Manifest, values: Mapping[str, Values], model: bytes) -> Values:
    """Return the scores ``(rows,)`` of new rows, as the release gives them."""
    numbers = [values[f.name] for f in manifest.features if f.kind == "number"]
    words = [values[f.name] for f in manifest.features if f.kind == "category"]
    tensors: dict[str, Values] = {}
    if numbers:
        tensors["numbers"] = np.stack(numbers, axis=1).astype(np.float32)
    if words:
        tensors["categories"] = np.stack(words, axis=1)
    scored = run_in_parts(OnnxModel(model, ["score"]), tensors)["score"]
    return scored[:, 0].astype(np.float64)
