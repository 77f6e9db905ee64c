"""What the two ways to compile have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from model_builder.export.running import Arrays
from model_builder.tensorrt.options import CompileOptions
from triton_models.plans import Shapes

Inputs = Mapping[str, npt.NDArray[np.generic]]


@dataclass(frozen=True)
class Compiled:
    """A plan."""

    content: bytes
    tensorrt: str
    """The version that made it, such as ``10.13.3.9``."""


class Compiler(Protocol):
    """Compiles for the GPU of this machine, and runs what it compiled."""

    kind: Literal["python", "trtexec"]

    def compile(
        self, step: str, model: bytes, shapes: Mapping[str, Shapes], options: CompileOptions
    ) -> Compiled:
        """Return the plan of a network.

        Raises:
            CompileFailed: If TensorRT does not take it.
        """
        ...

    def run(self, step: str, plan: Compiled, inputs: Inputs, options: CompileOptions) -> Arrays:
        """Return what a plan answers, by output.

        Raises:
            CompileFailed: If it does not run.
        """
        ...
