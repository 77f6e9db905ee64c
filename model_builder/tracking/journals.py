"""Where the numbers of a run go: a CSV always, TensorBoard, W&B and MLflow if asked."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from model_builder.errors import BuilderError
from model_builder.tracking.runs import Run, flat
from model_builder.tracking.system import SYSTEM, system_values

COLUMNS = (
    "time",
    "stage",
    "step",
    "epoch",
    "loss",
    "validation",
    "step_loss",
    "learning_rate",
    "gradient_norm",
    *SYSTEM,
)


class TrackerMissing(BuilderError):
    """A tracker's library is not installed."""

    exit_code = 2

    def __init__(self, tracker: str) -> None:
        super().__init__(f"--track {tracker}: needs pip install 'trident[tracking]'")


class Tracker(Protocol):
    """One place where numbers go."""

    def log(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        """Write some numbers."""
        ...

    def rewind(self, stage: str, step: int) -> None:
        """Forget those of ``stage`` after ``step``, where that can be."""
        ...

    def finish(self, run: Run) -> None:
        """Write how the run ended, and close."""
        ...


class Journals:
    """Gives everything to every tracker; adds the machine's load to what is of an epoch."""

    def __init__(self, trackers: Iterable[Tracker]) -> None:
        self._trackers = tuple(trackers)

    def log(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        """Write some numbers."""
        if "validation" in values:
            values = {**values, **system_values()}
        for tracker in self._trackers:
            tracker.log(stage, step, values)

    def rewind(self, stage: str, step: int) -> None:
        """Forget what came after ``step``."""
        for tracker in self._trackers:
            tracker.rewind(stage, step)

    def finish(self, run: Run) -> None:
        """Close all."""
        for tracker in self._trackers:
            tracker.finish(run)


class CsvTracker:
    """``metrics.csv``: one row whenever something is written."""

    def __init__(self, folder: Path) -> None:
        """Write into ``folder``, behind what may be there."""
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / "metrics.csv"
        if not self._path.exists():
            self._path.write_text(",".join(COLUMNS) + "\n", encoding="utf-8")
        self._file = self._path.open("a", newline="", encoding="utf-8")

    def log(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        """Write a row."""
        row = {"time": datetime.now(UTC).isoformat(), "stage": stage, "step": step, **values}
        csv.DictWriter(self._file, COLUMNS).writerow(row)
        self._file.flush()

    def rewind(self, stage: str, step: int) -> None:
        """Leave out the rows after ``step``."""
        with self._path.open(newline="", encoding="utf-8") as file:
            rows = [
                r for r in csv.DictReader(file) if r["stage"] != stage or int(r["step"]) <= step
            ]
        self._file.close()
        kept = self._path.with_suffix(".tmp")
        with kept.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)
        kept.replace(self._path)
        self._file = self._path.open("a", newline="", encoding="utf-8")

    def finish(self, run: Run) -> None:
        """Close the file."""
        self._file.close()


class TensorBoardTracker:
    """Event files in ``tensorboard/`` of the run's folder."""

    def __init__(self, folder: Path, run: Run) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._folder = folder / "tensorboard"
        self._make = SummaryWriter
        self._writer = SummaryWriter(str(self._folder))
        settings = "\n".join(f"    {key}: {value}" for key, value in flat(run.config).items())
        self._writer.add_text("config", settings)

    def log(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        """Write scalars called ``stage/name``."""
        for name, value in values.items():
            self._writer.add_scalar(f"{stage}/{name}", value, step)

    def rewind(self, stage: str, step: int) -> None:
        """Have TensorBoard forget what came after."""
        self._writer.close()
        self._writer = self._make(str(self._folder), purge_step=step + 1)

    def finish(self, run: Run) -> None:
        """Write the release's metrics and close."""
        for name, value in flat(dict(run.metrics)).items():
            self._writer.add_scalar(f"release/{name}", value, 0)
        self._writer.close()


class WandbTracker:
    """Weights & Biases; offline into ``wandb/`` of the run's folder unless it knows a key."""

    def __init__(self, folder: Path, run: Run) -> None:
        import wandb

        told = "WANDB_MODE" in os.environ or "WANDB_API_KEY" in os.environ
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "trident"),
            id=run.id,
            name=run.id,
            config=flat(run.config),
            dir=str(folder),
            resume="allow",
            mode=None if told else "offline",
            settings=wandb.Settings(console="off", silent=True),
        )

    def log(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        """Write numbers called ``stage/name``, by ``stage/step``."""
        self._run.define_metric(f"{stage}/*", step_metric=f"{stage}/step")
        named = {f"{stage}/{name}": value for name, value in values.items()}
        self._run.log({**named, f"{stage}/step": step})

    def rewind(self, stage: str, step: int) -> None:
        """Keep all: what is written again carries the same step."""

    def finish(self, run: Run) -> None:
        """Write the release's metrics and close."""
        self._run.summary.update(flat(dict(run.metrics)))
        self._run.finish(exit_code=0 if run.state == "finished" else 1)


class MlflowTracker:
    """MLflow, at ``MLFLOW_TRACKING_URI`` or in ``mlruns/`` beside the runs."""

    def __init__(self, folder: Path, run: Run) -> None:
        # The file store is kept up and no longer grows; it needs no server and no database.
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        from mlflow import MlflowClient

        uri = os.environ.get("MLFLOW_TRACKING_URI", (folder.parent / "mlruns").absolute().as_uri())
        self._client = MlflowClient(tracking_uri=uri)
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "trident")
        found = self._client.get_experiment_by_name(name)
        experiment = found.experiment_id if found else self._client.create_experiment(name)
        same = self._client.search_runs([experiment], f"tags.`trident.run` = '{run.id}'")
        if same:
            self._id = same[0].info.run_id
            return
        tags = {"trident.run": run.id}
        made = self._client.create_run(experiment, run_name=run.id, tags=tags)
        self._id = made.info.run_id
        for key, value in flat(run.config).items():
            self._client.log_param(self._id, key, value)

    def log(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        """Write metrics called ``stage/name``."""
        for name, value in values.items():
            self._client.log_metric(self._id, f"{stage}/{name}", value, step=step)

    def rewind(self, stage: str, step: int) -> None:
        """Keep all: what is written again carries the same step."""

    def finish(self, run: Run) -> None:
        """Write the release's metrics and close."""
        for name, value in flat(dict(run.metrics)).items():
            # MLflow takes no '@', which 'ndcg@10' has.
            self._client.log_metric(self._id, f"release/{name.replace('@', '_at_')}", value)
        state = "FINISHED" if run.state == "finished" else "FAILED"
        self._client.set_terminated(self._id, state)


TRACKERS: dict[str, Callable[[Path, Run], Tracker]] = {
    "tensorboard": TensorBoardTracker,
    "wandb": WandbTracker,
    "mlflow": MlflowTracker,
}


def open_journals(folder: Path, run: Run, names: Iterable[str]) -> Journals:
    """Open the CSV and the trackers of these names.

    Raises:
        TrackerMissing: If the library of one is not installed.
    """
    trackers: list[Any] = []
    for name in names:
        try:
            trackers.append(TRACKERS[name](folder, run))
        except ModuleNotFoundError as error:
            raise TrackerMissing(name) from error
    return Journals([CsvTracker(folder), *trackers])
