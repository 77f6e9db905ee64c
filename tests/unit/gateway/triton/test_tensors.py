from __future__ import annotations

import struct

import numpy as np
import pytest
from tritonclient.grpc import InferResult, service_pb2
from tritonclient.utils import serialize_byte_tensor

from gateway.triton.tensors import MalformedTensor, arrays_to_request, response_to_arrays

ARRAYS = {
    "allowed": np.array([[True], [False]]),
    "count": np.array([[7], [-1]], np.int32),
    "places": np.array([[[0, 1]], [[2, -1]]], np.int64),
    "scores": np.array([[0.5, np.nan], [1.0, 2.0]], np.float32),
    "ids": np.array([[b"a", b""], ["ü\u20ac".encode(), b"\0x" * 300]], np.object_),
}


def echoed(request: service_pb2.ModelInferRequest) -> service_pb2.ModelInferResponse:
    """What a Triton that gives back its inputs would answer."""
    response = service_pb2.ModelInferResponse(model_name=request.model_name)
    for tensor, raw in zip(request.inputs, request.raw_input_contents, strict=True):
        response.outputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
        response.raw_output_contents.append(raw)
    return response


def response(
    raw: bytes, shape: tuple[int, ...] = (2, 1), data_type: str = "FP32"
) -> service_pb2.ModelInferResponse:
    made = service_pb2.ModelInferResponse(raw_output_contents=[raw])
    made.outputs.add(name="x", datatype=data_type, shape=shape)
    return made


def test_what_goes_out_comes_back() -> None:
    back = response_to_arrays(echoed(arrays_to_request("m", ARRAYS)), 2)

    assert list(back) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert back[name].dtype == array.dtype
        np.testing.assert_array_equal(back[name], array)


def test_a_request_names_model_outputs_types_and_shapes() -> None:
    request = arrays_to_request("line__r1", ARRAYS, ["scores", "ids"], "id-7")

    assert (request.model_name, request.id) == ("line__r1", "id-7")
    assert [output.name for output in request.outputs] == ["scores", "ids"]
    assert [(t.name, t.datatype, list(t.shape)) for t in request.inputs] == [
        ("allowed", "BOOL", [2, 1]),
        ("count", "INT32", [2, 1]),
        ("places", "INT64", [2, 1, 2]),
        ("scores", "FP32", [2, 2]),
        ("ids", "BYTES", [2, 2]),
    ]


def test_all_outputs_are_wanted_unless_some_are_named() -> None:
    assert not arrays_to_request("m", ARRAYS).outputs


def test_strings_are_written_as_tritonclient_writes_them() -> None:
    request = arrays_to_request("m", {"ids": ARRAYS["ids"]})

    assert request.raw_input_contents[0] == serialize_byte_tensor(ARRAYS["ids"]).item()


def test_strings_are_read_as_tritonclient_reads_them() -> None:
    answer = echoed(arrays_to_request("m", {"ids": ARRAYS["ids"]}))

    theirs = InferResult(answer).as_numpy("ids")
    np.testing.assert_array_equal(response_to_arrays(answer, 2)["ids"], theirs)


@pytest.mark.parametrize("order", ["F", "strided"])
def test_the_layout_in_memory_does_not_matter(order: str) -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    laid_out = np.asfortranarray(array) if order == "F" else np.repeat(array, 2, axis=1)[:, ::2]

    assert arrays_to_request("m", {"x": laid_out}).raw_input_contents[0] == array.tobytes()


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (response(b"\0" * 7), "has 7 bytes, not 8"),
        (response(b"\0" * 12), "has 12 bytes, not 8"),
        (response(b"\0" * 12, (3, 1)), r"has the shape \(3, 1\) for 2 rows"),
        (response(b"", ()), r"has the shape \(\) for 2 rows"),
        (response(b"", (2, -1)), r"has the shape \(2, -1\) for 2 rows"),
        (response(b"\0" * 16, data_type="FP64"), "type FP64, which no line uses"),
        (response(struct.pack("<I", 0), data_type="BYTES"), "does not hold 2 strings"),
        (response(struct.pack("<III", 0, 0, 0), data_type="BYTES"), "does not hold 2 strings"),
        (response(struct.pack("<II", 0, 9) + b"short", data_type="BYTES"), "not hold 2 strings"),
        (response(struct.pack("<II", 0, 0) + b"\1", data_type="BYTES"), "not hold 2 strings"),
    ],
    ids=["torn", "too long", "other rows", "no axis", "negative", "unknown type", "string missing",
         "string too many", "torn string", "rest"],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(answer: service_pb2.ModelInferResponse, fault: str) -> None:
    with pytest.raises(MalformedTensor, match=f"tensor 'x': .*{fault}"):
        response_to_arrays(answer, 2)


def test_an_output_without_contents_is_refused() -> None:
    answer = response(b"\0" * 8)
    answer.outputs.add(name="y", datatype="FP32", shape=(2, 1))

    with pytest.raises(MalformedTensor, match="not every output has contents"):
        response_to_arrays(answer, 2)
