"""How long releases take, side by side on one Triton.

Two times of each: of the fused model what a client sees, and of the core steps of the ensemble what
Triton calls *compute*: from when it has the request's tensors to when it has the answer's, queueing
left out. Those asked take turns, so that whatever else the machine does meets all of them alike.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict
from tritonclient.grpc import InferenceServerClient

from model_builder.progress import Progress, SilentProgress
from model_builder.proof.recorded import Recorded
from model_builder.proof.tritons import ReleaseOnTriton
from model_builder.proof.verifying import triton_on
from triton_models.release import ENSEMBLE, FUSED, Manifest

BATCHES = (1, 8, 32)
SAMPLES = {1: 200, 8: 100, 32: 60}
_WARM_UP = 5
_COUNTED_S = 10.0


class Quantiles(BaseModel):
    """Of many times, in milliseconds."""

    model_config = ConfigDict(frozen=True)

    p50_ms: float
    p99_ms: float


class Timed(BaseModel):
    """Of one release, by batch size."""

    model_config = ConfigDict(frozen=True)

    fused: dict[int, Quantiles]
    """Of the fused model, as a client sees it."""
    fused_compute: dict[int, Quantiles]
    """Of the fused model, Triton's compute."""
    core: dict[int, Quantiles]
    """Triton's compute of the ensemble's core steps together."""
    steps: dict[int, dict[str, float]]
    """Of each core step, in the median, in milliseconds."""

    @property
    def rows_per_second(self) -> float:
        """Return what one instance of the fused model answers in the largest batches."""
        largest = max(self.fused)
        return largest / self.fused[largest].p50_ms * 1000


@dataclass(frozen=True)
class Asked:
    """A release that is timed."""

    manifest: Manifest
    models: Path
    """Has its models."""


def timed(
    releases: Mapping[str, Asked],
    recorded: Recorded,
    samples: Mapping[int, int] | None = None,
    progress: Progress | None = None,
) -> dict[str, Timed]:
    """Time releases that answer the same questions.

    Args:
        releases: By a name of the caller's.
        recorded: What they are asked.
        samples: By batch size, how often; by default ``SAMPLES``.
        progress: Shows how far it is.

    Raises:
        ProofFailed: If one cannot be served.
    """
    samples = samples or SAMPLES
    progress = progress or SilentProgress()
    total = sum(_WARM_UP + count for count in samples.values())
    with tempfile.TemporaryDirectory(prefix="trident-timing-") as scratch, ExitStack() as stack:
        folder = Path(scratch)
        for asked in releases.values():
            for model in asked.models.iterdir():
                (folder / model.name).symlink_to(model.absolute())
        target = stack.enter_context(triton_on(folder, None))
        runs = {
            name: _Run(stack.enter_context(ReleaseOnTriton(target, asked.manifest)), target,
                       asked.manifest)
            for name, asked in releases.items()
        }  # fmt: skip
        stage = stack.enter_context(progress.stage("time", total=total))
        for rows, count in samples.items():
            for sample, places in enumerate(drawn(recorded.rows, rows, _WARM_UP + count)):
                inputs, outputs = recorded.batch(places)
                for run in runs.values():
                    run.ask(rows, inputs, list(outputs), kept=sample >= _WARM_UP)
                stage.advance()
    return {name: run.found() for name, run in runs.items()}


def drawn(total: int, rows: int, count: int) -> npt.NDArray[np.int64]:
    """Return ``(count, rows)`` places of rows to ask together, always the same.

    How long a row takes can depend on what is in it, so all get their turn before one is repeated.

    Args:
        total: How many rows there are.
        rows: In a batch.
        count: Of batches.
    """
    return np.resize(np.random.default_rng(0).permutation(total), (count, rows))


class ComputeClock:
    """How long models of a Triton compute, of one request after the other.

    Args:
        client: Of the Triton.
        models: Each is asked once between two laps, and by nobody else.
    """

    def __init__(self, client: InferenceServerClient, models: Sequence[str]) -> None:
        self._client = client
        self._last = {model: self._read(model) for model in models}

    def lap_ms(self) -> dict[str, float]:
        """Return how long each model has computed for the request since the last lap.

        Triton counts a request after it has answered it, so this waits until it has.

        Raises:
            TimeoutError: If one does not count.
        """
        until = time.monotonic() + _COUNTED_S
        found = {}
        for model, (count, ms) in self._last.items():
            while (now := self._read(model))[0] <= count:
                if time.monotonic() > until:
                    raise TimeoutError(f"{model}: asked, and Triton counts no request")
            found[model] = now[1] - ms
            self._last[model] = now
        return found

    def _read(self, model: str) -> tuple[int, float]:
        """Return of how many requests, since it was loaded, a model has computed how long."""
        stats = self._client.get_inference_statistics(model).model_stats[0].inference_stats
        parts = (stats.compute_input, stats.compute_infer, stats.compute_output)
        return stats.compute_output.count, float(sum(part.ns for part in parts)) / 1e6


class _Run:
    def __init__(self, served: ReleaseOnTriton, target: str, manifest: Manifest) -> None:
        self._served = served
        self._fused = manifest.model_of(FUSED)
        self._cores = {step.name: step.model for step in manifest.steps if step.role == "core"}
        models = [self._fused, *self._cores.values()]
        self._clock = ComputeClock(InferenceServerClient(target), models)
        self._clients: dict[int, list[float]] = {}
        self._whole: dict[int, list[float]] = {}
        self._steps: dict[int, dict[str, list[float]]] = {}

    def ask(
        self, rows: int, inputs: Mapping[str, np.ndarray], outputs: Sequence[str], *, kept: bool
    ) -> None:
        seen = self._served.time_ms(FUSED, inputs, outputs)
        self._served.time_ms(ENSEMBLE, inputs, outputs)
        spent = self._clock.lap_ms()
        if not kept:
            return
        self._clients.setdefault(rows, []).append(seen)
        self._whole.setdefault(rows, []).append(spent[self._fused])
        for step, model in self._cores.items():
            of_step = self._steps.setdefault(rows, {}).setdefault(step, [])
            of_step.append(spent[model])

    def found(self) -> Timed:
        return Timed(
            fused={rows: _quantiles(times) for rows, times in self._clients.items()},
            fused_compute={rows: _quantiles(times) for rows, times in self._whole.items()},
            core={
                rows: _quantiles(np.sum(list(steps.values()), axis=0).tolist())
                for rows, steps in self._steps.items()
            },
            steps={
                rows: {name: round(float(np.median(times)), 4) for name, times in steps.items()}
                for rows, steps in self._steps.items()
            },
        )


def _quantiles(times: Sequence[float]) -> Quantiles:
    return Quantiles(
        p50_ms=round(float(np.median(times)), 4), p99_ms=round(float(np.quantile(times, 0.99)), 4)
    )
