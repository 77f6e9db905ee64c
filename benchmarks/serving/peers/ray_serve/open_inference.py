"""Messages of the Open Inference Protocol and arrays, with what ``tritonclient`` has for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from fused_model import raw, text
from tritonclient.grpc import service_pb2
from tritonclient.utils import (
    deserialize_bytes_tensor,
    np_to_triton_dtype,
    serialize_byte_tensor,
    triton_to_np_dtype,
)


def to_inputs(request: Any) -> dict[str, Any]:
    """Return the arrays of a request."""
    inputs = {}
    for one, content in zip(request.inputs, request.raw_input_contents, strict=True):
        if one.datatype == "BYTES":
            array = text(deserialize_bytes_tensor(content))
        else:
            array = np.frombuffer(content, triton_to_np_dtype(one.datatype))
        inputs[one.name] = array.reshape(one.shape)
    return inputs


def to_response(outputs: Mapping[str, Any]) -> Any:
    """Return the message of some arrays."""
    response = service_pb2.ModelInferResponse(model_name="model")
    for name, array in outputs.items():
        array = raw(array)
        if array.dtype == np.object_:
            datatype, content = "BYTES", serialize_byte_tensor(array).item()
        else:
            datatype, content = np_to_triton_dtype(array.dtype), array.tobytes()
        response.outputs.add(name=name, datatype=datatype, shape=array.shape)
        response.raw_output_contents.append(content)
    return response
