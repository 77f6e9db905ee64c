"""Arrays as Triton's protocol carries them (OIP v2 over gRPC, raw contents)."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
from tritonclient.grpc import service_pb2

from triton_models.signatures import NUMPY_TYPES

Arrays = Mapping[str, npt.NDArray[Any]]

_DATA_TYPES = {
    "b1": "BOOL",
    "u1": "UINT8",
    "i4": "INT32",
    "i8": "INT64",
    "f4": "FP32",
    "O8": "BYTES",
}
_ON_THE_WIRE: dict[str, np.dtype[Any]] = {
    data_type: np.dtype(kind).newbyteorder("<")
    for data_type, kind in NUMPY_TYPES.items()
    if data_type != "BYTES"
}
_LENGTH = struct.Struct("<I")


class MalformedTensor(Exception):
    """What Triton sent does not fit what it says that it sent."""

    def __init__(self, name: str, fault: str) -> None:
        super().__init__(f"tensor '{name}': {fault}")


def arrays_to_request(
    model_name: str,
    arrays: Arrays,
    outputs: Sequence[str] | None = None,
    request_id: str = "",
) -> service_pb2.ModelInferRequest:
    """Return the request of one inference.

    Args:
        model_name: The model in Triton.
        arrays: Inputs, each ``(B, …)`` bool, uint8, int32, int64, float32, or object of bytes.
        outputs: The names of the outputs wanted; all if ``None``.
        request_id: Stands in Triton's spans and its log.
    """
    request = service_pb2.ModelInferRequest(model_name=model_name, id=request_id)
    for name, array in arrays.items():
        request.inputs.add(name=name, datatype=_data_type(array), shape=array.shape)
        request.raw_input_contents.append(_to_raw(array))
    for name in outputs or ():
        request.outputs.add(name=name)
    return request


def response_to_arrays(
    response: service_pb2.ModelInferResponse, rows: int
) -> dict[str, npt.NDArray[Any]]:
    """Return the outputs of an inference by name; strings as object arrays of bytes.

    Args:
        response: What Triton sent.
        rows: Rows of the request, ``B``; every output must have as many.

    Raises:
        MalformedTensor: If the contents do not have the shape and type that they should.
    """
    if len(response.outputs) != len(response.raw_output_contents):
        raise MalformedTensor("*", "not every output has contents")
    arrays: dict[str, npt.NDArray[Any]] = {}
    for output, raw in zip(response.outputs, response.raw_output_contents, strict=True):
        shape = tuple(output.shape)
        if not shape or shape[0] != rows or min(shape) < 0:
            raise MalformedTensor(output.name, f"has the shape {shape} for {rows} rows")
        arrays[output.name] = _from_raw(output.name, output.datatype, shape, raw)
    return arrays


def _data_type(array: npt.NDArray[Any]) -> str:
    return _DATA_TYPES[f"{array.dtype.kind}{array.dtype.itemsize}"]


def _to_raw(array: npt.NDArray[Any]) -> bytes:
    if array.dtype.kind != "O":
        return array.tobytes()
    # Row by row, each string after its length. Much faster than tritonclient's way through numpy.
    pack = _LENGTH.pack
    return b"".join([part for text in array.ravel().tolist() for part in (pack(len(text)), text)])


def _from_raw(name: str, data_type: str, shape: tuple[int, ...], raw: bytes) -> npt.NDArray[Any]:
    size = prod(shape)
    if data_type == "BYTES":
        array = np.empty(size, np.object_)
        array[:] = _strings(name, raw, size)
        return array.reshape(shape)
    dtype = _ON_THE_WIRE.get(data_type)
    if dtype is None:
        raise MalformedTensor(name, f"has the type {data_type}, which no line uses")
    if len(raw) != size * dtype.itemsize:
        raise MalformedTensor(name, f"has {len(raw)} bytes, not {size * dtype.itemsize}")
    return np.frombuffer(raw, dtype).reshape(shape)


def _strings(name: str, raw: bytes, count: int) -> list[bytes]:
    strings: list[bytes] = []
    place, end = 0, len(raw)
    while place + _LENGTH.size <= end and len(strings) < count:
        (length,) = _LENGTH.unpack_from(raw, place)
        place += _LENGTH.size
        strings.append(raw[place : place + length])
        place += length
    if place != end or len(strings) != count:
        raise MalformedTensor(name, f"does not hold {count} strings")
    return strings
