"""Images whose class a bright square in a known place decides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

SQUARE = (slice(6, 12), slice(16, 22))
"""Rows and columns of the square."""
SIDE = 28


def planted(rows: int, seed: int = 0, channels: int = 1) -> tuple[Any, Any]:
    """Return ``(rows, 28, 28[, 3])`` uint8 and ``(rows, 1)``: 1 where there is a square."""
    draws = np.random.default_rng(seed)
    shape = (rows, SIDE, SIDE) if channels == 1 else (rows, SIDE, SIDE, channels)
    pixels = draws.integers(60, 120, shape).astype(np.uint8)
    labels = (np.arange(rows) % 2)[:, None]
    for row in np.flatnonzero(labels):
        pixels[row][SQUARE] = 230
    return pixels, labels


def write_archive(path: Path, rows: tuple[int, int, int] = (120, 40, 40), **more: Any) -> Path:
    """Write an archive as MedMNIST has them; ``more`` are arrays beside these or in their place."""
    arrays: dict[str, Any] = {}
    for seed, (split, count) in enumerate(zip(("train", "val", "test"), rows, strict=True)):
        arrays[f"{split}_images"], arrays[f"{split}_labels"] = planted(count, seed)
    np.savez(path, **(arrays | more))
    return path
