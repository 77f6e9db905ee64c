"""The files of a release as a build stages them, of nothing that could be served."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from triton_models.hashing import file_hashes
from triton_models.release import DataSource, Manifest, Metric, Parity, Step, Tensor

LINE = "score-risk"


def stage(
    folder: Path, release: str = "r1", content: bytes = b"weights", **changes: Any
) -> tuple[Manifest, Path]:
    """Write the models of a release; return its manifest and where they are."""
    models = folder / f"staged-{uuid.uuid4().hex}"
    name = f"{LINE}__{release}"
    files = {
        f"{name}/config.pbtxt": b"platform",
        f"{name}/1/ensemble.json": b"{}",
        f"{name}__encode/config.pbtxt": b"backend",
        f"{name}__encode/1/model.onnx": content,
    }
    for path, data in files.items():
        (models / path).parent.mkdir(parents=True, exist_ok=True)
        (models / path).write_bytes(data)
    fields: dict[str, Any] = {
        "line": LINE,
        "release": release,
        "create_time": datetime(2026, 11, 23, tzinfo=UTC),
        "seed": 1,
        "data": DataSource(name="german-credit", sha256="0" * 64, rows=1000),
        "metrics": {"test": {"auc": Metric(value=0.8, low=0.7, high=0.9)}},
        "parity": {
            "score": Parity(compared="torch-onnx", rows=9, tolerance=1e-4, max_difference=0)
        },
        "steps": (Step(name="encode", role="pre", model=f"{name}__encode"),),
        "inputs": (Tensor(name="numbers", data_type="FP32", dims=(7,)),),
        "outputs": (Tensor(name="score", data_type="FP32", dims=(1,)),),
        "files": file_hashes(models),
    }
    return Manifest.model_validate(fields | changes), models
