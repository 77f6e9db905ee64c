"""What a Kubernetes of a version would not take, by the schemas of kubernetes-validate."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import Any

from kubernetes_validate import ValidationError, utils
from packaging.version import Version

# It reads megabytes of definitions for each object; they do not change.
utils.schema_contents = functools.cache(utils.schema_contents)

# It lists each version once for each kind of its schemas.
NEWEST = sorted(set(utils.all_versions()), key=Version)[-3:]


def invalid(objects: Iterable[Mapping[str, Any]], version: str) -> list[str]:
    """Return what is wrong with each object; a kind without a schema is an error."""
    faults = []
    for one in objects:
        try:
            utils.validate(dict(one), version, strict=True)
        except ValidationError as error:
            faults.append(f"{one['kind']} {one['metadata']['name']}: {error.message}")
    return faults
