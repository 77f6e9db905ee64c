"""NVIDIA's ModelOpt: writes casts or scales into a network, in a process of its own.

Of its own, because importing it is not enough to be let alone by it: when it scales, it puts its
own functions into ``onnxruntime.quantization``, where they stay, and by which the variants for a
CPU can then not be made; and it writes its log to standard output.
"""

from __future__ import annotations

import importlib
import logging
import os
import re
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx

from model_builder.tensorrt.errors import CompileFailed, ToolMissing
from triton_models.plans import Precision

CAST = ("fp16", "bf16")
SCALED = ("int8", "fp8")

_ROWS_AT_ONCE = 32
"""Of a calibration. By itself ModelOpt takes one row, finds that a product of one row gains nothing
by scales, and leaves all of them out."""

_OPSET = 21
"""Before it, what only moves values about does not take 8-bit floats, and ModelOpt leaves such
nodes between the scales."""

Load = Callable[[str], ModuleType]


@dataclass(frozen=True)
class Order:
    """A network that is to be written in another precision.

    Attributes:
        step: Whose it is.
        source: The network, in FP32.
        target: Where the other one goes.
        precision: Wanted; not FP32.
        seen: NPZ with its inputs by name, ``(rows, …)``.
        layers: Names of the nodes that may be scaled.
    """

    step: str
    source: Path
    target: Path
    precision: Precision
    seen: Path
    layers: tuple[str, ...] = ()


def in_own_process(order: Order) -> None:
    """Have ModelOpt write a network, in a process that ends with it.

    Raises:
        ToolMissing: If ModelOpt is not installed.
        CompileFailed: If it cannot convert the network.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=_quietly) as pool:
        try:
            missing, failed = pool.submit(_attempted, order).result()
        except BrokenProcessPool as error:
            raise CompileFailed(order.step, ["ModelOpt's process ended, or was killed"]) from error
    if missing:
        raise ToolMissing(missing)
    if failed:
        raise CompileFailed(order.step, failed)


def converted(order: Order, load: Load = importlib.import_module) -> None:
    """Write a network by ModelOpt, in this process.

    Args:
        order: What is wanted.
        load: Imports a module.

    Raises:
        ToolMissing: If ModelOpt is not installed.
        CompileFailed: If it cannot convert the network.
    """
    try:
        if order.precision in CAST:
            _cast(order, load("modelopt.onnx.autocast"))
        else:
            _scale(order, load("modelopt.onnx.quantization"))
    except ImportError as error:
        raise ToolMissing(f"{order.precision} needs ModelOpt, which is not installed") from error
    except Exception as error:  # it raises what the libraries raise that it calls
        text = " ".join(str(error).split())
        raise CompileFailed(order.step, [f"ModelOpt: {type(error).__name__}: {text}"]) from error


def _attempted(order: Order) -> tuple[str, tuple[str, ...]]:
    """Convert; return what is missing and what failed, since not every error can travel."""
    try:
        converted(order)
    except ToolMissing as error:
        return error.what, ()
    except CompileFailed as error:
        return "", error.reasons
    return "", ()


def _cast(order: Order, autocast: Any) -> None:
    made: onnx.ModelProto = autocast.convert_to_mixed_precision(
        onnx_path=str(order.source),
        low_precision_type=order.precision,
        keep_io_types=True,
        calibration_data=str(order.seen),
    )
    onnx.save(made, order.target)


def _scale(order: Order, quantization: Any) -> None:
    with np.load(order.seen) as file:
        seen = dict(file)
    quantization.quantize(
        onnx_path=str(order.source),
        quantize_mode=order.precision,
        calibration_data=seen,
        calibration_shapes=_shapes_at_once(seen),
        calibration_method="max" if order.precision == "fp8" else "entropy",
        calibration_eps=["cpu"],
        high_precision_dtype="fp32",
        nodes_to_quantize=[f"{re.escape(name)}$" for name in order.layers],  # it takes patterns
        opset=_OPSET,
        output_path=str(order.target),
    )


def _shapes_at_once(seen: dict[str, np.ndarray[Any, Any]]) -> str:
    """Return the sizes of one part of a calibration, as ModelOpt writes them: ``x:32x8,y:32``."""
    rows = min(_ROWS_AT_ONCE, *(len(array) for array in seen.values()))
    return ",".join(
        f"{name}:{'x'.join(map(str, (rows, *array.shape[1:])))}" for name, array in seen.items()
    )


def _quietly() -> None:
    """Keep this process's log short, and off the standard output, which is for programs."""
    os.dup2(2, 1)
    logging.disable(logging.WARNING)
