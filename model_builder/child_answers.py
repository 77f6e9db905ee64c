"""What a child answers to its parent's test split, and how far that is from the parent's answers.

Each row is asked by itself: that is what the child is held to wherever it is served. Rows that
travel together may move each other's answers a little, more so where a network rounds to whole
numbers; how far is measured on the batches that a proof asks, and a child whose lists of items
change with the company of a row is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from model_builder.errors import CannotDerive
from model_builder.evaluation.parity import compare
from model_builder.export.chain import StepChain
from model_builder.export.fused import FusedModel
from model_builder.export.running import Runs
from model_builder.progress import Progress
from model_builder.proof.comparing import settled
from model_builder.proof.proving import full_batches, largest_batch
from model_builder.proof.recorded import Column, Recorded
from model_builder.task import StepModel
from triton_models.gaps import gaps
from triton_models.release import Apart, Manifest, Parity
from triton_models.signatures import SIGNATURES

Tensors = Mapping[str, npt.NDArray[Any]]

HEADROOM = 4.0
"""A served answer may be so many times as far off as company was seen to move one: rounding falls
otherwise on other processors."""
MOST_BY_COMPANY = 0.02
"""Share of an output's spread over the rows that company may move it."""


@dataclass(frozen=True)
class Answers:
    """What a child answers, and how steadily."""

    recorded: Recorded
    """The parent's inputs with the child's outputs, each row asked by itself."""
    parity: Mapping[str, Parity]
    """The chained steps in large batches against these."""
    fused_parity: Mapping[str, Parity]
    """The fused model, alone and in large batches, against these."""
    apart: Mapping[str, Apart]
    """From the parent's answers, by output."""
    company: Mapping[str, float]


def answer_with(
    steps: Sequence[StepModel], parent: Manifest, asked: Recorded, progress: Progress
) -> Answers:
    """Ask a child all that its parent recorded.

    Args:
        steps: The child's.
        parent: Has the tolerances.
        asked: The parent's inputs and answers.
        progress: Shows the parts.

    Raises:
        ParityBroken: If an output is missing or has another shape.
        CannotDerive: If company moves the answers too far.
    """
    chain, fused = StepChain(steps), FusedModel(steps, SIGNATURES[parent.line])
    own = _alone(chain, asked, progress)
    batches = full_batches(asked.rows, largest_batch(asked, parent))
    singles = [np.array([place]) for place in asked.golden()]
    with progress.stage("compare"):
        together = _moved(chain, own, batches, parent)
        in_one = _moved(fused, own, [*singles, *batches], parent)
    outputs = [name for name in parent.parity if name in own.outputs]
    _refuse_company(parent, own, together)
    tolerances = {
        name: max(
            parent.parity[name].tolerance, _rounded(HEADROOM * max(together[name], in_one[name]))
        )
        for name in outputs
    }

    def parities(found: Mapping[str, float]) -> dict[str, Parity]:
        return {
            name: Parity(
                compared="onnxruntime-onnx",
                rows=asked.rows,
                tolerance=tolerances[name],
                max_difference=found[name],
            )
            for name in outputs
        }

    return Answers(
        recorded=own,
        parity=parities(together),
        fused_parity=parities(in_one),
        apart=_apart(asked, own, outputs),
        company={name: together[name] for name in outputs},
    )


def with_answers(table: pa.Table, recorded: Recorded) -> pa.Table:
    """Return the parent's rows as a client asks them, with the child's answers in their places."""
    rows = np.arange(recorded.rows)
    found = recorded.batch(rows)[1]
    given = found["item_ids"] != "" if "item_ids" in found else None
    for place, name in enumerate(table.column_names):
        kind = table.schema.field(name).type
        if name == "unusual" and "unusualness" in found:
            values: list[Any] = (found["unusualness"][:, 0] > 1).tolist()
        elif name not in found:
            continue
        elif not pa.types.is_list(kind):
            values = found[name][:, 0].tolist()
        elif given is not None and name in ("item_ids", "scores"):
            values = [row[there].tolist() for row, there in zip(found[name], given, strict=True)]
        else:
            values = found[name].tolist()
        table = table.set_column(place, name, pa.array(values, kind))
    return table


def _alone(chain: Runs, asked: Recorded, progress: Progress) -> Recorded:
    made: dict[str, list[npt.NDArray[Any]]] = {name: [] for name in asked.outputs}
    with progress.stage("ask", total=asked.rows) as stage:
        for row in range(asked.rows):
            inputs, _ = asked.batch(np.array([row]))
            answers = chain.run(inputs)
            for name, parts in made.items():
                if name not in answers:
                    raise CannotDerive("the child", f"its steps give no '{name}'")
                parts.append(answers[name])
            stage.advance()
    return Recorded(asked.inputs, {name: _column(parts) for name, parts in made.items()})


def _column(parts: Sequence[npt.NDArray[Any]]) -> Column:
    """Return the rows as one array, or as lists where they are of many lengths."""
    if len({part.shape[1:] for part in parts}) == 1:
        return np.concatenate(parts)
    return [part[0].tolist() for part in parts]


def _moved(
    model: Runs, own: Recorded, batches: Sequence[npt.NDArray[np.int64]], parent: Manifest
) -> dict[str, float]:
    """Return by output how far the answers to these batches are from those to rows alone."""
    found: dict[str, float] = {}
    for rows in batches:
        inputs, expected = own.batch(rows)
        actual = {name: value for name, value in model.run(inputs).items() if name in expected}
        anything = {name: float("inf") for name in parent.parity if name in expected}
        compared = compare(
            expected, settled(expected, actual), anything, len(rows), "onnxruntime-onnx"
        )
        for name, parity in compared.items():
            found[name] = max(found.get(name, 0.0), parity.max_difference)
    return found


def _refuse_company(parent: Manifest, own: Recorded, together: Mapping[str, float]) -> None:
    faults = []
    for name, moved in together.items():
        column = own.outputs[name]
        numbers = isinstance(column, np.ndarray) and column.dtype.kind == "f"
        most = parent.parity[name].tolerance
        if numbers:
            most = max(most, MOST_BY_COMPANY * float(np.nanstd(column)))
        if moved > most:
            faults.append(f"'{name}' by {moved:.3g}, more than {most:.3g}")
    if faults:
        raise CannotDerive(
            f"{parent.line}/{parent.release}",
            "rows that travel together would move each other's answers: " + ", ".join(faults),
        )


def _apart(parent: Recorded, child: Recorded, outputs: Sequence[str]) -> dict[str, Apart]:
    rows = np.arange(parent.rows)
    theirs, ours = parent.batch(rows)[1], child.batch(rows)[1]
    return {name: _apart_by(theirs[name], ours[name]) for name in outputs}


def _apart_by(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> Apart:
    if one.dtype.kind in "OUSb":
        differ = (one != other).reshape(len(one), -1).any(axis=1)
        return Apart(largest=float(differ.sum()), mean=float(differ.mean()))
    apart = gaps(one, other)
    return Apart(largest=float(apart.max()), mean=float(np.mean(apart)))


def _rounded(value: float) -> float:
    """Return ``value`` to two digits, upwards: a tolerance is read by people."""
    if value <= 0:
        return 0.0
    unit = 10.0 ** (np.floor(np.log10(value)) - 1)
    return float(np.ceil(value / unit) * unit)
