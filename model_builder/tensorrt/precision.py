"""A network in another precision, as TensorRT wants it: said by the types in the ONNX file.

TensorRT 11 knows no other way, and TensorRT 10 is used so too. NVIDIA's ModelOpt writes such
files: casts for FP16 and BF16, scales (Q/DQ) for INT8 and FP8.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from model_builder.export.onnx import serialised
from model_builder.tensorrt.errors import CompileFailed, ToolMissing
from triton_models.plans import Precision

CAST = ("fp16", "bf16")
SCALED = ("int8", "fp8")

Inputs = Mapping[str, npt.NDArray[np.generic]]
Load = Callable[[str], ModuleType]


def is_quantised(model: onnx.ModelProto) -> bool:
    """Return whether a network says scales itself."""
    return any(node.op_type == "QuantizeLinear" for node in model.graph.node)


def in_precision(
    step: str,
    model: onnx.ModelProto,
    precision: Precision,
    calibration: Inputs,
    load: Load = importlib.import_module,
) -> onnx.ModelProto:
    """Return a network whose types say what it computes in; its inputs and outputs stay.

    Args:
        step: Its name.
        model: In FP32.
        precision: Wanted.
        calibration: By input, ``(rows, …)``: what scales are taken from; of FP16 and BF16, what
            shows which nodes must stay in FP32.
        load: Imports a module.

    Raises:
        ToolMissing: If ModelOpt is not installed.
        CompileFailed: If it cannot convert the network.
    """
    if precision == "fp32" or (precision == "int8" and is_quantised(model)):
        return model
    with TemporaryDirectory(prefix="trident-modelopt-") as scratch:
        source, target = Path(scratch, "network.onnx"), Path(scratch, "converted.onnx")
        source.write_bytes(serialised(model))
        try:
            if precision in CAST:
                made = _cast(source, precision, calibration, load)
            else:
                made = _scaled(source, target, precision, calibration, load)
        except ImportError as error:
            raise ToolMissing(f"{precision} needs ModelOpt, which is not installed") from error
        except (RuntimeError, ValueError, AssertionError) as error:
            raise CompileFailed(step, [f"ModelOpt: {' '.join(str(error).split())}"]) from error
    return made


def _cast(source: Path, precision: str, calibration: Inputs, load: Load) -> onnx.ModelProto:
    autocast: Any = load("modelopt.onnx.autocast")
    data = None
    if calibration:
        data = str(source.with_suffix(".npz"))
        np.savez(data, **calibration)
    made: onnx.ModelProto = autocast.convert_to_mixed_precision(
        onnx_path=str(source),
        low_precision_type=precision,
        keep_io_types=True,
        calibration_data=data,
    )
    return made


def _scaled(
    source: Path, target: Path, precision: str, calibration: Inputs, load: Load
) -> onnx.ModelProto:
    quantization: Any = load("modelopt.onnx.quantization")
    quantization.quantize(
        onnx_path=str(source),
        quantize_mode=precision,
        calibration_data=dict(calibration),
        calibration_method="max" if precision == "fp8" else "entropy",
        calibration_eps=["cpu"],
        high_precision_dtype="fp32",
        output_path=str(target),
    )
    return onnx.load(target)
