"""The errors of the model builder. Each prints as one clear line.

::

    BuilderError
    ├── ConfigInvalid        a hyperparameter is not what it must be
    ├── UnknownData          neither a data set nor a file
    ├── BaseUnusable         a pretrained model cannot be fine-tuned for this
    ├── DataSetUnavailable   a named data set cannot be had
    ├── DataFault            a file, row or column is not what it must be
    ├── TrainingDiverged     the loss is no longer a number
    ├── StrategyDoesNotApply a network is not made for a way to train it
    ├── DeviceLacks          the machine cannot do what a setting asks for
    ├── RunUnusable          a run cannot be gone on with
    ├── ExportBroken         a network or a chain of steps cannot become a release
    ├── ParityBroken         an exported model does not answer like the trained one
    ├── ProofFailed          a release does not answer as it must where it is served
    ├── GateRefused          a candidate is not good enough to be released
    ├── CannotGoOn           a release cannot be started from
    ├── CannotDerive         no child can be made of a release
    ├── ReleaseUnusable      what was kept to be uploaded is not there
    ├── UploadFailed         a release is built and kept, but not in its store yet
    ├── NotPromotable        a release must not answer calls
    └── NothingToRollBack    there is no earlier release to go back to
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from triton_models.release import Check


class BuilderError(Exception):
    """Anything that the builder reports to its user."""

    exit_code: ClassVar[int] = 1
    """Of the program: 1 failed, 2 asked for something that cannot be."""


@dataclass(frozen=True)
class Fault:
    """One thing wrong with the data."""

    file: str
    expected: str
    found: str
    row: int | None = None
    """1-based line in a text file (the header is line 1), or 1-based row elsewhere."""
    column: str | None = None

    def __str__(self) -> str:
        """Say where, what was expected and what was found."""
        where = self.file
        if self.row is not None:
            where += f", row {self.row}"
        if self.column is not None:
            where += f", column '{self.column}'"
        return f"{where}: expected {self.expected}, found {self.found}"


class DataFault(BuilderError):
    """The data cannot be used; names every fault (the first 20 in the message)."""

    def __init__(self, faults: Sequence[Fault], more: int = 0) -> None:
        """Take the faults, and how many there are that are too many to be named."""
        self.faults = tuple(faults)
        lines = [str(fault) for fault in self.faults[:20]]
        if (unsaid := len(self.faults) - 20 + more) > 0:
            lines.append(f"… and {unsaid:,} more")
        super().__init__("\n".join(lines))


class DataSetUnavailable(BuilderError):
    """A named data set is neither mirrored, cached nor to be fetched."""

    def __init__(self, name: str, cause: str) -> None:
        super().__init__(
            f"data set '{name}' cannot be had: {cause}. "
            "Set TRIDENT_DATA_DIR to a folder that holds it, or give a file with --data."
        )
        self.name = name


class ParityBroken(BuilderError):
    """An exported model does not answer like the trained one."""

    def __init__(
        self, output: str, difference: float, tolerance: float, yardstick: str = "torch"
    ) -> None:
        super().__init__(
            f"output '{output}' differs from {yardstick} by {difference:.3g}, "
            f"more than its tolerance {tolerance:.3g}"
        )


class TrainingDiverged(BuilderError):
    """The loss is no longer a number."""

    def __init__(self, epoch: int, loss: float) -> None:
        super().__init__(
            f"training diverged in epoch {epoch + 1} (loss {loss}): "
            "lower the learning rate, such as --set learning_rate=0.0003"
        )


class StrategyDoesNotApply(BuilderError):
    """A network is not made for a way to train it."""

    exit_code = 2

    def __init__(self, setting: str, cause: str) -> None:
        super().__init__(f"'{setting}' does not apply here: {cause}")
        self.setting = setting


class DeviceLacks(BuilderError):
    """The machine cannot do what a setting asks for."""

    exit_code = 2

    def __init__(self, setting: str, cause: str) -> None:
        super().__init__(f"--set {setting}: {cause}")
        self.setting = setting


class RunUnusable(BuilderError):
    """A run cannot be gone on with, or is not there."""

    exit_code = 2

    def __init__(self, run: str, cause: str) -> None:
        super().__init__(f"run '{run}': {cause}")
        self.run = run


class ExportBroken(BuilderError):
    """A network or a chain of steps cannot become a release as it is."""


class UnknownData(BuilderError):
    """``--data`` names neither a data set nor a file."""

    exit_code = 2

    def __init__(self, text: str, names: Sequence[str], close: Sequence[str]) -> None:
        meant = f" Did you mean {' or '.join(close)}?" if close else ""
        super().__init__(
            f"there is no file and no data set '{text}'.{meant} Data sets: {', '.join(names)}"
        )


class BaseUnusable(BuilderError):
    """A pretrained model cannot be fine-tuned for what is wanted."""

    exit_code = 2

    def __init__(self, name: str, cause: str) -> None:
        super().__init__(f"--base {name}: {cause}")
        self.name = name


class ConfigInvalid(BuilderError):
    """Hyperparameters are not what they must be; names each."""

    exit_code = 2

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(faults))


class CannotGoOn(BuilderError):
    """The release that ``--from`` names cannot be started from."""

    exit_code = 2

    def __init__(self, release: str, why: str) -> None:
        super().__init__(f"cannot go on from {release}: {why}")
        self.release = release


class CannotDerive(BuilderError):
    """No child can be made of a release, or not this one."""

    def __init__(self, release: str, why: str) -> None:
        super().__init__(f"no child of {release}: {why}")
        self.release = release
        self.why = why


class ReleaseUnusable(BuilderError):
    """What was kept to be uploaded is not there."""

    exit_code = 2

    def __init__(self, place: Path, cause: str) -> None:
        super().__init__(f"{place}: {cause}")
        self.place = place


class UploadFailed(BuilderError):
    """A release is built and kept on this machine, but not in its store yet."""

    def __init__(
        self, name: str, place: Path, cause: OSError, store_url: str, sign_key: Path | None
    ) -> None:
        command = ["model-builder", "releases", "upload", str(place), "--store", store_url]
        command += [] if sign_key is None else ["--sign-key", str(sign_key)]
        super().__init__(
            f"{name} is built, but not uploaded: {cause}. It is kept; to go on: "
            f"{shlex.join(command)}"
        )
        self.place = place
        self.command = tuple(command)


class NotPromotable(BuilderError):
    """A release must not answer calls, or not so."""

    def __init__(self, name: str, cause: str) -> None:
        super().__init__(f"{name} is not promoted: {cause}")
        self.name = name
        self.cause = cause


class NothingToRollBack(BuilderError):
    """No other releases have answered before."""

    def __init__(self, domain: str) -> None:
        super().__init__(
            f"there is nothing to roll back to: '{domain}' had no other release before"
        )
        self.domain = domain


class ProofFailed(BuilderError):
    """A release cannot be served, or does not answer there as it must."""

    def __init__(self, cause: str) -> None:
        super().__init__(f"not proven: {cause}")
        self.cause = cause


class GateRefused(BuilderError):
    """A candidate is not good enough; nothing was published."""

    exit_code = 3

    def __init__(self, name: str, checks: Sequence[Check]) -> None:
        failed = [check for check in checks if not check.passed]
        lines = [f"{one.name}: wanted {one.wanted}, found {one.found}" for one in failed]
        super().__init__(f"the gate refuses {name}:\n  " + "\n  ".join(lines))
        self.name = name
        self.checks = tuple(checks)
