"""Compiles with TensorRT's Python library, versions 10 and 11.

Networks are strongly typed in both: what a tensor is computed in stands in the ONNX file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np

from model_builder.export.running import Arrays
from model_builder.tensorrt.compiled import Compiled, Inputs
from model_builder.tensorrt.errors import CompileFailed, ToolMissing
from model_builder.tensorrt.options import CompileOptions
from triton_models.plans import Shapes

OLDEST = 10
_MIB = 1 << 20


class PythonCompiler:
    """TensorRT, as a library of this process.

    Args:
        trt: The module ``tensorrt``.

    Raises:
        ToolMissing: If it is too old.
    """

    kind: ClassVar[Literal["python", "trtexec"]] = "python"

    def __init__(self, trt: Any) -> None:
        self._trt = trt
        self._version = str(trt.__version__)
        if int(self._version.partition(".")[0]) < OLDEST:
            raise ToolMissing(f"TensorRT {self._version} is too old, {OLDEST} is needed")
        self._logger = trt.Logger(trt.Logger.WARNING)

    def compile(
        self, step: str, model: bytes, shapes: Mapping[str, Shapes], options: CompileOptions
    ) -> Compiled:
        """Return the plan of a network.

        Raises:
            CompileFailed: If TensorRT does not take it.
        """
        trt = self._trt
        builder = trt.Builder(self._logger)
        network = builder.create_network(self._typed())
        parser = trt.OnnxParser(network, self._logger)
        if not parser.parse(model):
            errors = [parser.get_error(place) for place in range(parser.num_errors)]
            raise CompileFailed(step, [_parser_error(error) for error in errors])
        config = builder.create_builder_config()
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_mib * _MIB)
        # TF32 keeps 10 bits of a factor; FP32 is to be what was proven.
        config.clear_flag(trt.BuilderFlag.TF32)
        if options.version_compatible:
            config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
        if options.hardware_compatible:
            config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS
        profile = builder.create_optimization_profile()
        for name, each in shapes.items():
            profile.set_shape(name, each.least, each.usual, each.most)
        config.add_optimization_profile(profile)
        self._read_timings(config, options)
        plan = builder.build_serialized_network(network, config)
        if plan is None:
            raise CompileFailed(step, ["TensorRT gave none; its log above says why"])
        self._keep_timings(config, options)
        return Compiled(bytes(plan), self._version)

    def run(self, step: str, plan: Compiled, inputs: Inputs, options: CompileOptions) -> Arrays:
        """Return what a plan answers, by output.

        Raises:
            CompileFailed: If it does not run.
        """
        import torch

        trt = self._trt
        runtime = trt.Runtime(self._logger)
        # A version-compatible plan brings the code that runs it; this one we made ourselves.
        runtime.engine_host_code_allowed = options.version_compatible
        engine = runtime.deserialize_cuda_engine(plan.content)
        if engine is None:
            raise CompileFailed(step, ["TensorRT does not read the plan that it made"])
        context = engine.create_execution_context()
        names = [engine.get_tensor_name(place) for place in range(engine.num_io_tensors)]
        held: dict[str, Any] = {}
        for name in names:
            if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT:
                held[name] = torch.from_numpy(np.ascontiguousarray(inputs[name])).cuda()
                context.set_input_shape(name, tuple(held[name].shape))
        made = [name for name in names if name not in held]
        for name in made:
            shape = tuple(context.get_tensor_shape(name))
            if any(size < 0 for size in shape):
                raise CompileFailed(step, [f"the size of output '{name}' depends on values"])
            like = torch.from_numpy(np.empty(0, trt.nptype(engine.get_tensor_dtype(name))))
            held[name] = torch.empty(shape, dtype=like.dtype, device="cuda")
        for name, tensor in held.items():
            context.set_tensor_address(name, tensor.data_ptr())
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        if not context.execute_async_v3(stream.cuda_stream):
            raise CompileFailed(step, ["the plan does not run"])
        stream.synchronize()
        return {name: held[name].cpu().numpy() for name in made}

    def _typed(self) -> int:
        """Return the flags of a network whose types stand in the file; 11 knows no other."""
        flag = getattr(self._trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
        return 0 if flag is None else 1 << int(flag)

    def _read_timings(self, config: Any, options: CompileOptions) -> None:
        file = options.timing_cache
        if file is None:
            return
        content = file.read_bytes() if file.exists() else b""
        # Timings of another GPU are none: they are left out, and the file is begun anew.
        cache = config.create_timing_cache(content)
        if not config.set_timing_cache(cache, ignore_mismatch=False):
            config.set_timing_cache(config.create_timing_cache(b""), ignore_mismatch=False)

    def _keep_timings(self, config: Any, options: CompileOptions) -> None:
        cache = config.get_timing_cache() if options.timing_cache is not None else None
        if cache is not None and options.timing_cache is not None:
            options.timing_cache.write_bytes(bytes(cache.serialize()))


def _parser_error(error: Any) -> str:
    where = f"{error.node_name()} ({error.node_operator()}): " if error.node_name() else ""
    return f"{where}{' '.join(str(error.desc()).split())}"
