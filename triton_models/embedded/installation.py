"""Finds the Triton that the wheel ``nvidia-pytriton`` carries, and what it needs to run here.

The wheel has the server, the Python backend and one stub (the process that runs
a Python model) for each Python version, but not laid out so that the server
could use them; :func:`lay_out_backends` makes such a folder.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import shutil
import sys
import sysconfig
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from triton_models.embedded.errors import (
    LibpythonMissing,
    NumpyTooNew,
    OnnxruntimeMissing,
    TritonNotInstalled,
)

BACKEND_MODEL = Path(__file__).parents[1] / "backends" / "onnxruntime" / "model.py"
"""The python-based backend ``onnxruntime``."""

_SYSTEM_LIBRARIES = ("/usr/lib/x86_64-linux-gnu", "/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib")
_STUB = "triton_python_backend_stub"


def package_folder(name: str) -> Path | None:
    """Return the folder of an installed package without importing it, or None."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations)))


@dataclass(frozen=True)
class PythonHere:
    """The running Python, as the stubs must find it; every field can be replaced in a test."""

    version: tuple[int, int] = (sys.version_info.major, sys.version_info.minor)
    folder: Path = Path(sys.executable).parent
    library_folders: Sequence[str] = field(
        default_factory=lambda: (sysconfig.get_config_var("LIBDIR") or "", *_SYSTEM_LIBRARIES)
    )
    package_folder: Callable[[str], Path | None] = package_folder
    package_version: Callable[[str], str] = importlib.metadata.version

    @property
    def dotted(self) -> str:
        """The version as in a file name, such as ``3.11``."""
        return f"{self.version[0]}.{self.version[1]}"


@dataclass(frozen=True)
class Installation:
    """Everything that a start of Triton needs, found and checked."""

    server: Path
    python_backend: Path
    """Folder of the Python backend without a stub."""
    stub: Path
    libraries: Path
    """Folder of the shared libraries that the wheel carries."""
    libpython: Path
    python_folder: Path
    """Folder of the ``python3`` whose packages the stubs import."""


def find_installation(python: PythonHere | None = None) -> Installation:
    """Find Triton and check everything that would only fail later, or silently.

    Raises:
        EmbeddedTritonError: In one sentence, what is missing and what to install.
    """
    python = python or PythonHere()
    wheel = python.package_folder("pytriton")
    if wheel is None:
        raise TritonNotInstalled("the package nvidia-pytriton")
    root = wheel / "tritonserver"
    server = _existing(root / "bin" / "tritonserver")
    backend = _existing(root / "backends" / "python" / "libtriton_python.so").parent
    stub = _existing(root / "python_backend_stubs" / python.dotted / _STUB)
    libraries = _existing(wheel.parent / "nvidia_pytriton.libs")

    numpy = python.package_folder("numpy")
    onnxruntime = python.package_folder("onnxruntime")
    if numpy is None or onnxruntime is None:
        raise OnnxruntimeMissing("onnxruntime" if onnxruntime is None else "numpy")
    numpy_version = python.package_version("numpy")
    if int(numpy_version.split(".", 1)[0]) >= 2:
        raise NumpyTooNew(numpy_version)

    return Installation(
        server=server,
        python_backend=backend,
        stub=stub,
        libraries=libraries,
        libpython=_find_libpython(python),
        python_folder=python.folder,
    )


def lay_out_backends(installation: Installation, folder: Path) -> None:
    """Fill an empty folder as ``--backend-directory`` wants it.

    Files are copied (3 MB): Triton refuses a library that is a link out of the folder.
    ``python/`` gets the backend and beside it the stub of the running Python;
    ``onnxruntime/model.py`` is ours; ``lib/`` gets libpython, alone, so that
    nothing else of the interpreter's folder is put before the system's libraries.
    """
    for name in ("python", "onnxruntime", "lib"):
        (folder / name).mkdir()
    for entry in ("libtriton_python.so", "triton_python_backend_utils.py"):
        shutil.copy(_existing(installation.python_backend / entry), folder / "python")
    shutil.copy(installation.stub, folder / "python")
    shutil.copy(BACKEND_MODEL, folder / "onnxruntime")
    (folder / "lib" / installation.libpython.name).symlink_to(installation.libpython)


def _existing(path: Path) -> Path:
    if not path.exists():
        raise TritonNotInstalled(str(path))
    return path


def _find_libpython(python: PythonHere) -> Path:
    """Return libpython: the interpreter's own, else the system's."""
    library = f"libpython{python.dotted}.so.1.0"
    folders = [folder for folder in python.library_folders if folder]
    for folder in folders:
        if (path := Path(folder, library)).exists():
            return path
    raise LibpythonMissing(library, f"libpython{python.dotted}", folders)
