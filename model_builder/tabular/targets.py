"""Decides which column an unknown table is to predict, and what its values mean."""

from __future__ import annotations

from model_builder.errors import DataFault, Fault
from model_builder.tabular.columns import Target, canonical
from model_builder.tabular.reading import RawTable

MAX_CLASSES = 20

_BAD = ("1", "true", "yes", "y", "bad", "default", "defaulted", "charged off")
_GOOD = ("0", "false", "no", "n", "good", "paid", "repaid", "fully paid")


def target_name(raw: RawTable, label: str | None) -> str:
    """Return the column to predict: ``label``, or the last.

    Raises:
        DataFault: If there is no such column.
    """
    names = raw.frame.columns
    if label is None:
        return names[-1]
    if label not in names:
        raise DataFault([Fault(raw.file, f"a column '{label}' to predict", ", ".join(names[:30]))])
    return label


def outcome_target(raw: RawTable, name: str) -> Target:
    """Return a target of two classes, ``paid`` and ``default``.

    Raises:
        DataFault: If the column does not hold two values of which one plainly is the default.
    """
    values = _values(raw, name)
    classes = {value: int(value.lower() in _BAD) for value in values}
    known = all(value.lower() in (*_BAD, *_GOOD) for value in values)
    if not known or len(values) < 2 or set(classes.values()) != {0, 1}:
        expected = "two outcomes, 0 (or 'good', 'paid', 'no') and 1 (or 'bad', 'default', 'yes')"
        raise DataFault([Fault(raw.file, expected, _listed(values), column=name)])
    return Target(name, ("paid", "default"), classes)


def finding_target(raw: RawTable, name: str) -> Target:
    """Return a target with a class for each value, in order; numbers by size.

    Raises:
        DataFault: If the column holds one value, or more than could be findings.
    """
    values = _values(raw, name)
    if not 2 <= len(values) <= MAX_CLASSES:
        expected = f"2 to {MAX_CLASSES} different findings"
        raise DataFault([Fault(raw.file, expected, _listed(values), column=name)])
    labels = tuple(sorted(values, key=_order))
    return Target(name, labels, {label: i for i, label in enumerate(labels)})


def _values(raw: RawTable, name: str) -> list[str]:
    cells = raw.frame[name].drop_nulls().unique(maintain_order=True)
    return list(dict.fromkeys(canonical(cell) for cell in cells))


def _listed(values: list[str]) -> str:
    shown = ", ".join(f"'{value[:40]}'" for value in values[:5])
    more = f", … ({len(values)} in all)" if len(values) > 5 else ""
    return f"{shown}{more}" if values else "no value"


def _order(value: str) -> tuple[bool, float, str]:
    try:
        return (False, float(value), "")
    except ValueError:
        return (True, 0.0, value)
