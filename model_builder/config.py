"""Hyperparameters from a file and from ``--set``, checked all at once."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from model_builder.errors import ConfigInvalid
from model_builder.task import TaskConfig

Config = TypeVar("Config", bound=TaskConfig)


def read_config(
    config_type: type[Config],
    file: Path | None = None,
    settings: Sequence[str] = (),
    seed: int | None = None,
) -> Config:
    """Return the task's defaults, overridden by ``file``, then ``settings``, then ``seed``.

    Args:
        config_type: The task's.
        file: YAML or JSON with a mapping.
        settings: Each ``KEY=VALUE``; a dot leads into a nested part, the value is read as the
            type that the key has, lists and mappings as YAML.
        seed: Overrides ``seed``.

    Raises:
        ConfigInvalid: Names everything that is wrong.
    """
    values = _from_file(file) if file is not None else {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or not key.strip("."):
            raise ConfigInvalid([f"--set {setting}: must be KEY=VALUE"])
        _put(values, key.strip(), text)
    if seed is not None:
        values["seed"] = seed
    try:
        return config_type.model_validate(values)
    except ValidationError as error:
        raise ConfigInvalid([_line(fault, config_type) for fault in error.errors()]) from error


def _from_file(file: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigInvalid([f"{file}: {' '.join(str(error).split())}"]) from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigInvalid([f"{file}: must hold a mapping of keys to values"])
    return content


def _put(values: dict[str, Any], key: str, text: str) -> None:
    *outer, last = key.split(".")
    for part in outer:
        inner = values.get(part)
        values[part] = inner = dict(inner) if isinstance(inner, dict) else {}
        values = inner
    values[last] = _value(text)


def _value(text: str) -> Any:
    """Leave plain text to pydantic, which knows the type; only it can tell 5 from '5'."""
    if text[:1] not in {"[", "{"} and text not in {"null", "~"}:
        return text
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def _line(fault: Mapping[str, Any], config_type: type[TaskConfig]) -> str:
    key = ".".join(str(part) for part in fault["loc"]) or "configuration"
    if fault["type"] != "extra_forbidden":
        return f"{key}: {fault['msg'][:1].lower()}{fault['msg'][1:]}, found {fault['input']!r}"
    keys = _keys_beside(fault["loc"], config_type)
    close = difflib.get_close_matches(key, keys, 2, 0.5)
    meant = f"did you mean {' or '.join(close)}?" if close else f"keys are {', '.join(keys)}"
    return f"{key}: there is no such key; {meant}"


def _keys_beside(place: Sequence[int | str], config_type: type[BaseModel]) -> list[str]:
    """Return the keys that there are where a wrong one was found, by their whole names."""
    *outer, _ = place
    for part in outer:
        inner = config_type.model_fields[str(part)].annotation
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return []
        config_type = inner
    return [".".join(map(str, [*outer, key])) for key in config_type.model_fields]
