from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from planted_images import write_archive

from model_builder.diagnosis.evidence import evidence_of
from model_builder.diagnosis.image.building import Images
from model_builder.diagnosis.image.config import ImageConfig
from model_builder.diagnosis.measurements.building import Measurements
from model_builder.diagnosis.task import TASK, kind_of
from model_builder.task import ManyKinds, ResolvedData, task_for
from triton_models.images import encode_png


def data(path: Path, label: str | None = None) -> ResolvedData:
    return ResolvedData(path.name, path, "", label=label)


def test_an_archive_of_images_holds_images(tmp_path: Path) -> None:
    assert evidence_of(data(write_archive(tmp_path / "a.npz", (4, 4, 4)))) == "image"


def test_an_archive_of_numbers_holds_measurements(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.arange(4.0), y=np.array([0, 1, 0, 1]))
    assert evidence_of(data(tmp_path / "a.npz")) == "measurements"


@pytest.mark.parametrize("name", ["ill/a.png", "train/ill/a.JPG", "well/a.dcm"])
def test_a_folder_with_pictures_holds_images(tmp_path: Path, name: str) -> None:
    path = tmp_path / "set" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(encode_png(np.zeros((8, 8), np.uint8)))
    assert evidence_of(data(tmp_path / "set")) == "image"


@pytest.mark.parametrize(
    ("rows", "label", "kind"),
    [
        (["x,y", "1.5,ill", "2,well", "3,ill"], None, "measurements"),
        (
            ["text,y", "coughs since monday,ill", "feels very well today,well", "no more,ill"],
            None,
            "note",
        ),
        (
            [
                "y,text",
                "ill,coughs since monday",
                "well,feels very well today",
                "ill,and again ill",
            ],
            "y",
            "note",
        ),
        (["colour,y", "pale blue,ill", "dark red,well", "pale blue,ill"], None, "measurements"),
        (
            ["place,y", *["in the north east,ill", "in the south west,well"] * 4],
            None,
            "measurements",
        ),
    ],
    ids=["numbers", "notes", "label first", "two words", "the same words again"],
)
def test_a_table_holds_notes_if_a_column_does(
    tmp_path: Path, rows: list[str], label: str | None, kind: str
) -> None:
    (tmp_path / "a.csv").write_text("\n".join(rows) + "\n")
    assert evidence_of(data(tmp_path / "a.csv", label)) == kind


def test_the_task_hands_over_to_what_the_data_hold(tmp_path: Path) -> None:
    archive = data(write_archive(tmp_path / "a.npz", (4, 4, 4)))
    assert isinstance(TASK, ManyKinds)
    assert isinstance(task_for(TASK, archive), Images)
    assert task_for(TASK, archive).config_type is ImageConfig
    assert isinstance(TASK.of_kind("measurements"), Measurements)
    assert task_for(kind_of("measurements"), archive) is kind_of("measurements")


def test_every_kind_is_called_as_the_task_is() -> None:
    assert kind_of("image").name == kind_of("measurements").name == TASK.name
