"""Images in memory, with what they show, split three ways."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from model_builder.diagnosis.duplicates import SPLITS, in_no_later_split, keys_of, leaks
from triton_models.release import ImageSpec

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Part:
    """One split."""

    pixels: Pixels
    """``(rows, Y, X, C)`` uint8."""
    target: npt.NDArray[np.int64]
    """``(rows,)``."""
    groups: npt.NDArray[np.str_] | None = None
    """``(rows,)``, the subgroup of each."""

    def __len__(self) -> int:
        """Return the rows."""
        return len(self.target)

    def chosen(self, rows: npt.NDArray[Any]) -> Part:
        """Return some of the rows."""
        groups = None if self.groups is None else self.groups[rows]
        return Part(self.pixels[rows], self.target[rows], groups)


@dataclass(frozen=True)
class ImageData:
    """A data set."""

    spec: ImageSpec
    labels: tuple[str, ...]
    train: Part
    validation: Part
    test: Part
    protocol: str
    """How it was split, in a sentence."""
    findings: tuple[str, ...] = ()

    @property
    def parts(self) -> dict[str, Part]:
        """By split."""
        return dict(zip(SPLITS, (self.train, self.validation, self.test), strict=True))

    def counts(self) -> dict[str, int]:
        """Return rows by split."""
        return {name: len(part) for name, part in self.parts.items()}

    def split_sha256(self) -> str:
        """Return the hash of which image is in which split."""
        digest = hashlib.sha256()
        for name, part in self.parts.items():
            digest.update(name.encode())
            for key in sorted(keys_of(row.tobytes() for row in part.pixels)):
                digest.update(key)
        return digest.hexdigest()


def without_leaks(data: ImageData, drop: bool) -> ImageData:
    """Report images that stand in two splits; leave them out of the earlier one if asked to."""
    keys = {
        name: keys_of(row.tobytes() for row in part.pixels) for name, part in data.parts.items()
    }
    found = [str(leak) for leak in leaks(keys)]
    if found and not drop:
        found = [f"{text}; --set drop_duplicates=true leaves them out" for text in found]
    if found and drop:
        found = [f"{text}: they were left out of the former" for text in found]
        kept = in_no_later_split(keys)
        data = replace(
            data,
            train=data.train.chosen(kept["train"]),
            validation=data.validation.chosen(kept["validation"]),
        )
    return replace(data, findings=(*data.findings, *found))
