"""Where the time of a step goes."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TypeVar

import torch
from torch.profiler import ProfilerActivity, profile, schedule

PHASES = ("data", "forward", "backward", "optimizer")
_WARM_UP, _TRACED = 3, 10  # steps
Item = TypeVar("Item")


class Timer:
    """Measures nothing."""

    _nothing: AbstractContextManager[None] = nullcontext()

    def phase(self, name: str) -> AbstractContextManager[None]:
        """Measure what is inside."""
        return self._nothing

    def data(self, batches: Iterable[Item]) -> Iterable[Item]:
        """Measure how long each batch takes to come."""
        return batches

    def step(self) -> None:
        """Take note that a step is done."""

    def finish(self) -> None:
        """Write what was measured."""


class Profile(Timer):
    """Writes a trace of a few steps, and times the phases of all others.

    The profiler slows down what it looks at, so its steps are not in the table.
    """

    def __init__(self, folder: Path, stage: str, device: torch.device) -> None:
        """Measure the training called ``stage``, and write into ``folder``."""
        self._folder = folder
        self._stage = stage
        self._device = device
        self._steps: list[dict[str, float]] = []
        self._began = time.perf_counter()
        self._pending = dict.fromkeys(PHASES, 0.0)
        folder.mkdir(parents=True, exist_ok=True)
        activities = [ProfilerActivity.CPU]
        if device.type == "cuda":
            activities.append(ProfilerActivity.CUDA)
        self._profiler = profile(
            activities=activities,
            schedule=schedule(wait=1, warmup=_WARM_UP - 1, active=_TRACED, repeat=1),
            on_trace_ready=lambda p: p.export_chrome_trace(str(folder / f"{stage}.trace.json")),
            acc_events=True,
        )
        self._profiler.start()

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Measure what is inside, to its end on the device."""
        began = time.perf_counter()
        with torch.profiler.record_function(name):
            yield
            self._wait()
        self._pending[name] += time.perf_counter() - began

    def data(self, batches: Iterable[Item]) -> Iterator[Item]:
        """Measure how long each batch takes to come."""
        self._began = time.perf_counter()  # what was between two epochs is no part of a step
        source = iter(batches)
        while True:
            try:
                with self.phase("data"):
                    batch = next(source)
            except StopIteration:
                return
            yield batch

    def step(self) -> None:
        """Count a step, and begin the next."""
        whole = time.perf_counter() - self._began
        rest = whole - sum(self._pending.values())
        self._steps.append({**self._pending, "rest": rest, "step": whole})
        self._pending = dict.fromkeys(PHASES, 0.0)
        self._profiler.step()
        self._began = time.perf_counter()

    def finish(self) -> None:
        """Write the table; the trace is there as soon as its steps are done."""
        self._profiler.stop()
        measured = self._measured()
        table = {"steps": len(measured), "milliseconds": _means(measured)}
        (self._folder / f"{self._stage}.steps.json").write_text(json.dumps(table) + "\n")

    def _measured(self) -> list[dict[str, float]]:
        """Return the steps without the profiler; a short training has only those with it."""
        return self._steps[_WARM_UP + _TRACED :] or self._steps[1:] or self._steps

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)


def _means(steps: list[dict[str, float]]) -> dict[str, float]:
    names = steps[0] if steps else {}
    return {name: 1e3 * sum(step[name] for step in steps) / len(steps) for name in names}
