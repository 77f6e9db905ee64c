"""What can be wrong with the embedded Triton.

EmbeddedTritonError
├── TritonNotInstalled     the wheel, or the part of it for this machine, is missing
├── LibpythonMissing       the stubs could not start
├── NumpyTooNew            the stubs would answer empty tensors
├── OnnxruntimeMissing     the stubs could load no model
├── TritonExited           it ended while starting
└── TritonNotReady         it did not answer in time
"""

from __future__ import annotations

from collections.abc import Sequence


class EmbeddedTritonError(Exception):
    """Root of everything that keeps the embedded Triton from running."""


class TritonNotInstalled(EmbeddedTritonError):
    """The wheel that carries Triton is missing, or lacks a file."""

    def __init__(self, missing: str) -> None:
        super().__init__(
            f"The embedded Triton is not installed ({missing} is missing):"
            " pip install 'trident[embedded]' on Linux x86-64."
        )
        self.missing = missing


class LibpythonMissing(EmbeddedTritonError):
    """The shared library of this Python is nowhere, and the stubs are linked to it."""

    def __init__(self, library: str, package: str, searched: Sequence[str]) -> None:
        super().__init__(
            f"The embedded Triton needs {library}, which is not in {', '.join(searched)}:"
            f" install Debian's package {package}."
        )
        self.library = library
        self.package = package
        self.searched = tuple(searched)


class NumpyTooNew(EmbeddedTritonError):
    """The stubs are compiled against numpy 1 and answer empty tensors with numpy 2."""

    def __init__(self, version: str) -> None:
        super().__init__(
            f"The embedded Triton needs numpy below 2 and found {version}: pip install 'numpy<2'."
        )
        self.version = version


class OnnxruntimeMissing(EmbeddedTritonError):
    """A package that the stubs import is missing."""

    def __init__(self, package: str) -> None:
        super().__init__(
            f"The embedded Triton runs models with {package}, which is not installed:"
            " pip install 'trident[embedded]'."
        )
        self.package = package


class TritonExited(EmbeddedTritonError):
    """Triton ended before it was ready."""

    def __init__(self, exit_code: int, log_lines: Sequence[str]) -> None:
        super().__init__(_with_log(f"Triton ended with exit code {exit_code}.", log_lines))
        self.exit_code = exit_code
        self.log_lines = tuple(log_lines)


class TritonNotReady(EmbeddedTritonError):
    """Triton did not say in time that it is ready."""

    def __init__(self, timeout_s: float, log_lines: Sequence[str]) -> None:
        super().__init__(_with_log(f"Triton was not ready after {timeout_s:g} s.", log_lines))
        self.timeout_s = timeout_s
        self.log_lines = tuple(log_lines)


def _with_log(sentence: str, log_lines: Sequence[str]) -> str:
    if not log_lines:
        return sentence
    return "\n  ".join([f"{sentence} Its last lines:", *log_lines])
