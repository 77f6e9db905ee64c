"""Where a release comes from: the code and the libraries that made it."""

from __future__ import annotations

import platform
import subprocess
from importlib import metadata
from pathlib import Path

_LIBRARIES = (
    "trident",
    "accelerate",
    "numpy",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "scikit-learn",
    "spox",
    "torch",
    "transformers",
)


def versions() -> dict[str, str]:
    """Return the version of Python and of every library that takes part in a build."""
    found = {"python": platform.python_version()}
    for library in _LIBRARIES:
        try:
            found[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            continue
    return found


def git_commit(folder: Path = Path(__file__).parent) -> str:
    """Return the commit that ``folder`` is checked out at, ``…+changed`` if it was edited.

    Empty if it is not part of a checkout, such as an installed package.
    """
    try:
        # An installed package may lie inside somebody's repository without being part of it.
        if not _git(folder, "ls-files", "."):
            return ""
        commit = _git(folder, "rev-parse", "HEAD")
        return f"{commit}+changed" if _git(folder, "status", "--porcelain", ".") else commit
    except (OSError, subprocess.SubprocessError):
        return ""


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "--no-optional-locks", "-C", str(folder), *arguments],
        capture_output=True,
        check=True,
        text=True,
        timeout=10,
    )
    return done.stdout.strip()
