"""The task ``diagnosis``: the probability of each finding, from an image, a note or numbers.

Each kind of evidence is a folder of its own whose module ``building`` ends in ``KIND = …``, a
:class:`~model_builder.task.Task` of one line. What they share is beside this file.
"""

from __future__ import annotations

import importlib
from typing import Any, ClassVar

from model_builder.diagnosis.evidence import KINDS, Evidence, evidence_of
from model_builder.diagnosis.measurements.building import MeasurementsConfig
from model_builder.progress import Progress
from model_builder.task import Candidate, ResolvedData, Task, TaskConfig


class DiagnosisTask:
    """Hands over to the kind of evidence that there is."""

    name: ClassVar[str] = "diagnosis"
    summary: ClassVar[str] = "Names a finding from an image, a note or measurements."
    default_data: ClassVar[str] = "breast-cancer"
    config_type: ClassVar[type[TaskConfig]] = MeasurementsConfig

    def of_kind(self, kind: Evidence) -> Task:
        """Return the task of one kind of evidence."""
        return kind_of(kind)

    def for_data(self, data: ResolvedData) -> Task:
        """Return the task of the evidence that the data hold.

        Raises:
            DataFault: If they are a table that cannot be read.
        """
        return kind_of(evidence_of(data))

    def build(self, data: ResolvedData, config: Any, progress: Progress) -> Candidate:
        """Train, evaluate and export, by the kind whose config this is.

        Raises:
            DataFault: If the data cannot be used.
            ParityBroken: If an exported step does not answer like torch.
        """
        kinds = (kind_of(name) for name in KINDS)
        (kind,) = (kind for kind in kinds if type(config) is kind.config_type)
        return kind.build(data, config, progress)


def kind_of(evidence: Evidence) -> Task:
    """Return the task of one kind of evidence."""
    # Imported by name, so that one kind does not load what another needs.
    kind: Task = importlib.import_module(f"{__package__}.{evidence}.building").KIND
    return kind


TASK = DiagnosisTask()
