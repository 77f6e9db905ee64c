"""Reads the files that say who may call what."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from gateway.security.errors import UnusableFile, violations_of

Model = TypeVar("Model", bound=BaseModel)


def read_yaml(path: Path, model: type[Model], unreadable: Callable[[Exception], str]) -> Model:
    """Return what a YAML file holds; an empty one holds the defaults.

    Args:
        path: The file.
        model: What it must hold.
        unreadable: Returns what is said of a file that cannot be read, or is not YAML, given
            the error, whose own text can quote the file.

    Raises:
        UnusableFile: With everything that is wrong.
    """
    try:
        return model.model_validate(yaml.safe_load(path.read_text()) or {})
    except ValidationError as error:
        raise UnusableFile(path, violations_of(error)) from error
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UnusableFile(path, {"": unreadable(error)}) from error
