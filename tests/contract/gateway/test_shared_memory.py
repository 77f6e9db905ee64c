"""Large tensors by shared memory, to a real Triton that is restarted in between."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
import spox
import spox.opset.ai.onnx.v18 as op

from gateway.triton.client import TritonClient
from gateway.triton.shared_memory import FOLDER
from gateway.triton.tensors import arrays_to_request, response_to_arrays
from triton_models.server import EmbeddedTriton

pytestmark = pytest.mark.contract

CONFIG = """
backend: "onnxruntime"
max_batch_size: 64
instance_group [{ kind: KIND_CPU count: 1 }]
input [{ name: "x" data_type: TYPE_FP32 dims: [-1] }]
output [{ name: "y" data_type: TYPE_FP32 dims: [1] }]
"""


@pytest.fixture
async def triton(tmp_path: Path, embedded_triton_available: None) -> AsyncIterator[EmbeddedTriton]:
    """A Triton that adds up each row of ``x``."""
    x = spox.argument(spox.Tensor(np.float32, ("B", "N")))
    total = op.reduce_sum(x, op.const(np.array([1], np.int64)), keepdims=1)
    (tmp_path / "total" / "1").mkdir(parents=True)
    (tmp_path / "total" / "config.pbtxt").write_text(CONFIG)
    model = spox.build({"x": x}, {"y": total})
    (tmp_path / "total" / "1" / "model.onnx").write_bytes(model.SerializeToString())
    server = EmbeddedTriton(tmp_path)
    await asyncio.to_thread(server.start)
    try:
        await asyncio.to_thread(server.wait_ready)
        yield server
    finally:
        await asyncio.to_thread(server.stop)


async def total(client: TritonClient, value: float) -> list[list[float]]:
    x = np.full((2, 5000), value, np.float32)
    answer = await client.infer(arrays_to_request("total", {"x": x}), timeout_s=20, headers={})
    return response_to_arrays(answer, 2)["y"].tolist()


def left() -> list[Path]:
    return list(FOLDER.glob(f"trident_{os.getpid()}_tensors_*"))


async def test_answers_stay_right_at_once_and_after_a_restart(triton: EmbeddedTriton) -> None:
    client = TritonClient(triton.target, shared_memory_bytes=1)
    try:
        await client.load("total", 20)
        answers = await asyncio.gather(*(total(client, value) for value in range(20)))
        assert answers == [[[5000.0 * value]] * 2 for value in range(20)]
        assert client._shared_memory is not None
        assert any(client._shared_memory._free), "nothing went by shared memory"
        assert left() == []

        pid = triton.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        async with asyncio.timeout(30):
            while triton.pid in (None, pid) or not await client.is_live():
                await asyncio.sleep(0.05)
        await client.load("total", 20)
        assert await total(client, 7) == [[35000.0]] * 2
        assert client._shared_memory._usable
        assert left() == []
    finally:
        await client.close()
