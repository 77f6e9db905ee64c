from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pictures
import pytest
from planted_images import planted, write_archive

from model_builder.diagnosis.image.config import ImageConfig
from model_builder.diagnosis.image.dataset import ImageData
from model_builder.diagnosis.image.reading import read_images
from model_builder.errors import DataFault
from model_builder.task import ResolvedData
from triton_models.images import encode_png


def read(path: Path, base_size: int | None = None, **settings: Any) -> ImageData:
    return read_images(ResolvedData(path.name, path, ""), ImageConfig(**settings), base_size)


def faults(path: Path, **settings: Any) -> list[str]:
    with pytest.raises(DataFault) as fault:
        read(path, **settings)
    return [str(one) for one in fault.value.faults]


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return write_archive(tmp_path / "set.npz", (40, 20, 20))


def write_folder(root: Path, *, split: bool, rows: int = 20, side: int = 28) -> Path:
    for part in ("train", "val", "test") if split else (".",):
        pixels, labels = planted(rows, seed=len(part))
        for number, (one, label) in enumerate(zip(pixels, labels[:, 0], strict=True)):
            folder = root / part / ("ill" if label else "well")
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{number}.png").write_bytes(encode_png(one[:side, :side]))
    return root


def test_an_archive_keeps_its_pixels_and_its_splits(archive: Path) -> None:
    data = read(archive)
    assert data.counts() == {"train": 40, "validation": 20, "test": 20}
    np.testing.assert_array_equal(data.train.pixels[..., 0], planted(40, 0)[0])
    np.testing.assert_array_equal(data.test.target, planted(20, 2)[1][:, 0])
    assert data.labels == ("0", "1")
    assert (data.spec.height, data.spec.width, data.spec.channels) == (28, 28, 1)
    assert data.spec.fit == "crop"
    assert data.findings == ()


def test_colours_stay_colours(tmp_path: Path) -> None:
    arrays = {f"{split}_images": planted(8, seed, 3)[0] for seed, split in enumerate(
        ("train", "val", "test"))}  # fmt: skip
    data = read(write_archive(tmp_path / "a.npz", (8, 8, 8), **arrays))
    assert data.spec.channels == 3
    assert data.train.pixels.shape == (8, 28, 28, 3)


def test_a_known_archive_names_its_classes(tmp_path: Path) -> None:
    data = read(write_archive(tmp_path / "pneumoniamnist_28.npz", (8, 8, 8)))
    assert data.labels == ("normal", "pneumonia")


def test_numbers_are_ordered_by_value_and_words_by_letter(tmp_path: Path) -> None:
    numbers = {f"{split}_labels": np.array([10, 9] * 6) for split in ("train", "val", "test")}
    assert read(write_archive(tmp_path / "a.npz", (12,) * 3, **numbers)).labels == ("9", "10")
    words = {f"{split}_labels": np.array(["well", "ill"] * 6) for split in ("train", "val", "test")}
    assert read(write_archive(tmp_path / "b.npz", (12,) * 3, **words)).labels == ("ill", "well")


def test_the_size_that_is_asked_for_is_made(archive: Path) -> None:
    assert read(archive, image_size=16).train.pixels.shape == (40, 16, 16, 1)
    assert read(archive, base_size=32).spec.width == 32
    assert read(archive, base_size=32, image_size=20).spec.width == 20


def test_splits_that_are_missing_are_drawn_by_class_and_seed(tmp_path: Path) -> None:
    pixels, labels = planted(100)
    np.savez(tmp_path / "a.npz", train_images=pixels, train_labels=labels)
    data = read(tmp_path / "a.npz", seed=3)
    assert data.counts() == {"train": 72, "validation": 8, "test": 20}
    assert data.test.target.tolist().count(1) == 10
    assert data.split_sha256() == read(tmp_path / "a.npz", seed=3).split_sha256()
    assert data.split_sha256() != read(tmp_path / "a.npz", seed=4).split_sha256()
    assert "drawn: test 20% of each class" in data.protocol


def test_the_same_image_is_never_drawn_into_two_splits(tmp_path: Path) -> None:
    pixels, labels = planted(100)
    twice = np.concatenate([pixels, pixels])
    np.savez(tmp_path / "a.npz", train_images=twice, train_labels=np.concatenate([labels, labels]))
    assert read(tmp_path / "a.npz").findings == ()


@pytest.mark.parametrize("drop", [False, True])
def test_an_image_that_stands_in_two_splits_is_told_and_can_be_dropped(
    archive: Path, drop: bool
) -> None:
    arrays = dict(np.load(archive))
    arrays["train_images"][:3] = arrays["test_images"][:3]
    arrays["val_images"][5] = arrays["test_images"][5]
    np.savez(archive, **arrays)
    data = read(archive, drop_duplicates=drop)
    assert len(data.findings) == 2
    assert data.findings[0].startswith("3 rows of the train split also stand in the test split")
    assert ("were left out" in data.findings[0]) == drop
    assert len(data.train) == (37 if drop else 40)
    assert len(data.validation) == (19 if drop else 20)
    assert len(data.test) == 20


def test_classes_are_counted_when_duplicates_are_gone(archive: Path) -> None:
    arrays = dict(np.load(archive))
    np.savez(archive, **(arrays | {"val_images": arrays["test_images"]}))
    assert faults(archive, drop_duplicates=True) == [
        "set.npz: expected rows in the validation split, found none"
    ]


def test_subgroups_come_with_the_rows(archive: Path) -> None:
    arrays = dict(np.load(archive))
    for split in ("train", "val", "test"):
        rows = len(arrays[f"{split}_labels"])
        arrays[f"{split}_sex"] = np.array(["f", "m"] * (rows // 2))
    np.savez(archive, **arrays)
    assert read(archive, subgroup="sex").test.groups.tolist() == ["f", "m"] * 10
    assert faults(archive, subgroup="age")[0] == (
        "set.npz: expected an array 'train_age', found none"
    )


@pytest.mark.parametrize("split", [False, True])
def test_a_folder_by_class_is_read(tmp_path: Path, split: bool) -> None:
    data = read(write_folder(tmp_path / "set", split=split))
    assert data.labels == ("ill", "well")
    rows = {"train": 20, "validation": 20, "test": 20} if split else None
    assert data.counts() == (rows or {"train": 14, "validation": 2, "test": 4})
    assert data.spec.channels == 1  # all are grey
    assert (data.spec.width, data.spec.fit) == (28, "pad")  # all are small and alike
    ill = data.train.pixels[data.train.target == 0][:, 6:12, 16:22]
    assert (ill == 230).all()


def test_files_of_many_kinds_become_alike(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "set", split=False)
    (root / "ill" / "a.jpg").write_bytes(pictures.jpeg(pictures.ramp(100, 60)))
    (root / "well" / "b.dcm").write_bytes(pictures.dicom(pictures.ramp(50, 80)))
    (root / "well" / "c.png").write_bytes(pictures.deep_png(pictures.ramp(50, 80)))
    data = read(root)
    assert data.train.pixels.shape[1:] == (64, 64, 1)
    assert sum(data.counts().values()) == 23


def test_subgroups_of_a_folder_stand_in_a_table(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "set", split=True)
    rows = [f"test/ill/{number}.png,old" for number in range(20)]
    (root / "metadata.csv").write_text("\n".join(["file,age", *rows]) + "\n")
    groups = read(root, subgroup="age").test.groups
    assert groups.tolist() == ["old"] * 10 + ["(none)"] * 10


def test_every_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "set", split=True)
    (root / "lost.png").write_bytes(encode_png(np.zeros((8, 8), np.uint8)))
    (root / "train" / "ill" / "bomb.png").write_bytes(pictures.bomb())
    (root / "train" / "ill" / "text.jpg").write_text("no picture")
    found = faults(root)
    assert len(found) == 3
    assert "lost.png: expected a folder by class, or split/class, found another place" in found
    assert any("bomb.png: expected an image, found one that must have" in one for one in found)
    assert any("text.jpg: expected an image" in one for one in found)


def test_a_damaged_file_of_a_folder_without_a_stated_size_is_told(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "set", split=True)
    (root / "train" / "ill" / "0.png").write_bytes(pictures.png_that_claims(28, 28, b"a few"))
    (fault,) = faults(root)
    assert fault.startswith("train/ill/0.png: expected an image, found one that is a damaged")


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"train_labels": np.zeros((40, 14), int)}, "expected one whole number or text a row"),
        ({"train_labels": np.zeros(39, int)}, "expected 40 rows, found 39"),
        ({"val_images": np.zeros((20, 28))}, "expected images (rows, height, width)"),
        ({"other_images": np.zeros((2, 8, 8))}, "found 'other'"),
        ({"train_labels": np.array([{}] * 40)}, "expected numbers or texts, found objects"),
        ({"train_labels": np.zeros(40, int), "val_labels": np.zeros(20, int),
          "test_labels": np.zeros(20, int)}, "expected two classes or more, found 1"),
        ({"test_labels": np.full(20, 7)}, "training rows or more of class '7', found 0"),
    ],
    ids=["many labels", "rows", "flat", "split", "objects", "one class", "new class"],
)  # fmt: skip
def test_an_archive_that_cannot_be_used_says_why(
    archive: Path, changes: dict[str, Any], text: str
) -> None:
    np.savez(archive, **(dict(np.load(archive)) | changes))
    assert any(text in one for one in faults(archive))


def test_an_archive_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_text("nothing")
    assert faults(tmp_path / "a.npz") == [
        "a.npz: expected a NumPy archive (.npz), found something else"
    ]
