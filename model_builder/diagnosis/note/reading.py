"""Reads a table with a column of notes, and splits it by class."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from model_builder.diagnosis.drawing import stratified
from model_builder.diagnosis.evidence import note_columns
from model_builder.diagnosis.note.config import NoteConfig
from model_builder.diagnosis.note.dataset import NoteData, Part
from model_builder.errors import DataFault, Fault
from model_builder.tabular.loading import read_raw
from model_builder.tabular.reading import RawTable
from model_builder.task import ResolvedData
from triton_models.note_limits import MAX_NOTE_LENGTH

LEAST_OF_CLASS = 5
"""Notes of a class: fewer cannot be learnt from, calibrated by and tested with."""
_PARTS = ("train", "validation", "test")


def read_notes(data: ResolvedData, config: NoteConfig) -> NoteData:
    """Read and split ``data``.

    The label is the column that ``--label`` names, else the last; the notes are the column that
    ``text`` names, else the one with most words. Other columns are not read, but for the
    subgroup. Splits are drawn by class; equal notes stay together.

    Raises:
        DataFault: If a column is missing, or a class has too few notes; names each.
    """
    raw, _ = read_raw(data)
    label = data.label or raw.frame.columns[-1]
    text = _text_column(raw, label, config)
    wanted = [label, text, *([config.subgroup] if config.subgroup else [])]
    if missing := [name for name in wanted if name not in raw.frame.columns]:
        columns = ", ".join(raw.frame.columns)
        raise DataFault(
            [Fault(raw.file, f"one of its columns: {columns}", f"'{name}'") for name in missing]
        )
    frame = raw.frame.select(wanted)
    findings = []
    whole = frame.drop_nulls([label, text]).filter(pl.col(text).cast(pl.String) != "")
    if left_out := frame.height - whole.height:
        findings.append(f"{left_out} rows without a note or without a label were left out")
    labels = _labels(whole[label], raw.file, label)
    target = np.array([labels.index(one) for one in whole[label]], np.int64)
    notes = tuple(_askable(note) for note in whole[text])
    if changed := sum(new != old for new, old in zip(notes, whole[text], strict=True)):
        findings.append(
            f"{changed} notes were cut at {MAX_NOTE_LENGTH} characters, or had a NUL taken out"
        )
    groups = whole[config.subgroup].fill_null("").to_numpy() if config.subgroup else None
    return _split(
        Part(notes, target, None if groups is None else groups.astype(str)),
        tuple(labels),
        (f"the notes are the column '{text}', the labels '{label}'", *findings),
        config,
    )


def _askable(note: str) -> str:
    """Return a note as it could be asked about: every test note is, when all is trained."""
    return note[:MAX_NOTE_LENGTH].replace("\0", " ")


def _text_column(raw: RawTable, label: str, config: NoteConfig) -> str:
    if config.text is not None:
        return config.text
    found = note_columns(raw.frame, label) if label in raw.frame.columns else [label]
    if not found:
        raise DataFault([Fault(raw.file, "a column of notes (--set text=COLUMN)", "none")])
    return found[0]


def _labels(column: pl.Series, file: str, label: str) -> list[str]:
    counts = {str(name): int(count) for name, count in column.value_counts().iter_rows()}
    if len(counts) < 2:
        found = f"{len(counts)} in column '{label}'"
        raise DataFault([Fault(file, "at least two labels", found)])
    faults = [
        Fault(file, f"at least {LEAST_OF_CLASS} notes of each label", f"{count} of '{name}'")
        for name, count in sorted(counts.items())
        if count < LEAST_OF_CLASS
    ]
    if faults:
        raise DataFault(faults)
    return sorted(counts)


def _split(
    whole: Part, labels: tuple[str, ...], findings: tuple[str, ...], config: NoteConfig
) -> NoteData:
    keys = whole.keys()
    test = stratified(whole.target, config.test_share, config.seed, keys)
    rest = np.flatnonzero(~test)
    share = config.validation_share / (1 - config.test_share)
    validation = np.zeros(len(whole), np.bool_)
    validation[rest] = stratified(
        whole.target[rest], share, config.seed + 1, [keys[row] for row in rest]
    )
    train, validated, tested = (
        whole.chosen(rows) for rows in (~test & ~validation, validation, test)
    )
    _check_classes(labels, train, validated, tested)
    return NoteData(
        labels=labels,
        train=train,
        validation=validated,
        test=tested,
        protocol=f"Splits drawn by class with seed {config.seed}; equal notes stayed together. "
        "The test rows were used for nothing else; the validation rows chose the epoch, the "
        "temperature and the thresholds.",
        findings=findings,
    )


def _check_classes(labels: tuple[str, ...], *parts: Part) -> None:
    """Refuse parts that lack a class: equal notes that stay together may take all of one."""
    faults = [
        Fault("notes", f"a row of '{labels[k]}' in the {name} split", "none: its notes are alike")
        for name, part in zip(_PARTS, parts, strict=True)
        for k in _missing(part.target, len(labels))
    ]
    if faults:
        raise DataFault(faults)


def _missing(target: npt.NDArray[np.int64], classes: int) -> npt.NDArray[np.int64]:
    return np.setdiff1d(np.arange(classes), target)
