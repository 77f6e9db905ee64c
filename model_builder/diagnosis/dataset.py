"""Rows that somebody has looked at, in memory, split three ways."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, Self, TypeVar

import numpy as np
import numpy.typing as npt

from model_builder.diagnosis.duplicates import SPLITS, in_no_later_split, leaks
from model_builder.task import ResolvedData
from triton_models.release import DataSource


class Rows(Protocol):
    """One split."""

    @property
    def target(self) -> npt.NDArray[np.int64]:
        """``(rows,)``, the class of each."""

    @property
    def groups(self) -> npt.NDArray[np.str_] | None:
        """``(rows,)``, the subgroup of each."""

    def __len__(self) -> int:
        """Return the rows."""

    def chosen(self, rows: npt.NDArray[Any]) -> Self:
        """Return some of the rows, by a mask or by their places."""

    def keys(self) -> list[bytes]:
        """Return a key of each row: the same for those that say the same."""


Part = TypeVar("Part", bound=Rows)


@dataclass(frozen=True, kw_only=True)
class SplitData(Generic[Part]):
    """A data set."""

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
        """Return the hash of which row is in which split."""
        digest = hashlib.sha256()
        for name, part in self.parts.items():
            digest.update(name.encode())
            for key in sorted(part.keys()):
                digest.update(key)
        return digest.hexdigest()

    def without_leaks(self, drop: bool) -> Self:
        """Report rows that stand in two splits; leave them out of the earlier one if asked to."""
        keys = {name: part.keys() for name, part in self.parts.items()}
        found = [str(leak) for leak in leaks(keys)]
        if not found:
            return self
        if not drop:
            found = [f"{text}; --set drop_duplicates=true leaves them out" for text in found]
            return replace(self, findings=(*self.findings, *found))
        kept = in_no_later_split(keys)
        found = [f"{text}: they were left out of the former" for text in found]
        return replace(
            self,
            train=self.train.chosen(kept["train"]),
            validation=self.validation.chosen(kept["validation"]),
            findings=(*self.findings, *found),
        )

    def source(self, data: ResolvedData) -> DataSource:
        """Return what a manifest says of it."""
        counts = self.counts()
        return DataSource(
            name=data.name,
            sha256=data.sha256,
            rows=sum(counts.values()),
            generated=data.generated,
            licence=data.licence,
            source=data.source,
            findings=self.findings,
            split=counts,
            split_sha256=self.split_sha256(),
            protocol=self.protocol,
        )
