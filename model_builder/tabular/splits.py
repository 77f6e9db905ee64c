"""Which rows train, and which only judge."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model_builder.errors import ConfigInvalid
from model_builder.split_hash import assignment_sha256
from model_builder.tabular.drawing import How, Keys, Rows, drawer
from model_builder.tabular.table import Classes

HeldOut = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Splits:
    """Disjoint rows; together the whole table."""

    development: Rows
    """Everything but the test."""
    test: Rows
    held_out: HeldOut
    """``(development rows, M)``: true where member M must not learn from the row. It judges
    M's training instead, so that for every row that is held out at all there is an answer
    of a network that has never seen it."""
    cross_validated: bool
    """Whether every development row is held out from some members; else the validation
    rows are held out from all, and no others are."""

    @property
    def judged_split(self) -> str:
        """The name of the split that the held-out answers measure."""
        return "cv" if self.cross_validated else "validation"

    @property
    def judging(self) -> npt.NDArray[np.bool_]:
        """``(development rows,)``: true for the rows that are held out from some member."""
        return self.held_out.any(axis=1)

    @property
    def training(self) -> Rows:
        """The rows that some member learns from."""
        return self.development[~self.held_out.all(axis=1)]

    @property
    def counts(self) -> dict[str, int]:
        """Rows by split, for the manifest; they add up to the table."""
        counts = {"train": len(self.training), "test": len(self.test)}
        if not self.cross_validated:
            counts["validation"] = int(self.judging.sum())
        return counts

    @property
    def sha256(self) -> str:
        """Of which row lies where: equal for the same data and seed, and for nothing else."""
        return assignment_sha256(
            [
                ("development", [self.development]),
                ("test", [self.test]),
                ("held out", [self.held_out]),
            ]
        )


def make_splits(
    target: Classes,
    *,
    test_share: float,
    folds: int,
    repeats: int,
    cross_validate_below: int,
    members: int,
    seed: int,
    how: How = "stratified",
    keys: Keys | None = None,
) -> Splits:
    """Split by class, by groups or by time.

    Args:
        target: ``(rows,)`` int64, the class.
        test_share: Of all rows.
        folds: Parts of a cross-validation.
        repeats: Cross-validations, each with other parts; M is ``folds * repeats``.
        cross_validate_below: Tables with fewer rows are cross-validated: a single validation
            split of them would be too small to judge or to calibrate by. A split by time never
            is: it has one validation split, the rows just before the test.
        members: M for a larger table, which gets one validation split of size ``test_share``.
        seed: Of the draw.
        how: ``stratified``; ``grouped``, where no group lies in two parts; or ``time``, where
            what judges is newer than what is learnt from.
        keys: ``(rows,)``, the number of each row's group, or its time.

    Raises:
        ConfigInvalid: If a part would hold no row of some class, or there are too few groups.
    """
    draw = drawer(how, target, keys)
    if how == "stratified":
        _check_rarest(target, "test_share", test_share)
    development, test = draw.part(np.arange(len(target)), test_share, seed)
    cross_validated = how != "time" and len(target) < cross_validate_below
    if cross_validated:
        if how == "stratified":
            _check_folds(target[development], folds)
        held_out = np.zeros((len(development), folds * repeats), np.bool_)
        for repeat in range(repeats):
            for fold, judged in enumerate(draw.folds(development, folds, seed + repeat)):
                held_out[np.searchsorted(development, judged), repeat * folds + fold] = True
    else:
        held_out = np.zeros((len(development), members), np.bool_)
        _, judged = draw.part(development, test_share / (1 - test_share), seed)
        held_out[np.searchsorted(development, judged)] = True
    splits = Splits(development, test, held_out, cross_validated)
    _check_classes(splits, target)
    return splits


def _check_rarest(target: Classes, key: str, share: float) -> None:
    rarest = int(np.bincount(target).min())
    if rarest * share < 1:
        raise ConfigInvalid(
            [f"{key}: must give the test a row of each class, at least 1/{rarest} where the "
             f"rarest has {rarest} rows, got {share:g}"]
        )  # fmt: skip


def _check_folds(target: Classes, folds: int) -> None:
    rarest = int(np.bincount(target).min())
    if folds > rarest:
        raise ConfigInvalid(
            [f"folds: at most {rarest}, the training rows of the rarest class, got {folds}"]
        )


def _check_classes(splits: Splits, target: Classes) -> None:
    """Refuse parts that lack a class: groups and times know nothing of classes."""
    parts = {
        "test": splits.test,
        splits.judged_split: splits.development[splits.judging],
        **{
            f"train rows of member {m + 1}": splits.development[~held_out]
            for m, held_out in enumerate(splits.held_out.T)
        },
    }
    classes = np.unique(target)
    faults = [
        f"split: the {name} would hold no row of class {label} (0 is the first)"
        for name, rows in parts.items()
        for label in np.setdiff1d(classes, target[rows])
    ]
    if faults:
        raise ConfigInvalid(faults)


def protocol(
    splits: Splits,
    folds: int,
    repeats: int,
    seed: int,
    how: How = "stratified",
    column: str | None = None,
) -> str:
    """Say how the splits were made and what they measure."""
    drawn = {
        "stratified": f"Splits drawn by class with seed {seed}",
        "grouped": f"Splits of whole groups of column '{column}', drawn with seed {seed}",
        "time": f"Split by the time in column '{column}': the newest rows test, those before "
        "them validate",
    }[how]
    drawn = f"{drawn}; the test rows were used for nothing else."
    if not splits.cross_validated:
        return (
            f"{drawn} The validation rows chose the epoch and calibrated; every member trained "
            "on the train rows."
        )
    return (
        f"{drawn} cv: {folds}-fold cross-validation of the train rows, {repeats} times; each "
        "row is answered by the members that did not train on it, and calibrated by the other "
        "folds. The number of epochs, and how strongly a network is held back, were chosen by the "
        "same answers; medians and ranges are of all train rows. The release is the mean of all "
        "members."
    )
