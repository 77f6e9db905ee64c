"""One inference of nothing, before a release answers anybody: it must come back as declared."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import numpy.typing as npt

from gateway.triton.client import TritonClient
from gateway.triton.declared import fits
from gateway.triton.tensors import MalformedTensor, arrays_to_request, response_to_arrays
from triton_models.release import Manifest, Tensor
from triton_models.signatures import ANY, NUMPY_TYPES

_TIMES = 3

_EMPTY: dict[str, Any] = {
    "BOOL": False,
    "UINT8": 0,
    "INT32": 1,
    "INT64": 1,
    "FP32": 0.0,
    "BYTES": b"",
}


async def try_out(
    client: TritonClient, model: str, manifest: Manifest, timeout_s: float
) -> list[str]:
    """Ask a loaded model for one row, which also warms it; return what is wrong with the answer.

    Raises:
        grpc.RpcError: If Triton cannot answer.
    """
    request = arrays_to_request(model, {one.name: _nothing(one) for one in manifest.inputs})
    response = await client.infer(request, timeout_s=timeout_s, headers={})
    try:
        answer = response_to_arrays(response, rows=1)
    except MalformedTensor as error:
        return [f"its answer to a trial: {error}"]
    return [fault for one in manifest.outputs if (fault := _fault(one, answer.get(one.name)))]


async def quickest_s(
    client: TritonClient, model: str, manifest: Manifest, timeout_s: float
) -> float:
    """Return what the quickest of a few trials takes, in seconds.

    The first ones may have to wait behind what clients ask.

    Raises:
        grpc.RpcError: If Triton cannot answer.
    """
    times_s = []
    for _ in range(_TIMES):
        start = time.perf_counter()
        await try_out(client, model, manifest, timeout_s)
        times_s.append(time.perf_counter() - start)
    return min(times_s)


def _nothing(tensor: Tensor) -> npt.NDArray[Any]:
    shape = (1, *(1 if size == ANY else size for size in tensor.dims))
    return np.full(shape, _EMPTY[tensor.data_type], NUMPY_TYPES[tensor.data_type])


def _fault(tensor: Tensor, array: npt.NDArray[Any] | None) -> str:
    says = f"output '{tensor.name}': the release says {tensor.data_type} {list(tensor.dims)}"
    if array is None:
        return f"{says}, a trial gave none"
    if not fits(tensor, array):
        return f"{says}, a trial gave {array.dtype.name} {list(array.shape[1:])}"
    return ""
