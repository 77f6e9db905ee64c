from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from model_builder.diagnosis.note.config import NoteConfig
from model_builder.diagnosis.note.dataset import NoteData
from model_builder.diagnosis.note.reading import read_notes
from model_builder.errors import DataFault
from model_builder.task import ResolvedData
from triton_models.note_limits import MAX_NOTE_LENGTH

ROWS = 60


def table(**changes: list[str | None]) -> dict[str, list[str | None]]:
    columns: dict[str, list[str | None]] = {
        "id": [f"p{n}" for n in range(ROWS)],
        "site": [("north", "south")[n % 2] for n in range(ROWS)],
        "text": [f"this is what patient number {n} says" for n in range(ROWS)],
        "label": [("cold", "flu", "none")[n % 3] for n in range(ROWS)],
    }
    return columns | changes


def read(
    folder: Path,
    columns: dict[str, list[str | None]] | None = None,
    label: str | None = None,
    suffix: str = "csv",
    **settings: object,
) -> NoteData:
    path = folder / f"notes.{suffix}"
    frame = pl.DataFrame(columns or table())
    frame.write_parquet(path) if suffix == "parquet" else frame.write_csv(path)
    data = ResolvedData("notes", path, "0" * 64, label=label)
    return read_notes(data, NoteConfig.model_validate(settings))


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_the_column_with_most_words_is_read_and_the_last_is_the_label(
    tmp_path: Path, suffix: str
) -> None:
    data = read(tmp_path, suffix=suffix)
    assert data.labels == ("cold", "flu", "none")
    assert data.counts() == {"train": 39, "validation": 9, "test": 12}
    for part in data.parts.values():
        for note, target in zip(part.notes, part.target, strict=True):
            assert int(note.split()[5]) % 3 == target
    assert "the notes are the column 'text', the labels 'label'" in data.findings


def test_every_split_has_its_share_of_each_class_and_no_row_of_another(tmp_path: Path) -> None:
    data = read(tmp_path)
    for part in data.parts.values():
        assert len(set(np.bincount(part.target))) == 1
    notes = [note for part in data.parts.values() for note in part.notes]
    assert len(set(notes)) == len(notes) == ROWS


def test_label_and_text_may_be_named(tmp_path: Path) -> None:
    columns = table(comment=["a remark that is longer than what the patient says"] * ROWS)
    columns["comment"] = [f"{one} {n} times" for n, one in enumerate(columns["comment"])]
    data = read(tmp_path, columns, label="site", text="text")
    assert data.labels == ("north", "south")
    assert data.train.notes[0].startswith("this is what")


def test_the_seed_decides_the_split(tmp_path: Path) -> None:
    one, same, other = (read(tmp_path, seed=seed).split_sha256() for seed in (0, 0, 1))
    assert one == same != other


def test_subgroups_come_along(tmp_path: Path) -> None:
    part = read(tmp_path, subgroup="site").test
    assert part.groups is not None
    for note, group in zip(part.notes, part.groups, strict=True):
        assert group == ("north", "south")[int(note.split()[5]) % 2]


def test_rows_without_a_note_or_a_label_are_left_out_and_counted(tmp_path: Path) -> None:
    columns = table()
    columns["text"][3] = None
    columns["label"][4] = ""
    data = read(tmp_path, columns)
    assert sum(data.counts().values()) == ROWS - 2
    assert "2 rows without a note or without a label were left out" in data.findings


def test_columns_that_are_not_there_are_all_named(tmp_path: Path) -> None:
    with pytest.raises(DataFault) as refused:
        read(tmp_path, label="grade", text="story", subgroup="age")
    assert [fault.found for fault in refused.value.faults] == ["'grade'", "'story'", "'age'"]


def test_a_table_without_text_is_refused(tmp_path: Path) -> None:
    columns = table()
    del columns["text"]
    with pytest.raises(DataFault, match=r"a column of notes \(--set text=COLUMN\)"):
        read(tmp_path, columns)


def test_labels_with_too_few_notes_are_all_named(tmp_path: Path) -> None:
    labels: list[str | None] = ["rare", "rarer", "rarer"] + ["usual"] * (ROWS - 3)
    with pytest.raises(DataFault) as refused:
        read(tmp_path, table(label=labels))
    assert [fault.found for fault in refused.value.faults] == ["1 of 'rare'", "2 of 'rarer'"]


def test_one_label_is_nothing_to_tell_apart(tmp_path: Path) -> None:
    with pytest.raises(DataFault, match="at least two labels, found 1"):
        read(tmp_path, table(label=["flu"] * ROWS))


def test_notes_that_are_alike_stay_in_one_split(tmp_path: Path) -> None:
    columns = table()
    columns["text"] = [f"Patient {n % 30} has the FLU" for n in range(ROWS)]
    columns["text"][30:] = [one.lower() for one in columns["text"][:30]]  # type: ignore[union-attr]
    data = read(tmp_path, columns).without_leaks(drop=False)
    assert not any("also stand in" in finding for finding in data.findings)
    keys = [{note.lower() for note in part.notes} for part in data.parts.values()]
    assert sum(map(len, keys)) == len(set.union(*keys)) == 30


def test_a_class_whose_notes_are_all_alike_cannot_be_split(tmp_path: Path) -> None:
    columns = table()
    columns["text"][::3] = ["always the same words here"] * 20
    with pytest.raises(DataFault, match="its notes are alike"):
        read(tmp_path, columns)


def test_notes_that_could_not_be_asked_about_are_cut_and_told(tmp_path: Path) -> None:
    notes: list[str | None] = [f"this is what patient number {n} says" for n in range(ROWS)]
    notes[0] = "a word " * 4000
    notes[1] = "what\0ever patient number one says here"
    notes[2] = ""
    data = read(tmp_path, table(text=notes), suffix="parquet")
    read_notes = {note for part in data.parts.values() for note in part.notes}
    assert max(map(len, read_notes)) == MAX_NOTE_LENGTH
    assert "what ever patient number one says here" in read_notes
    assert "" not in read_notes
    assert "2 notes were cut at 20000 characters, or had a NUL taken out" in data.findings
    assert "1 rows without a note or without a label were left out" in data.findings
