"""What people see on standard error: bars, and the table at the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from model_builder.progress import Stage
from model_builder.report import metric_names, metric_text, yardstick
from triton_models.release import Check, Manifest

_TOLD_EVERY_S = 15.0


class TerminalProgress:
    """Bars on a terminal; elsewhere a plain line for each stage that ended, or takes long."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars: Progress | None = None

    @contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[Stage]:
        """Show a bar from entering to leaving."""
        if not self._console.is_terminal:
            with self._line(name, total) as stage:
                yield stage
        elif self._bars is not None:  # a stage inside a stage gets a bar below
            yield _Bar(self._bars, name, total)
        else:
            self._bars = _bars(self._console)
            try:
                with self._bars:
                    bar = _Bar(self._bars, name, total)
                    yield bar
                    bar.finish()
            finally:
                self._bars = None

    def say(self, text: str) -> None:
        """Print one line."""
        self._console.print(text, highlight=False, markup=False)

    @contextmanager
    def _line(self, name: str, total: int | None) -> Iterator[Stage]:
        stage = _Count(name, total, self.say)
        yield stage
        stage.tell()


class _Bar:
    def __init__(self, bars: Progress, name: str, total: int | None) -> None:
        self._bars = bars
        self._task = bars.add_task(name, total=total, note="")

    def advance(self, steps: int = 1, note: str = "") -> None:
        if note:
            self._bars.update(self._task, note=note)
        self._bars.advance(self._task, steps)

    def finish(self) -> None:
        task = self._bars.tasks[self._task]
        self._bars.update(self._task, total=task.total or 1, completed=task.completed or 1)


class _Count:
    def __init__(self, name: str, total: int | None, say: Callable[[str], None]) -> None:
        self._name = name
        self._total = total
        self._say = say
        self._steps = 0
        self._note = ""
        self._started = self._told = time.monotonic()

    def advance(self, steps: int = 1, note: str = "") -> None:
        self._steps += steps
        self._note = note or self._note
        if time.monotonic() - self._told >= _TOLD_EVERY_S:
            self.tell("so far ")

    def tell(self, when: str = "") -> None:
        self._told = time.monotonic()
        steps = f", {self._steps} of {self._total}" if self._total else ""
        note = f", {self._note}" if self._note else ""
        self._say(f"{self._name}: {when}{self._told - self._started:.1f} s{steps}{note}")


def _bars(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description:<28}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}", style="dim"),
        console=console,
    )


def metrics_tables(manifest: Manifest, headline: Iterable[str]) -> Iterator[Table]:
    """Give a table for each split: the release's metrics beside the baselines'."""
    names = tuple(headline)
    for split in manifest.metrics:
        shown = [name for name in names if name in manifest.metrics[split]]
        # In words, so that a narrow terminal breaks between them.
        others = (name.replace("_", " ") for name in manifest.baselines)
        table = _table(split, "this release", *others)
        for name in shown or metric_names(manifest, split):
            beside = (splits.get(split, {}).get(name) for splits in manifest.baselines.values())
            table.add_row(
                name, metric_text(manifest.metrics[split][name]), *map(metric_text, beside)
            )
        yield table


def steps_table(manifest: Manifest, step_bytes: Mapping[str, int]) -> Table:
    """Return a table of the steps and how large they are."""
    table = _table("step", "role", "size")
    for step in manifest.steps:
        table.add_row(step.name, step.role, _size(step_bytes[step.name]))
    return table


def parity_table(manifest: Manifest) -> Table:
    """Return a table of how far the exported models are from the network, by output."""
    header = (f"parity with {yardstick(manifest)}", "rows", "ensemble", "fused", "tolerance")
    table = _table(*header)
    for output, parity in manifest.parity.items():
        fused = manifest.fused_parity.get(output)
        table.add_row(
            output,
            str(parity.rows),
            f"{parity.max_difference:.2g}",
            f"{fused.max_difference:.2g}" if fused else "–",
            f"{parity.tolerance:.2g}",
        )
    return table


def plain_table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> Table:
    """Return a table of text."""
    table = _table(*header)
    for row in rows:
        table.add_row(*row)
    return table


def _table(*header: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for i, name in enumerate(header):  # names, in the first column, are there to be copied
        table.add_column(name, overflow="fold", no_wrap=i == 0)
    return table


def _size(count: int) -> str:
    if count < 1000:
        return f"{count} B"
    return f"{count / 1e3:.1f} kB" if count < 1_000_000 else f"{count / 1e6:.1f} MB"


def checks_table(checks: Iterable[Check]) -> Table:
    """Return what the gate looked at; what was not passed in red."""
    table = Table(box=None, pad_edge=False)
    for name in ("gate", "wanted", "found", ""):
        table.add_column(name)
    for check in checks:
        style = None if check.passed else "red"
        passed = "" if check.passed else "refused"
        table.add_row(check.name, check.wanted, check.found, passed, style=style)
    return table
