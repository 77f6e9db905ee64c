"""The errors of the model builder. Each prints as one clear line.

::

    BuilderError
    ├── DataFault            a file, row or column is not what it must be
    ├── DataSetUnavailable   a named data set cannot be had
    └── ParityBroken         an exported model does not answer like the trained one
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class BuilderError(Exception):
    """Anything that the builder reports to its user."""


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

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        lines = [str(fault) for fault in self.faults[:20]]
        if len(self.faults) > 20:
            lines.append(f"… and {len(self.faults) - 20} more")
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

    def __init__(self, output: str, difference: float, tolerance: float) -> None:
        super().__init__(
            f"output '{output}' differs from torch by {difference:.3g}, "
            f"more than its tolerance {tolerance:.3g}"
        )
