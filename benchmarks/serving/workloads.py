"""What is asked: rows of the releases' own test splits, and what ONNX Runtime answers to each.

The reference chains the steps of the release, one row at a time, so that it does not lean on the
merging of the steps that is measured here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
import pyarrow.parquet as pq

from gateway.domains import diagnose, recommend
from gateway.domains.domain import requests_to_tensors
from trident.diagnose.v1 import diagnose_service_pb2 as diagnose_pb
from trident.recommend.v1 import recommend_service_pb2 as recommend_pb
from triton_models.release import Manifest, ensemble_name
from triton_models.store import ReleaseStore

Arrays = Mapping[str, npt.NDArray[Any]]

ROW_COUNT = 16
"""Different rows asked; from round to round it is another one's turn."""

HISTORY_LENGTH = 50


@dataclass(frozen=True)
class Task:
    """A line as it is asked: the RPC, and how a row of its test split becomes a request."""

    name: str
    title: str
    line: str
    rpc: str
    service: str
    domain: Any
    messages: Any
    request_of: Callable[[Mapping[str, Any]], Any | None]


def _diagnose_request(row: Mapping[str, Any]) -> Any:
    values = json.loads(row["measurements"])
    return diagnose_pb.DiagnoseRequest(measurements=diagnose_pb.Measurements(values=values))


def _recommend_request(row: Mapping[str, Any]) -> Any | None:
    """Return a request with exactly 50 items, or None if the history is shorter."""
    history = row["history_item_ids"][-HISTORY_LENGTH:]
    if len(history) < HISTORY_LENGTH:
        return None
    return recommend_pb.RecommendRequest(history_item_ids=history, item_count=10)


TASKS = {
    task.name: task
    for task in (
        Task("diagnose", "Diagnose, 30 measurements (MLP)", "diagnose-measurements", "Diagnose",
             "trident.diagnose.v1.DiagnoseService", diagnose, diagnose_pb, _diagnose_request),
        Task("recommend", "Recommend, 50 items of history (transformer)", "recommend", "Recommend",
             "trident.recommend.v1.RecommendService", recommend, recommend_pb,
             _recommend_request),
    )
}  # fmt: skip
LEFT_OUT = {"diagnose-image": "Diagnose with an image: not among the workloads yet"}


@dataclass(frozen=True)
class Row:
    """One request, its tensors, and what ONNX Runtime makes of them."""

    request: Any
    tensors: Arrays
    """Inputs of the release by name, ``(1, …)``; strings as object arrays of bytes."""
    answer: Arrays
    """The outputs that the request needs, ``(1, …)``, in the same form."""


class Workload:
    """A release and the rows that it is asked.

    Raises:
        LookupError: If the store routes no release of the task's line, or has too few rows.
    """

    def __init__(self, task: Task, store: ReleaseStore) -> None:
        targets = store.routes()[1].lines.get(task.line)
        if not targets:
            raise LookupError(f"{store.models_path}: no release of '{task.line}' is routed")
        self.task = task
        self.manifest: Manifest = store.manifest(task.line, targets[0].release)
        self._models = Path(store.models_path)
        self._answers = Path(store.report_path(task.line, targets[0].release)) / "answers.parquet"

    @property
    def fused_file(self) -> Path | None:
        """The one ONNX file with all steps, if the release has it."""
        path = self._models / self.manifest.model_of("fused") / "1" / "model.onnx"
        return path if path.exists() else None

    @property
    def outputs(self) -> tuple[str, ...]:
        """The outputs that the requests need."""
        outputs: tuple[str, ...] = self.task.domain.wanted_outputs([self.rows[0].request])
        return outputs

    @cached_property
    def rows(self) -> Sequence[Row]:
        """The rows, the same in every run."""
        reference = Reference(self._models, self.manifest)
        made = (self.task.request_of(row) for row in pq.read_table(self._answers).to_pylist())
        requests = [request for request in made if request is not None][:ROW_COUNT]
        if len(requests) < ROW_COUNT:
            raise LookupError(f"{self._answers}: only {len(requests)} rows of {ROW_COUNT} fit")
        return [self._row(request, reference) for request in requests]

    def _row(self, request: Any, reference: Reference) -> Row:
        tensors = requests_to_tensors(self.task.domain, [request], self.manifest)
        outputs = self.task.domain.wanted_outputs([request])
        return Row(request, tensors, reference.answer(tensors, outputs))


class Reference:
    """The steps of a release, run one after the other by ONNX Runtime in this process."""

    def __init__(self, models: Path, manifest: Manifest) -> None:
        prefix = f"{ensemble_name(manifest.line, manifest.release)}__"
        self._steps = [
            ort.InferenceSession(
                models / (step.model or f"{prefix}{step.name}") / "1" / "model.onnx",
                providers=["CPUExecutionProvider"],
            )
            for step in manifest.steps
        ]

    def answer(self, tensors: Arrays, outputs: Sequence[str]) -> Arrays:
        """Return outputs by name, strings as object arrays of bytes."""
        known = {name: _text(array) for name, array in tensors.items()}
        for session in self._steps:
            feeds = {value.name: known[value.name] for value in session.get_inputs()}
            names = [value.name for value in session.get_outputs()]
            known |= dict(zip(names, session.run(names, feeds), strict=True))
        return {name: _bytes(known[name]) for name in outputs}


def _text(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return _each(array, lambda item: item.decode())


def _bytes(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return _each(array, lambda item: item.encode())


def _each(array: npt.NDArray[Any], change: Callable[[Any], Any]) -> npt.NDArray[Any]:
    if array.dtype != np.object_:
        return array
    changed = np.empty(array.shape, np.object_)
    changed.ravel()[:] = [change(item) for item in array.ravel()]
    return changed
