from __future__ import annotations

import pytest
from fake_triton import FakeTriton
from manifests import manifest
from tritonclient.grpc import service_pb2

from gateway.triton.trial import try_out

RISK = manifest("score-risk")


async def faults(triton: FakeTriton) -> list[str]:
    return await try_out(triton, RISK.ensemble, RISK, 5)  # type: ignore[arg-type]


async def test_an_answer_as_declared_has_no_fault_and_one_row_was_asked() -> None:
    triton = FakeTriton(RISK)
    assert await faults(triton) == []
    ((request, timeout_s, _),) = triton.asked
    assert timeout_s == 5
    assert {one.name: (one.datatype, list(one.shape)) for one in request.inputs} == {
        "numbers": ("FP32", [1, 1]),
        "categories": ("BYTES", [1, 1]),
    }


@pytest.mark.parametrize(
    ("datatype", "shape", "says"),
    [("FP32", [1, 2], "float32 [2]"), ("FP32", [1], "float32 []"), ("INT32", [1, 1], "int32 [1]")],
)
async def test_another_shape_or_type_is_named(datatype: str, shape: list[int], says: str) -> None:
    triton = FakeTriton(RISK)
    as_served = triton.answer

    def otherwise(request: service_pb2.ModelInferRequest) -> service_pb2.ModelInferResponse:
        response = as_served(request)
        place = [one.name for one in response.outputs].index("score")
        output = response.outputs[place]
        output.datatype, output.shape[:] = datatype, shape
        response.raw_output_contents[place] = bytes(4 * (2 if shape == [1, 2] else 1))
        return response

    triton.answer = otherwise
    assert await faults(triton) == [
        f"output 'score': the release says FP32 [1], a trial gave {says}"
    ]


async def test_an_output_that_does_not_come_is_named() -> None:
    triton = FakeTriton(RISK)
    metadata, _ = triton.repository[RISK.ensemble]
    del metadata.outputs[0]
    assert await faults(triton) == [
        "output 'default_probability': the release says FP32 [1], a trial gave none"
    ]


async def test_an_answer_that_is_torn_is_a_fault() -> None:
    triton = FakeTriton(RISK)
    as_served = triton.answer

    def torn(request: service_pb2.ModelInferRequest) -> service_pb2.ModelInferResponse:
        response = as_served(request)
        response.raw_output_contents[0] = b"x"
        return response

    triton.answer = torn
    (fault,) = await faults(triton)
    assert fault.startswith("its answer to a trial: tensor 'default_probability': has 1 bytes")
