"""A network from elsewhere on a table: what it reads, what it answers, how it is exported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnx

from model_builder.errors import ConfigInvalid
from model_builder.importing.errors import ImportMismatch
from model_builder.importing.foreign import Foreign
from model_builder.importing.graphs import Gives, Taken, core_graph, logits_of
from model_builder.importing.mapping import Mapped, Slot, match
from model_builder.tabular.encoding import Encoding
from model_builder.tabular.fitting import prepared, split_table
from model_builder.tabular.model import Answers, TableModel
from model_builder.tabular.preparation import clean_values
from model_builder.tabular.prepare_graph import clean_graph, prepare_graph
from model_builder.tabular.splits import Splits
from model_builder.tabular.table import Table
from model_builder.tabular.training import TabularConfig
from model_builder.task import ResolvedData
from triton_models.release import Compared, DataSource

Takes = Literal["prepared", "features"]

TOLERANCES_OF_PROBABILITIES = {"score": 0.5, "contributions": 0.02}
"""In points and log-odds. A probability near 0 or 1 has few digits of its log-odds: a network
that gives logits is held to the usual tolerances."""


@dataclass(frozen=True)
class ReadTable:
    """A table as an imported network would read it."""

    table: Table
    splits: Splits
    encoding: Encoding
    inputs: npt.NDArray[np.float32]
    """``(rows, D)``, prepared."""
    rules: npt.NDArray[np.int32]
    """``(rows, F)``."""

    def taken(self, takes: Takes) -> tuple[Taken, ...]:
        """Return the tensors that a network of that kind reads."""
        if takes == "prepared":
            owners, typical = self.encoding.owners, self.encoding.typical
            return (Taken("inputs", "inputs", self.inputs, owners, typical),)
        clean, _ = clean_values(self.encoding, self.table.numbers, self.table.categories)
        return tuple(
            each
            for each in (self._clean_numbers(clean), self._category_places(clean))
            if each.values.shape[1]
        )

    def step_before(self, takes: Takes) -> onnx.ModelProto:
        """Return the graph of the step that gives the network what it reads."""
        return prepare_graph(self.encoding) if takes == "prepared" else clean_graph(self.encoding)

    def _clean_numbers(self, clean: list[npt.NDArray[np.generic]]) -> Taken:
        chosen = [f for f, each in enumerate(self.encoding.features) if each.kind == "number"]
        values = _columns([clean[f] for f in chosen], len(self.table), np.float32)
        typical = [self.encoding.features[f].typical for f in chosen]
        owners = self._owners(chosen)
        return Taken("clean_numbers", "numbers", values, owners, np.array(typical, np.float32))

    def _category_places(self, clean: list[npt.NDArray[np.generic]]) -> Taken:
        chosen = [f for f, each in enumerate(self.encoding.features) if each.kind == "category"]
        places = []
        typical = []
        for f in chosen:
            words = {word: place for place, word in enumerate(self.encoding.features[f].categories)}
            places.append(np.array([words[str(word)] for word in clean[f]], np.int64))
            typical.append(words[str(self.encoding.features[f].typical)])
        values = _columns(places, len(self.table), np.int64)
        owners = self._owners(chosen)
        return Taken("category_places", "categories", values, owners, np.array(typical, np.int64))

    def _owners(self, chosen: list[int]) -> npt.NDArray[np.bool_]:
        owners = np.zeros((len(self.encoding.features), len(chosen)), np.bool_)
        owners[chosen, np.arange(len(chosen))] = True
        return owners


@dataclass(frozen=True)
class ImportedTable(TableModel):
    """A network that was trained elsewhere, with its framework's own answers."""

    before: onnx.ModelProto
    core: onnx.ModelProto
    judged: npt.NDArray[np.float32]
    """``(judged rows, K)``."""
    test: Answers
    reference: float
    compared: Compared
    tolerances: Mapping[str, float]

    @property
    def parity_kind(self) -> Compared:
        """What the parity is between."""
        return self.compared

    @property
    def own_tolerances(self) -> Mapping[str, float]:
        """Wider ones, for a network that gives probabilities."""
        return self.tolerances

    @property
    def judged_logits(self) -> npt.NDArray[np.float32]:
        """``(judged rows, K)``: what the network answers for the validation rows."""
        return self.judged

    @property
    def reference_logit(self) -> float:
        """The first logit of a row that is typical throughout."""
        return self.reference

    def test_answers(self) -> Answers:
        """Return the framework's ``logits`` ``(rows, K)`` and ``reset_logits`` ``(rows, F, K)``."""
        return self.test

    def export(self) -> tuple[onnx.ModelProto, onnx.ModelProto]:
        """Return the steps that prepare and that run the network."""
        return self.before, self.core

    def data_source(self, data: ResolvedData, config: TabularConfig) -> DataSource:
        """Say what was measured, and that the training is not known here."""
        source = super().data_source(data, config)
        drawn = source.protocol.split(";")[0]
        protocol = (
            f"{drawn}. The network was trained elsewhere and imported: whether it has seen the "
            "validation or the test rows is not known here. The validation rows calibrated it, "
            "the test rows measured it; medians, ranges and baselines are of the train rows."
        )
        return source.model_copy(update={"protocol": protocol})


def read_for_import(table: Table, config: TabularConfig) -> ReadTable:
    """Split a table and infer its schema, as a build with one validation split does.

    Raises:
        ConfigInvalid: If the schema says what only a training can keep.
    """
    splits = split_table(table, config)
    encoding, inputs, rules = prepared(table, splits)
    faults = [
        f"schema: '{feature.name}' is monotonic, and what a network from elsewhere has learnt is "
        "not known"
        for feature in encoding.features
        if feature.monotonic is not None
    ]
    if faults:
        raise ConfigInvalid(faults)
    return ReadTable(table, splits, encoding, inputs, rules)


def import_network(
    read: ReadTable,
    foreign: Foreign,
    *,
    what: str,
    takes: Takes,
    gives: Gives,
    classes: int,
    names: Mapping[str, str],
) -> ImportedTable:
    """Fit a network into a release's middle, and ask its framework for the answers.

    Args:
        read: The table.
        foreign: The network.
        what: It, in messages.
        takes: What it reads.
        gives: What it answers with.
        classes: K; 1 for the log-odds of class 1.
        names: The network's names of tensors, by place.

    Raises:
        ImportMismatch: Names everything that does not fit.
        ConversionFailed: If the framework fails.
    """
    taken = read.taken(takes)
    mapped = match(what, foreign.model, _inputs(taken), _outputs(foreign, gives, classes), names)
    judged_rows = read.splits.development[read.splits.judging]
    judged = _ask(foreign, mapped, taken, gives, {t.place: t.values[judged_rows] for t in taken})
    rows = read.splits.test
    asked = _ask(foreign, mapped, taken, gives, {t.place: t.variants(rows) for t in taken})
    _check_range(what, judged, gives)
    features = len(read.encoding.features)
    answers = logits_of(asked, gives, classes).reshape(len(rows), features + 1, classes)
    moved = np.any([each.moved(rows) for each in taken], axis=0)[:, :, None]  # (rows, F, 1)
    reset = np.where(moved, answers[:, 1:], answers[:, :1])
    typical = _ask(foreign, mapped, taken, gives, {t.place: t.typical[None] for t in taken})
    return ImportedTable(
        table=read.table,
        splits=read.splits,
        encoding=read.encoding,
        inputs=read.inputs,
        rules=read.rules,
        before=read.step_before(takes),
        core=core_graph(
            foreign.model,
            mapped,
            taken,
            gives=gives,
            width=judged.shape[1],
            classes=classes,
        ),
        judged=logits_of(judged, gives, classes),
        test={"logits": answers[:, 0], "reset_logits": reset},
        reference=float(logits_of(typical, gives, classes)[0, 0]),
        compared=foreign.compared,
        tolerances=TOLERANCES_OF_PROBABILITIES if gives == "probabilities" else {},
    )


def _inputs(taken: tuple[Taken, ...]) -> list[Slot]:
    return [
        Slot(
            each.place,
            ("FP32",) if each.values.dtype == np.float32 else ("INT64", "INT32"),
            (each.values.shape[1],),
        )
        for each in taken
    ]


def _outputs(foreign: Foreign, gives: Gives, classes: int) -> list[Slot]:
    # Of two classes one column is enough; the graph says which of both it gives.
    widths = {
        value.type.tensor_type.shape.dim[1].dim_value
        for value in foreign.model.graph.output
        if len(value.type.tensor_type.shape.dim) == 2
    }
    width = 1 if classes == 2 and 2 not in widths else classes
    return [Slot(gives, ("FP32",), (width,))]


def _ask(
    foreign: Foreign,
    mapped: Mapped,
    taken: tuple[Taken, ...],
    gives: Gives,
    values: Mapping[str, npt.NDArray[Any]],
) -> npt.NDArray[Any]:
    kinds = {v.name: v.type.tensor_type.elem_type for v in foreign.model.graph.input}
    feeds = {}
    for each in taken:
        name = mapped.inputs[each.place]
        feeds[name] = values[each.place].astype(onnx.helper.tensor_dtype_to_np_dtype(kinds[name]))
    return foreign.answer(feeds)[mapped.outputs[gives]]


def _check_range(what: str, answer: npt.NDArray[Any], gives: Gives) -> None:
    """Refuse logits that are called probabilities, and the other way round."""
    faults = []
    if not np.isfinite(answer).all():
        faults.append("it answers some validation rows with no finite number")
    inside = bool(((answer >= 0) & (answer <= 1)).all())
    one = answer.shape[1] == 1 or bool(np.allclose(answer.sum(axis=1), 1, atol=1e-3))
    if gives == "probabilities" and not (inside and one):
        faults.append("its answers are no probabilities; are they logits (--gives logits)?")
    if gives == "logits" and inside and one:
        faults.append("its answers look like probabilities (--gives probabilities)")
    if faults:
        raise ImportMismatch(what, faults)


def _columns(
    columns: list[npt.NDArray[Any]], rows: int, dtype: type[np.generic]
) -> npt.NDArray[Any]:
    return np.stack(columns, axis=1).astype(dtype) if columns else np.empty((rows, 0), dtype)
