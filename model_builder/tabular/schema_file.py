"""The schema of a table as a file: what was guessed, for a person to review and edit."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from model_builder.errors import DataFault, Fault
from model_builder.tabular.columns import Column, Target, canonical
from triton_models.release import FeatureSpec

SUFFIX = ".schema.yaml"
_HEAD = """\
# What the columns hold: review it, edit it; `model-builder build` reads it where it lies beside the
# data, or where `--set schema_file=` says. Keys that are left out are as they were guessed.
#   type           quantity, code, category, or left out (no feature)
#   minimum, maximum, categories      what is allowed
#   special_codes  values of a quantity that name something, such as {-9: no record}
#   missing_values texts that hold no value
#   missing_rule   impute, refuse; unknown_rule: clip, impute (as missing), refuse
#   protected      true: measured for fairness, never named as a reason
#   monotonic      increasing, decreasing: how the risk may move with the quantity
"""


class ColumnRules(BaseModel):
    """One column; ``None`` leaves a key as it was guessed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Literal["quantity", "code", "category", "left out"] | None = None
    description: str | None = None
    unit: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    categories: tuple[str, ...] | None = None
    special_codes: dict[float, str] | None = None
    missing_values: tuple[str, ...] | None = None
    missing_rule: Literal["impute", "refuse"] | None = None
    unknown_rule: Literal["clip", "impute", "refuse"] | None = None
    protected: bool | None = None
    monotonic: Literal["increasing", "decreasing"] | None = None

    def applied(self, column: Column) -> Column:
        """Return a column with what is said here."""
        said = {name: value for name, value in self if value is not None and name != "type"}
        kind = self.type if self.type not in (None, "left out") else column.kind
        return dataclasses.replace(column, kind=kind, **said)


class Schema(BaseModel):
    """A whole file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    label: str | None = None
    """The column to predict."""
    outcomes: dict[str, Literal["paid", "default"]] | None = None
    """What the values of the label mean."""
    columns: dict[str, ColumnRules] = Field(default_factory=dict)
    """By name in the file."""


def beside(data: Path) -> Path:
    """Return where the schema of a data set lies: outside, if it is a folder."""
    data = data if data.name else data.absolute()  # '.' has no name to begin with
    return data.with_name((data.name if data.is_dir() else data.stem) + SUFFIX)


def find_schema(data: Path, given: str | None) -> tuple[Schema | None, str]:
    """Return the schema of a data set and the name of its file, if there is any.

    Args:
        data: The file, or its folder.
        given: Where the schema lies, if not beside it.

    Raises:
        DataFault: If the file cannot be read, or says what no schema can; names every fault.
    """
    path = Path(given) if given is not None else beside(data)
    if given is None and not path.is_file():
        return None, ""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        return Schema.model_validate(content), path.name
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        found = " ".join(str(error).split())
        raise DataFault([Fault(path.name, "a schema in YAML", found)]) from error
    except ValidationError as error:
        raise DataFault(
            [
                Fault(
                    path.name,
                    fault["msg"][:1].lower() + fault["msg"][1:],
                    repr(fault["input"])[:60],
                    column=".".join(str(part) for part in fault["loc"]),
                )
                for fault in error.errors()
            ]
        ) from error


def applied(
    schema: Schema, file: str, columns: Sequence[Column], others: Sequence[str]
) -> tuple[Column, ...]:
    """Return the columns as the schema has them.

    Args:
        schema: Says what is to be different.
        file: Its name.
        columns: As guessed.
        others: Columns of the file that were left out.

    Raises:
        DataFault: If it speaks of a column that is not there, or contradicts itself.
    """
    known = {column.file_name: column for column in columns}
    # A column that was left out comes back if the schema says what it holds.
    left_out = {name: Column(name, "quantity", description=name) for name in others}
    faults = [
        Fault(file, "a column of the data", f"'{name}'")
        for name in schema.columns
        if name not in known and name not in left_out
    ]
    made = []
    for name, column in (known | left_out).items():
        rules = schema.columns.get(name)
        if rules is None or rules.type is None:
            if name in left_out:
                continue
        elif rules.type == "left out":
            continue
        changed = column if rules is None else rules.applied(column)
        faults += _faults(file, changed)
        made.append(changed)
    if faults:
        raise DataFault(faults)
    return tuple(made)


def outcomes_target(schema: Schema, name: str) -> Target | None:
    """Return the target that the schema spells out, if it does."""
    if schema.outcomes is None:
        return None
    labels = ("paid", "default")
    return Target(name, labels, {canonical(k): labels.index(v) for k, v in schema.outcomes.items()})


def _faults(file: str, column: Column) -> list[Fault]:
    faults = []
    if column.kind != "quantity":
        for key in ("special_codes", "minimum", "maximum", "monotonic"):
            if getattr(column, key) not in (None, {}):
                expected = f"no {key}, which only a quantity has"
                faults.append(Fault(file, expected, f"it is a {column.kind}", column=column.name))
        if column.unknown_rule == "clip":
            found = f"'clip' of a {column.kind}"
            faults.append(Fault(file, "unknown_rule impute or refuse", found, column=column.name))
    low, high = column.minimum, column.maximum
    if low is not None and high is not None and low >= high:
        found = f"{low:g} to {high:g}"
        faults.append(Fault(file, "a minimum below the maximum", found, column=column.name))
    return faults


def written(label: str, columns: Sequence[Column], features: Sequence[FeatureSpec]) -> str:
    """Return the file of what was guessed; empty keys are left out.

    Args:
        label: The column to predict.
        columns: Of the table.
        features: Inferred of them, in the same order.
    """
    entries: dict[str, dict[str, object]] = {}
    for column, feature in zip(columns, features, strict=True):
        entry: dict[str, object] = {"type": column.kind, "description": column.description}
        if column.kind == "quantity":
            entry |= {"unit": feature.unit, "minimum": feature.minimum, "maximum": feature.maximum}
            entry["special_codes"] = dict(feature.special_codes)
        elif column.kind == "category":
            entry["categories"] = list(feature.categories)
        entry |= {
            "missing_values": list(column.missing_values),
            "missing_rule": feature.missing_rule,
            "unknown_rule": feature.unknown_rule,
            "protected": feature.protected,
            "monotonic": feature.monotonic,
        }
        kept = {k: v for k, v in entry.items() if v not in ("", [], {}, None)}
        entries[column.file_name] = kept
    content = {"label": label, "columns": entries}
    return _HEAD + yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)
