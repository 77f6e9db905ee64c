"""Runs ONNX models on the CPU as a python-based backend of Triton.

Triton's Python backend loads this file in a process of its own for every instance of a model
whose configuration says ``backend: "onnxruntime"``. NVIDIA's containers carry a native backend
of that name, so the same repository runs unchanged on both.

Parameters of a model's configuration that are heeded, named as the native backend names them:
``intra_op_thread_count`` and ``inter_op_thread_count`` (both 1 unless given).
"""

import json
import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import onnxruntime as ort
import triton_python_backend_utils as pb_utils

from triton_models.backends.onnxruntime.sessions import Sessions
from triton_models.backends.onnxruntime.stacking import Asked, run_all
from triton_models.row_blocks import Array

_DEFAULT_FILE = "model.onnx"


class TritonPythonModel:
    """One ONNX model, and the sessions that run it."""

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
            self._sessions = Sessions(
                path, lambda: _session_options(config), pb_utils.Logger.log_warn
            )
        except Exception as error:
            raise pb_utils.TritonModelException(f"{path}: {error}") from None
        self._name = args["model_name"]
        self._batches = int(config.get("max_batch_size", 0)) > 0
        _check_names(path, "input", config["input"], self._sessions.inputs)
        _check_names(path, "output", config["output"], self._sessions.outputs)

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer requests, several in one run where they can be stacked."""
        responses: dict[int, Any] = {}
        asked: dict[int, Asked] = {}
        for place, request in enumerate(requests):
            try:
                asked[place] = self._read(request)
            except Exception as error:
                responses[place] = self._failed(error)
        answers = self._run(list(asked.values()))
        for (place, one), answer in zip(asked.items(), answers, strict=True):
            responses[place] = self._response(one.names, answer)
        return [responses[place] for place in range(len(requests))]

    def _run(self, asked: Sequence[Asked]) -> list[list[Array] | Exception]:
        if self._batches:
            return run_all(self._sessions.run, asked)
        return [answer for one in asked for answer in run_all(self._sessions.run, [one])]

    def _read(self, request: Any) -> Asked:
        wanted = set(request.requested_output_names())
        names = tuple(name for name in self._sessions.outputs if name in wanted)
        return Asked(names, {tensor.name(): self._feed(tensor) for tensor in request.inputs()})

    def _feed(self, tensor: Any) -> Array:
        """Return a tensor as ONNX Runtime takes it; numbers are Triton's own memory, not a copy."""
        value: Array = tensor.as_numpy()
        if self._sessions.inputs.get(tensor.name()) != "tensor(string)":
            return value
        return _to_text(tensor.name(), value)

    def _response(self, names: Sequence[str], answer: list[Array] | Exception) -> Any:
        if isinstance(answer, Exception):
            return self._failed(answer)
        try:
            tensors = [
                pb_utils.Tensor(name, _to_bytes(value))
                for name, value in zip(names, answer, strict=True)
            ]
        except Exception as error:
            return self._failed(error)
        return pb_utils.InferenceResponse(output_tensors=tensors)

    def _failed(self, error: Exception) -> Any:
        # Of an ensemble Triton names only the whole; who asked wants to know which step it was.
        text = f"model '{self._name}': {error}"
        return pb_utils.InferenceResponse(error=pb_utils.TritonError(text))


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


def _to_text(name: str, value: Array) -> Array:
    """Turn an array of ``bytes``, as Triton has BYTES, into one of ``str``, as ORT has it."""
    text = np.empty(value.shape, dtype=np.object_)
    try:
        text.ravel()[:] = [item.decode("utf-8") for item in value.ravel()]
    except UnicodeDecodeError as error:
        raise ValueError(f"input {name}: holds bytes that are not UTF-8: {error}") from None
    return text


def _to_bytes(value: Array) -> Array:
    """Turn an array of ``str`` into one of ``bytes``; leave every other as it is."""
    if value.dtype != np.object_:
        return value
    encoded = np.empty(value.shape, dtype=np.object_)
    encoded.ravel()[:] = [item.encode("utf-8") for item in value.ravel()]
    return encoded
