"""Runs ONNX models on the CPU as a python-based backend of Triton.

Triton's Python backend loads this file in a process of its own for every model
whose configuration says ``backend: "onnxruntime"``. NVIDIA's containers carry a
native backend of that name, so the same repository runs unchanged on both.

Parameters of a model's configuration that are heeded, named as the native
backend names them: ``intra_op_thread_count`` and ``inter_op_thread_count``
(both 1 unless given).
"""

import json
import os
from collections.abc import Iterable
from typing import Any

import numpy as np
import onnxruntime as ort
import triton_python_backend_utils as pb_utils

_Array = np.ndarray[Any, np.dtype[Any]]

_DEFAULT_FILE = "model.onnx"


class TritonPythonModel:
    """One ONNX model, and the session that runs it."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the model's ONNX file.

        Args:
            args: Strings from Triton: the configuration as JSON, the model's folder,
                its version.

        Raises:
            TritonModelException: If the file is missing, is no valid model or has
                another input or output than the configuration.
        """
        config = json.loads(args["model_config"])
        path = os.path.join(
            args["model_repository"],
            args["model_version"],
            config.get("default_model_filename") or _DEFAULT_FILE,
        )
        if not os.path.isfile(path):
            raise pb_utils.TritonModelException(f"{path}: no such file")
        try:
            self._session = ort.InferenceSession(
                path, _session_options(config), providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            raise pb_utils.TritonModelException(f"{path}: {error}") from None
        self._inputs = {value.name: value.type for value in self._session.get_inputs()}
        self._outputs = {value.name for value in self._session.get_outputs()}
        _check_names(path, "input", config["input"], self._inputs)
        _check_names(path, "output", config["output"], self._outputs)

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer each request by itself, so that an error in one harms no other."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        try:
            names = [name for name in request.requested_output_names() if name in self._outputs]
            feeds = {tensor.name(): self._feed(tensor) for tensor in request.inputs()}
            values = self._session.run(names, feeds)
            tensors = [
                pb_utils.Tensor(name, _to_bytes(value))
                for name, value in zip(names, values, strict=True)
            ]
        except Exception as error:  # ORT's errors share no class; Triton needs all as a response
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error)))
        return pb_utils.InferenceResponse(output_tensors=tensors)

    def _feed(self, tensor: Any) -> _Array:
        value: _Array = tensor.as_numpy()
        if self._inputs.get(tensor.name()) != "tensor(string)":
            return value
        return _to_text(tensor.name(), value)


def _session_options(config: dict[str, Any]) -> ort.SessionOptions:
    def parameter(name: str, default: int) -> int:
        return int(config.get("parameters", {}).get(name, {}).get("string_value", default))

    options = ort.SessionOptions()
    options.intra_op_num_threads = parameter("intra_op_thread_count", 1)
    options.inter_op_num_threads = parameter("inter_op_thread_count", 1)
    # Threads that wait must sleep: a dozen models share the machine's cores.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    options.log_severity_level = 3  # errors
    return options


def _check_names(
    path: str, kind: str, configured: list[dict[str, Any]], existing: Iterable[str]
) -> None:
    missing = sorted({entry["name"] for entry in configured} - set(existing))
    if missing:
        raise pb_utils.TritonModelException(
            f"{path}: has no {kind} {', '.join(missing)}, only {', '.join(sorted(existing))}"
        )


def _to_text(name: str, value: _Array) -> _Array:
    """Turn an array of ``bytes``, as Triton has BYTES, into one of ``str``, as ORT has it."""
    text = np.empty(value.shape, dtype=np.object_)
    try:
        text.ravel()[:] = [item.decode("utf-8") for item in value.ravel()]
    except UnicodeDecodeError as error:
        raise ValueError(f"input {name}: holds bytes that are not UTF-8: {error}") from None
    return text


def _to_bytes(value: _Array) -> _Array:
    """Turn an array of ``str`` into one of ``bytes``; leave every other as it is."""
    if value.dtype != np.object_:
        return value
    encoded = np.empty(value.shape, dtype=np.object_)
    encoded.ravel()[:] = [item.encode("utf-8") for item in value.ravel()]
    return encoded
