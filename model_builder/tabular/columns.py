"""What is known about the columns of a table before it is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["quantity", "code", "category"]
"""A number on a scale; a number that only names something; a text that names something."""

MISSING_TEXTS = frozenset({"", "?", "NA", "N/A", "NaN", "nan", "null", "NULL"})
"""Cells, stripped of spaces, that hold no value."""


@dataclass(frozen=True)
class Column:
    """One feature column."""

    name: str
    """As requests name it."""
    kind: Kind
    source: str = ""
    """Its name in the file, if that differs."""
    description: str = ""
    unit: str = ""
    meanings: Mapping[str, str] = field(default_factory=dict)
    """A category's words for each text in the file; empty if the file holds the words. Of a
    code: what each number means, for people."""
    special_codes: Mapping[float, str] = field(default_factory=dict)
    """Values of a quantity that name something instead, such as -9 for "no record"."""
    minimum: float | None = None
    """The allowed range of a quantity; ``None`` takes it from the data."""
    maximum: float | None = None
    categories: tuple[str, ...] = ()
    """The allowed ones; empty takes them from the data."""
    missing_values: tuple[str, ...] = ()
    """Texts that hold no value, beside those that never do."""
    missing_rule: Literal["impute", "refuse"] = "impute"
    unknown_rule: Literal["clip", "impute", "refuse"] | None = None
    """``None``: a quantity outside its range is clipped, anything else unknown is missing."""
    protected: bool = False
    monotonic: Literal["increasing", "decreasing"] | None = None

    @property
    def file_name(self) -> str:
        """The name of the column in the file."""
        return self.source or self.name


@dataclass(frozen=True)
class Target:
    """The column to predict."""

    name: str
    labels: tuple[str, ...]
    """In the order of the classes; of two, the second is the one to find."""
    classes: Mapping[str, int]
    """Text in the file to class; numbers as :func:`canonical` writes them."""


@dataclass(frozen=True)
class Layout:
    """How a known data set lies in its file."""

    names: tuple[str, ...]
    """The data set's name, and its usual file name."""
    columns: tuple[Column, ...]
    target: Target
    separator: str = ","
    file_columns: tuple[str, ...] = ()
    """The columns of a file that has no header, in order; empty if it has one."""
    skipped_lines: int = 0
    """Lines before the first row, or before the header."""


def canonical(text: str) -> str:
    """Return ``text`` stripped, and a whole number without its decimals: ``2.0`` is ``2``."""
    text = text.strip()
    try:
        number = float(text)
    except ValueError:
        return text
    return str(int(number)) if number.is_integer() and abs(number) < 2**53 else text
