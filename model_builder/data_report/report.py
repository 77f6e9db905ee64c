"""What is known of a data set after a look at it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Level = Literal["error", "warning"]


@dataclass(frozen=True)
class Finding:
    """Something that a person should look at."""

    level: Level
    """``error``: ``build`` refuses it. ``warning``: it builds, and may learn the wrong thing."""
    subject: str
    """What it is about, such as ``drift``."""
    text: str
    column: str | None = None


@dataclass(frozen=True)
class ColumnProfile:
    """One column of the file."""

    name: str
    kind: str
    """``quantity``, ``code``, ``category``, ``label``, ``split`` or ``left out``."""
    missing: int
    different: int
    """Different values, missing ones left aside."""
    values: str
    """The range of numbers with their median; the most frequent of texts."""


@dataclass(frozen=True)
class Duplicates:
    """Rows that are like others."""

    rows: int
    """Rows that repeat an earlier one, features and label."""
    conflicting: int
    """Rows whose features stand elsewhere with another label."""
    across_splits: int
    """Test rows whose features stand among the rows that are learnt from."""


@dataclass(frozen=True)
class Drift:
    """How differently a column is distributed in two splits."""

    column: str
    between: str
    psi: float
    """Population stability index: 0 is the same, 0.1 a shift, 0.25 a large one."""
    psi_p_value: float
    """How likely one as large is between random halves of one population."""
    ks: float | None
    """Largest distance of the distribution functions (Kolmogorov and Smirnov), of quantities."""
    ks_p_value: float | None
    drifted: bool


@dataclass(frozen=True)
class DataReport:
    """Everything that ``data check`` says."""

    name: str
    kind: Literal["table", "log"]
    sha256: str
    rows: int
    facts: Mapping[str, float] = field(default_factory=dict)
    columns: tuple[ColumnProfile, ...] = ()
    split: Mapping[str, int] = field(default_factory=dict)
    split_sha256: str = ""
    classes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """By label, then split."""
    duplicates: Duplicates | None = None
    drift: tuple[Drift, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def usable(self) -> bool:
        """Whether ``build`` would take it."""
        return not any(finding.level == "error" for finding in self.findings)

    def as_json(self) -> dict[str, Any]:
        """Return what ``--json`` prints."""
        return {"usable": self.usable} | asdict(self)
