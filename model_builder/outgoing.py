"""Releases on their way to a bucket: kept on this machine until they are there.

A build takes long and a network fails: what was built is kept beside the runs until the store has
it, and ``model-builder releases upload`` goes on where an upload ended. Files that are there
whole are not sent again.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from model_builder.errors import ReleaseUnusable
from triton_models.release import Manifest
from triton_models.store import ReleaseStore, Sign

_MANIFEST = "manifest.json"


def keep(folder: Path, manifest: Manifest, models: Path, reports: Mapping[str, bytes]) -> Path:
    """Keep a staged release; return where. The manifest, written last, says that it is whole."""
    place = folder / f"{manifest.line}__{manifest.release}"
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(models, place / "models")
    for name, content in reports.items():
        path = place / "reports" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (place / _MANIFEST).write_text(manifest.model_dump_json(indent=2), encoding="utf-8")
    return place


def upload(place: Path, store: ReleaseStore, sign: Sign | None = None) -> tuple[Manifest, str]:
    """Publish what was kept, and keep it no longer; return its manifest and where that is.

    Raises:
        ReleaseUnusable: If nothing whole is there.
        StoreError: If the store refuses it.
        OSError: If the network fails; it is still kept.
    """
    try:
        content = (place / _MANIFEST).read_bytes()
    except FileNotFoundError:
        raise ReleaseUnusable(place, "no whole release was kept there") from None
    manifest = Manifest.model_validate_json(content)
    reports = {
        path.relative_to(place / "reports").as_posix(): path.read_bytes()
        for path in (place / "reports").rglob("*")
        if path.is_file()
    }
    path = store.publish(manifest, place / "models", reports, sign)
    shutil.rmtree(place)
    return manifest, path
