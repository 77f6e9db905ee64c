"""Builds a release of a network from elsewhere, by the path that every release takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from model_builder.config import read_config
from model_builder.diagnosis.measurements import building as diagnosis
from model_builder.errors import ConfigInvalid
from model_builder.importing.foreign import Foreign, Framework
from model_builder.importing.graphs import Gives
from model_builder.importing.tables import Takes, import_network, read_for_import
from model_builder.progress import Progress
from model_builder.risk import task as risk
from model_builder.risk.config import AFTER_TRAINING
from model_builder.tabular.loading import TargetRule, load_table
from model_builder.tabular.model import TableModel
from model_builder.tabular.table import Table
from model_builder.tabular.targets import finding_target, outcome_target
from model_builder.tabular.training import TabularConfig
from model_builder.task import Candidate, ResolvedData, TaskConfig

_SHARED_KEYS = ("test_share", "split", "split_column", "schema_file", "resamples")
_ONE_VALIDATION_SPLIT = {"cross_validate_below": 0, "members": 1}
"""The network is one and is trained: there is nothing to cross-validate."""


@dataclass(frozen=True)
class Line:
    """What the lines do differently."""

    task: str
    default_data: str
    rule: TargetRule
    config_type: type[TabularConfig]
    own_keys: tuple[str, ...]
    """Settings of the task that need no training."""
    classes: Callable[[Table], int]
    """The network's logits; 1 for the log-odds of class 1."""
    candidate: Callable[[TableModel, ResolvedData, Any, Progress], Candidate]


LINES: dict[str, Line] = {
    "score-risk": Line(
        "risk",
        risk.TASK.default_data,
        outcome_target,
        risk.RiskConfig,
        AFTER_TRAINING,
        lambda table: 1,
        risk.candidate,
    ),
    "diagnose-measurements": Line(
        "diagnosis",
        diagnosis.KIND.default_data,
        finding_target,
        diagnosis.MeasurementsConfig,
        diagnosis.AFTER_TRAINING,
        lambda table: len(table.labels),
        diagnosis.candidate,
    ),
}
"""The lines that a network can be imported for."""


class Imported(BaseModel):
    """Where a network came from."""

    model_config = ConfigDict(frozen=True)

    framework: Framework
    version: str
    file: str
    sha256: str
    takes: Takes
    gives: Gives
    names: dict[str, str] = Field(default_factory=dict)


class ImportConfig(TaskConfig):
    """What stands in the manifest in place of hyperparameters."""

    imported: Imported
    measured: dict[str, JsonValue]
    """The task's settings that decide how the network is split for, calibrated and scored."""


@dataclass(frozen=True)
class ImportTask:
    """A task that trains nothing."""

    line: Line
    foreign: Foreign
    config: TabularConfig
    """Of the line's task."""

    def build(self, data: ResolvedData, config: ImportConfig, progress: Progress) -> Candidate:
        """Measure, calibrate and export.

        Raises:
            DataFault: If the data cannot be used.
            ImportMismatch: If the network does not fit; names every difference.
            ParityBroken: If an exported step does not answer like the framework.
        """
        with progress.stage("read"):
            table = load_table(
                data, self.line.rule, progress, self.config.split_by, self.config.schema_file
            )
            if self.line.task == "diagnosis":
                diagnosis.check_numbers(table, data.path.name)
            read = read_for_import(table, self.config)
        imported = config.imported
        with progress.stage(f"ask {imported.version}"):
            network = import_network(
                read,
                self.foreign,
                what=imported.file,
                takes=imported.takes,
                gives=imported.gives,
                classes=self.line.classes(table),
                names=imported.names,
            )
        return self.line.candidate(network, data, self.config, progress)


def import_task(
    line: str,
    foreign: Foreign,
    *,
    framework: Framework,
    path: Path,
    takes: Takes,
    gives: Gives,
    names: Mapping[str, str],
    config: TabularConfig,
) -> tuple[ImportTask, ImportConfig]:
    """Return a task for a network, and the config that goes into its manifest."""
    of = LINES[line]
    imported = Imported(
        framework=framework,
        version=foreign.version,
        file=path.name,
        sha256=foreign.sha256,
        takes=takes,
        gives=gives,
        names=dict(names),
    )
    measured = config.model_dump(mode="json", include={*_SHARED_KEYS, *of.own_keys})
    return (
        ImportTask(of, foreign, config),
        ImportConfig(seed=config.seed, imported=imported, measured=measured),
    )


def read_import_config(
    line: str, file: Path | None, settings: Sequence[str], seed: int | None
) -> TabularConfig:
    """Return the config of the line's task, with one validation split.

    Raises:
        ConfigInvalid: Names everything that is wrong, and every hyperparameter of a training.
    """
    of = LINES[line]
    config = read_config(of.config_type, file, settings, seed)
    known = {*_SHARED_KEYS, *of.own_keys, "seed"}
    faults = [
        f"{key}: the network is trained already; keys are {', '.join(sorted(known))}"
        for key in sorted(config.model_fields_set - known)
    ]
    if faults:
        raise ConfigInvalid(faults)
    return config.model_copy(update=_ONE_VALIDATION_SPLIT)
