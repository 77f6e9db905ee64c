"""What a task (recsys, diagnosis, risk) gives to ``build``, and what it is given.

A task lives in a folder of its own, ``model_builder/<task>/``, whose module ``task`` has a
``TASK`` of this Protocol. ``model_builder.build`` finds it by name, so that adding a task
touches no other folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from model_builder.training.config import TrainingConfig
from triton_models.release import DataSource, FeatureSpec, Metric, Parity, ScoreBand

if TYPE_CHECKING:
    import onnx
    import pyarrow as pa

    from model_builder.previous import Previous
    from model_builder.progress import Progress
    from model_builder.proof.recorded import Recorded

Metrics = dict[str, Metric]
"""Metric name to value with interval."""


class TaskConfig(BaseModel):
    """Hyperparameters; a task adds its own. ``--config`` and ``--set`` fill it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = 0
    training: TrainingConfig = Field(default_factory=TrainingConfig)
    """How its networks are trained, the same for every task."""

    @model_validator(mode="before")
    @classmethod
    def _keep_own_defaults(cls, values: Any) -> Any:
        """Let a setting of the group ``training`` leave a task's own defaults of the others."""
        given = values.get("training") if isinstance(values, dict) else None
        if not isinstance(given, dict):
            return values
        own = cls.model_fields["training"].get_default(call_default_factory=True)
        return {**values, "training": {**own.model_dump(exclude_unset=True), **given}}


@dataclass(frozen=True)
class ResolvedData:
    """A data set on this machine."""

    name: str
    """A name of ``model_builder.datasets``, or the file's name."""
    path: Path
    """The file, or the folder, to read."""
    sha256: str
    """Of the file; of the files' names and hashes for a folder."""
    licence: str = ""
    source: str = ""
    generated: bool = False
    label: str | None = None
    """``--label``: the column to predict; ``None`` for the last, or what the name implies."""


@dataclass(frozen=True)
class StepModel:
    """One step of the ensemble.

    Steps are joined by tensor names: an input is taken from the earlier step that gives
    it, else from the ensemble's inputs.
    """

    name: str
    role: Literal["pre", "core", "post"]
    model: onnx.ModelProto
    """First axis of every input and output is the batch, and varies."""


@dataclass(frozen=True)
class Candidate:
    """A trained, measured and exported model that may become a release."""

    line: str
    steps: tuple[StepModel, ...]
    data: DataSource
    metrics: Mapping[str, Metrics]
    """By split: ``validation``, ``test``, ``cv``."""
    baselines: Mapping[str, Mapping[str, Metrics]]
    """By the baseline's name, then split."""
    parity: Mapping[str, Parity]
    """By ensemble output: torch against the chained ONNX steps, over the whole test split."""
    fused_parity: Mapping[str, Parity]
    """The same of the fused model: torch against the one ONNX model."""
    answers: pa.Table
    """The test split: the inputs as a client would send them and torch's answers, one row each.
    Written to ``reports/…/answers.parquet``; tests ask the gateway for the same."""
    recorded: Recorded | None = None
    """The same as tensors: what the release takes and must answer. A release without is built, but
    cannot be proven where it is served."""
    calibration: Recorded | None = None
    """Some rows of the training split, without answers. A release without cannot be quantised by
    data that it was trained on."""
    features: tuple[FeatureSpec, ...] = ()
    labels: tuple[str, ...] = ()
    review_threshold: float | None = None
    bands: tuple[ScoreBand, ...] = ()
    item_count: int = 0
    details: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of the manifest that only this line has."""
    chosen: Mapping[str, JsonValue] = field(default_factory=dict)
    """Hyperparameters that were left to the task, as it chose them: the manifest has these."""
    headline: tuple[str, ...] = ()
    """The metrics that the closing table shows, most telling first."""
    model_files: Mapping[str, bytes] = field(default_factory=dict)
    """Data that whoever serves the models needs, such as a tokenizer: name to content. They lie
    beside the models, are hashed with them, and hold no code."""
    extra_files: Mapping[str, bytes] = field(default_factory=dict)
    """For people: name to content, written to ``reports/…/``."""


class Task(Protocol):
    """One kind of model that can be built."""

    name: ClassVar[str]
    """As in ``model-builder build NAME``."""
    summary: ClassVar[str]
    """One line for ``--help``."""
    default_data: ClassVar[str]
    config_type: ClassVar[type[TaskConfig]]

    def build(self, data: ResolvedData, config: Any, progress: Progress) -> Candidate:
        """Train, evaluate and export.

        Raises:
            DataFault: If the data cannot be used; nothing has been written.
            ParityBroken: If an exported step does not answer like torch.
        """
        ...


@runtime_checkable
class GoesOn(Protocol):
    """A task that can start from one of its earlier releases."""

    def build_from(
        self, data: ResolvedData, config: Any, progress: Progress, previous: Previous
    ) -> Candidate:
        """Train on from there, and compare with it on the same test.

        Raises:
            CannotGoOn: If the release is not of a kind that can be started from.
            DataFault: If the data cannot be used; nothing has been written.
            ParityBroken: If an exported step does not answer like torch.
        """
        ...


@dataclass(frozen=True)
class Learnt:
    """What a release had learnt."""

    release: str
    """``LINE/RELEASE``."""
    weights: bytes
    """``network.safetensors``, as it was released."""


@runtime_checkable
class Prunes(Protocol):
    """A task whose networks can lose a part of themselves: ``--prune``."""

    def pruned_from(
        self, data: ResolvedData, config: Any, progress: Progress, learnt: Learnt
    ) -> Candidate:
        """Prune what was learnt from the same data, by ``config.prune``, and let it recover.

        Raises:
            CannotGoOn: If the network is of another kind.
            DataFault: If the data cannot be used.
            ParityBroken: If an exported step does not answer like torch.
        """
        ...


@runtime_checkable
class ManyKinds(Protocol):
    """A task that is one of several, whichever fits the data."""

    def of_kind(self, kind: Any) -> Task:
        """Return the task that is named."""
        ...

    def for_data(self, data: ResolvedData) -> Task:
        """Return the task for ``data``."""
        ...


def task_for(task: Task, data: ResolvedData) -> Task:
    """Return the task that builds from ``data``: ``task`` itself, or one of its kinds.

    Raises:
        DataFault: If the data have to be looked into, and cannot be read.
    """
    return task.for_data(data) if isinstance(task, ManyKinds) else task
