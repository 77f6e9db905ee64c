from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from triton_models.embedded.errors import (
    EmbeddedTritonError,
    LibpythonMissing,
    NumpyTooNew,
    OnnxruntimeMissing,
    TritonNotInstalled,
)
from triton_models.embedded.installation import (
    PythonHere,
    find_installation,
    lay_out_backends,
    package_folder,
)

FILES = (
    "pytriton/tritonserver/bin/tritonserver",
    "pytriton/tritonserver/backends/python/libtriton_python.so",
    "pytriton/tritonserver/backends/python/triton_python_backend_utils.py",
    "pytriton/tritonserver/python_backend_stubs/3.12/triton_python_backend_stub",
    "nvidia_pytriton.libs/libfoo.so",
    "numpy/__init__.py",
    "onnxruntime/__init__.py",
)


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """A folder like ``site-packages`` with everything in it."""
    for name in FILES:
        path = tmp_path / "packages" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path / "packages"


@pytest.fixture
def python(packages: Path, tmp_path: Path) -> PythonHere:
    """A Python 3.12 with everything installed."""
    for folder in ("own", "system"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "libpython3.12.so.1.0").write_text(folder)
    return PythonHere(
        version=(3, 12),
        folder=tmp_path / "bin",
        library_folders=("", str(tmp_path / "own"), str(tmp_path / "system")),
        package_folder=lambda name: packages / name if (packages / name).exists() else None,
        package_version=lambda name: "1.26.4",
    )


def test_everything_is_found(python: PythonHere, packages: Path, tmp_path: Path) -> None:
    found = find_installation(python)

    assert found.server == packages / FILES[0]
    assert found.stub == packages / FILES[3]
    assert found.libraries == packages / "nvidia_pytriton.libs"
    assert found.libpython == tmp_path / "own" / "libpython3.12.so.1.0"
    assert found.python_folder == tmp_path / "bin"


def test_the_systems_libpython_serves_when_the_interpreter_has_none(
    python: PythonHere, tmp_path: Path
) -> None:
    (tmp_path / "own" / "libpython3.12.so.1.0").unlink()

    assert find_installation(python).libpython.parent == tmp_path / "system"


def test_no_libpython_is_one_sentence_that_names_the_package(
    python: PythonHere, tmp_path: Path
) -> None:
    with pytest.raises(LibpythonMissing) as caught:
        find_installation(replace(python, library_folders=("", str(tmp_path))))

    assert str(caught.value) == (
        f"The embedded Triton needs libpython3.12.so.1.0, which is not in {tmp_path}:"
        " install Debian's package libpython3.12."
    )


@pytest.mark.parametrize("version", ["2.0.0", "2.4.1", "10.0"])
def test_numpy_2_is_refused(python: PythonHere, version: str) -> None:
    with pytest.raises(NumpyTooNew, match=rf"below 2 and found {version}: pip install 'numpy<2'"):
        find_installation(replace(python, package_version=lambda name: version))


@pytest.mark.parametrize("name", ["onnxruntime", "numpy"])
def test_a_missing_package_of_the_stubs_is_named(python: PythonHere, name: str) -> None:
    def without(wanted: str) -> Path | None:
        return None if wanted == name else python.package_folder(wanted)

    with pytest.raises(OnnxruntimeMissing, match=f"with {name}, which is not installed"):
        find_installation(replace(python, package_folder=without))


def test_a_missing_wheel_names_the_extra(python: PythonHere) -> None:
    with pytest.raises(TritonNotInstalled, match=r"nvidia-pytriton is missing.*trident\[embedded"):
        find_installation(replace(python, package_folder=lambda name: None))


@pytest.mark.parametrize("name", [FILES[0], FILES[1], FILES[3]])
def test_a_wheel_that_lacks_a_file_names_it(python: PythonHere, packages: Path, name: str) -> None:
    (packages / name).unlink()

    with pytest.raises(TritonNotInstalled, match=name):
        find_installation(python)


def test_the_backends_are_laid_out_as_triton_wants_them(python: PythonHere, tmp_path: Path) -> None:
    folder = tmp_path / "backends"
    folder.mkdir()

    lay_out_backends(find_installation(python), folder)

    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert files == {
        "python/libtriton_python.so",
        "python/triton_python_backend_utils.py",
        "python/triton_python_backend_stub",
        "onnxruntime/model.py",
        "lib/libpython3.12.so.1.0",
    }
    assert not (folder / "python" / "libtriton_python.so").is_symlink()
    assert (folder / "lib" / "libpython3.12.so.1.0").read_text() == "own"


def test_a_package_is_found_without_importing_it() -> None:
    folder = package_folder("numpy")

    assert folder is not None
    assert os.path.exists(folder / "__init__.py")
    assert package_folder("no_such_package_anywhere") is None


def test_every_error_can_be_caught_by_the_root() -> None:
    errors = (LibpythonMissing, NumpyTooNew, OnnxruntimeMissing, TritonNotInstalled)

    assert all(issubclass(error, EmbeddedTritonError) for error in errors)
