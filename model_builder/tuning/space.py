"""The search space: for each hyperparameter its bounds or its choices, as data.

.. code-block:: yaml

    learning_rate: {low: 0.0003, high: 0.01, log: true}
    width: {choices: [16, 32, 64]}
    training.label_smoothing: {low: 0, high: 0.2}

A dot leads into a nested part of the configuration. A range of a whole number gives whole numbers.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from optuna.trial import Trial
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from model_builder.errors import ConfigInvalid
from model_builder.task import TaskConfig

Config = TypeVar("Config", bound=TaskConfig)
Scalar = bool | int | float | str | None


class Range(BaseModel):
    """Numbers from ``low`` to ``high``, both included."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    low: float
    high: float
    log: bool = False
    """Whether to draw evenly from the logarithm: for what works in orders of magnitude."""
    step: float | None = Field(None, gt=0)


class Choices(BaseModel):
    """One of these."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    choices: tuple[Scalar, ...] = Field(min_length=2)


Dimension = Range | Choices
Space = dict[str, Dimension]

_SPACE: TypeAdapter[dict[str, Dimension | None]] = TypeAdapter(dict[str, Dimension | None])


def read_space(text: str, file: Path | None = None) -> Space:
    """Return the space of ``text``, changed by what ``file`` says.

    Args:
        text: YAML, the task's own.
        file: YAML of the same form; its entries replace the task's, and ``null`` takes one out.

    Raises:
        ConfigInvalid: Names every entry that is neither a range nor choices.
    """
    values = yaml.safe_load(text) or {}
    where = "search space"
    if file is not None:
        where = str(file)
        try:
            more = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise ConfigInvalid([f"{file}: {' '.join(str(error).split())}"]) from error
        if not isinstance(more, dict):
            raise ConfigInvalid([f"{file}: must hold a mapping of keys to ranges or choices"])
        values |= more
    try:
        found = _SPACE.validate_python(values)
    except ValidationError as error:
        raise ConfigInvalid(sorted({_line(where, fault) for fault in error.errors()})) from error
    return {key: dimension for key, dimension in found.items() if dimension is not None}


def check_space(space: Space, config: TaskConfig, measured: frozenset[str]) -> None:
    """Refuse a space that leads to a config that cannot be.

    Args:
        space: By key.
        config: What the trials start from.
        measured: Keys that all trials must have alike.

    Raises:
        ConfigInvalid: Names everything that is wrong.
    """
    faults = ["search space: empty, there is nothing to tune"] if not space else []
    for key, dimension in space.items():
        if key in measured or key.split(".")[0] in measured:
            faults.append(f"{key}: says how a trial is measured, so all must have it alike")
        elif _annotation(type(config), key) is None:
            faults.append(f"{key}: there is no such hyperparameter")
        else:
            faults += _faults(key, dimension, config)
    if faults:
        raise ConfigInvalid(faults)


def suggest(trial: Trial, space: Space, config: TaskConfig) -> dict[str, Scalar]:
    """Let the sampler choose a value for each key."""
    chosen: dict[str, Scalar] = {}
    for key, dimension in space.items():
        if isinstance(dimension, Choices):
            chosen[key] = trial.suggest_categorical(key, dimension.choices)
        elif _whole(config, key):
            low, high, step = int(dimension.low), int(dimension.high), int(dimension.step or 1)
            chosen[key] = trial.suggest_int(key, low, high, step=step, log=dimension.log)
        else:
            chosen[key] = trial.suggest_float(
                key, dimension.low, dimension.high, step=dimension.step, log=dimension.log
            )
    return chosen


def with_values(config: Config, values: Mapping[str, Scalar]) -> Config:
    """Return ``config`` with some values replaced; a dot leads into a nested part.

    Raises:
        ValidationError: If that is not a config.
    """
    whole = config.model_dump()
    for key, value in values.items():
        *outer, last = key.split(".")
        inner = whole
        for part in outer:
            inner = inner[part]
        inner[last] = value
    return type(config).model_validate(whole)


def value_at(config: TaskConfig, key: str) -> Any:
    """Return what ``config`` has at ``key``."""
    value: Any = config
    for part in key.split("."):
        value = getattr(value, part)
    return value


def holds(dimension: Dimension, value: Any) -> bool:
    """Whether the sampler could have chosen ``value``."""
    if isinstance(dimension, Choices):
        return value in dimension.choices
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    steps = (value - dimension.low) / dimension.step if dimension.step else 0.0
    return dimension.low <= value <= dimension.high and abs(steps - round(steps)) < 1e-9


def _faults(key: str, dimension: Dimension, config: TaskConfig) -> list[str]:
    if isinstance(dimension, Choices):
        return [
            f"{key}: {fault}"
            for value in dimension.choices
            for fault in _refusal(config, key, value)
        ]
    if not dimension.low < dimension.high:
        return [f"{key}: low {dimension.low:g} must be less than high {dimension.high:g}"]
    if dimension.log and (dimension.low <= 0 or dimension.step is not None):
        return [f"{key}: a logarithmic range starts above 0 and has no step"]
    ends: list[float] = [dimension.low, dimension.high]
    if _whole(config, key):
        wanted = [*ends, dimension.step or 1]
        if not all(float(number).is_integer() for number in wanted):
            return [f"{key}: is a whole number, so low, high and step must be"]
        ends = [int(end) for end in ends]
    return [f"{key}: {fault}" for end in ends for fault in _refusal(config, key, end)]


def _refusal(config: TaskConfig, key: str, value: Scalar) -> list[str]:
    try:
        with_values(config, {key: value})
    except ValidationError as error:
        return [f"{value!r} is refused: {fault['msg']}" for fault in error.errors()]
    return []


def _whole(config: TaskConfig, key: str) -> bool:
    annotation = _annotation(type(config), key)
    kinds = typing.get_args(annotation) if _is_union(annotation) else (annotation,)
    # A bound of one kind only, such as of a number that may be "auto", is annotated.
    plain = [
        typing.get_args(kind)[0] if typing.get_origin(kind) is typing.Annotated else kind
        for kind in kinds
    ]
    return int in plain and float not in plain


def _annotation(config_type: type[BaseModel], key: str) -> Any:
    """Return the type of a hyperparameter; ``None`` if there is none of that name."""
    first, dot, rest = key.partition(".")
    field = config_type.model_fields.get(first)
    if field is None:
        return None
    if not dot:
        return field.annotation
    inner = field.annotation
    nested = isinstance(inner, type) and issubclass(inner, BaseModel)
    return _annotation(inner, rest) if nested else None


def _is_union(annotation: Any) -> bool:
    return typing.get_origin(annotation) in (typing.Union, types.UnionType)


def _line(where: str, fault: Mapping[str, Any]) -> str:
    key = fault["loc"][0] if fault["loc"] else ""
    example = "{low: 0.1, high: 0.5} or {choices: [16, 32]}"
    return f"{where}: {key}: must be as {example}, with log or step if wanted"
