"""A name or a path becomes a data set on this machine.

A named set is taken from the mirror (the folder of its name below ``TRIDENT_DATA_DIR``), else
from the cache (``TRIDENT_CACHE_DIR``, by default the user's), else fetched from its original
address into the cache. In all three cases its content is checked. Sets named ``generated-…``
are made on the spot, the same everywhere.
"""

from __future__ import annotations

import csv
import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import platformdirs

from model_builder import fetching
from model_builder.errors import UnknownData
from model_builder.generated_data import write_generated
from model_builder.progress import Progress, SilentProgress
from model_builder.public_data import PUBLIC_DATA, PublicData
from model_builder.task import ResolvedData

NAMED: dict[str, PublicData] = {data.name: data for data in PUBLIC_DATA}

Where = Literal["mirror", "cache", "not here"]


@dataclass(frozen=True)
class Places:
    """Where data sets lie on this machine."""

    cache: Path
    mirror: Path | None = None

    @staticmethod
    def from_environment(environment: Mapping[str, str] = os.environ) -> Places:
        """Read ``TRIDENT_DATA_DIR`` and ``TRIDENT_CACHE_DIR``."""
        mirror = environment.get("TRIDENT_DATA_DIR")
        cache = environment.get("TRIDENT_CACHE_DIR") or platformdirs.user_cache_dir("trident")
        return Places(Path(cache) / "data", Path(mirror) if mirror else None)

    def find(self, data: PublicData) -> tuple[Where, Path]:
        """Return where ``data`` is, and its folder (in the cache, if it is not here)."""
        folders: list[tuple[Where, Path]] = [("cache", self.cache / data.name)]
        if self.mirror is not None:
            folders.insert(0, ("mirror", self.mirror / data.name))
        for where, folder in folders:
            if all((folder / file.name).is_file() for file in data.files):
                return where, folder
        return "not here", self.cache / data.name


def resolve(
    name_or_path: str,
    *,
    label: str | None = None,
    places: Places | None = None,
    progress: Progress | None = None,
) -> ResolvedData:
    """Return the data set of that name, else the file or folder at that path.

    Args:
        name_or_path: A name of :data:`NAMED`, or a path. A name wins; write ``./name`` for a
            folder that is called like a data set.
        label: The column to predict; by default what the named set implies.
        places: By default those of the environment.
        progress: Shows a download.

    Raises:
        UnknownData: If there is neither such a name nor such a path.
        DataSetUnavailable: If the named set cannot be had, or is not what it should be.
    """
    if name_or_path not in NAMED:
        return _from_path(name_or_path, label)
    data = NAMED[name_or_path]
    folder = ensure(data, places or Places.from_environment(), progress or SilentProgress())
    path = folder / data.files[0].name if len(data.files) == 1 else folder
    return ResolvedData(
        name=data.name,
        path=path,
        sha256=fetching.file_sha256(path),
        licence=data.licence,
        source=data.url or ("scikit-learn" if not data.generated else "made on the spot"),
        generated=data.generated,
        label=label or data.label,
    )


def ensure(data: PublicData, places: Places, progress: Progress) -> Path:
    """Return the folder that holds ``data``, after making, fetching and checking it.

    Raises:
        DataSetUnavailable: If it cannot be had, or is not what it should be.
    """
    where, folder = places.find(data)
    if where == "not here":
        if data.url:
            fetching.fetch(data, folder, progress)
            return folder
        with fetching.whole_folder(folder) as staging:
            if data.generated:
                write_generated(data.name, staging)
            else:
                _write_breast_cancer(staging / data.files[0].name)
    for file in data.files:
        fetching.check(data, file, folder / file.name)
    return folder


def unknown(text: str) -> UnknownData:
    """Return the error for a name that no data set has."""
    return UnknownData(text, sorted(NAMED), difflib.get_close_matches(text, NAMED, 2, 0.5))


def _from_path(text: str, label: str | None) -> ResolvedData:
    path = Path(text).expanduser()
    if not path.exists():
        raise unknown(text)
    return ResolvedData(
        name=path.name, path=path, sha256=fetching.file_sha256(path), source=str(path), label=label
    )


def _write_breast_cancer(path: Path) -> None:
    from sklearn.datasets import load_breast_cancer

    bunch = load_breast_cancer()
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*bunch.feature_names, "diagnosis"])
        for row, target in zip(bunch.data.tolist(), bunch.target.tolist(), strict=True):
            writer.writerow([*row, bunch.target_names[target]])
