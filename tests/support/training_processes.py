"""Small trainings in processes of their own, which can be killed and can train together.

Each is forked from one process that has imported everything: to start it anew would take seconds.
"""

from __future__ import annotations

import multiprocessing
import os
import socket
import sys
import traceback
from pathlib import Path
from typing import Any

import small_training
import torch

PATIENCE_S = 120
_FORKED = multiprocessing.get_context("forkserver")
_FORKED.set_forkserver_preload(
    ["small_training", "torch.distributed.fsdp", "torch.distributed.checkpoint.state_dict"]
)


def train(folder: Path, count: int = 1, **options: Any) -> list[int]:
    """Train as ``count`` processes that torchrun would start.

    Args:
        folder: Of the run.
        count: Processes on this machine.
        options: As of ``small_training.main``.

    Returns:
        How each ended: 0, 1 after an error that is in ``error-RANK.txt``, or minus the signal.
    """
    folder.mkdir(exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = []
    for rank in range(count):
        environment = {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(count),
            "LOCAL_WORLD_SIZE": str(count),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
        }
        process = _FORKED.Process(
            target=_one, args=(environment if count > 1 else {}, folder, rank, options)
        )
        process.start()
        processes.append(process)
    try:
        for process in processes:
            process.join(PATIENCE_S)
        return [code if (code := process.exitcode) is not None else 1 for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.join()


def trained(folder: Path, count: int = 1, **options: Any) -> dict[str, Any]:
    """Return the ``weights``, ``history`` and ``best_epoch`` of a training that must not fail."""
    codes = train(folder, count, **options)
    errors = "\n".join(file.read_text() for file in folder.glob("error-*.txt"))
    assert codes == [0] * count, errors
    return torch.load(folder / "result.pt", weights_only=True)


def _one(environment: dict[str, str], folder: Path, rank: int, options: dict[str, Any]) -> None:
    os.environ.update(environment)
    try:
        small_training.main(folder, dict(options))
    except BaseException:
        (folder / f"error-{rank}.txt").write_text(traceback.format_exc())
        sys.exit(1)
