from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_builder.errors import DataFault
from model_builder.npz import read_npz
from model_builder.recsys.reading import read_log
from model_builder.tabular.reading import read_frame


def save(folder: Path, **arrays: Any) -> Path:
    path = folder / "table.npz"
    np.savez(path, **arrays)
    return path


def faults(path: Path) -> list[str]:
    with pytest.raises(DataFault) as caught:
        read_npz(path)
    return [str(fault) for fault in caught.value.faults]


def test_arrays_are_columns_in_the_order_in_which_they_were_saved(tmp_path):
    path = save(tmp_path, z=np.array([1.5, np.nan]), a=np.array(["x", "y"]), label=[0, 1])

    frame = read_npz(path)

    assert frame.columns == ["z", "a", "label"]
    assert frame["a"].to_list() == ["x", "y"]
    assert frame["label"].to_list() == [0, 1]


def test_a_matrix_is_named_by_its_feature_names(tmp_path):
    data = np.arange(6.0).reshape(3, 2)
    path = save(tmp_path, data=data, target=[0, 1, 0], feature_names=["age", "income"])

    frame = read_npz(path)

    assert frame.columns == ["age", "income", "target"]
    assert frame["income"].to_list() == [1.0, 3.0, 5.0]


def test_a_matrix_without_names_is_numbered(tmp_path):
    assert read_npz(save(tmp_path, x=np.zeros((2, 3)))).columns == ["x_0", "x_1", "x_2"]


def test_every_array_that_is_no_column_is_named(tmp_path):
    path = save(
        tmp_path,
        image=np.zeros((2, 4, 4)),
        when=np.array(["2026-01-01"], "datetime64[D]"),
        things=np.array([{}, {}], object),
        good=np.zeros(2),
    )

    found = faults(path)

    assert len(found) == 3
    for name in ("image", "when", "things"):
        assert any(f"'{name}'" in fault for fault in found)


def test_arrays_of_different_length_are_told_with_their_lengths(tmp_path):
    (fault,) = faults(save(tmp_path, a=np.zeros(2), b=np.zeros(3)))
    assert "'a' 2, 'b' 3" in fault


def test_two_columns_of_one_name_are_refused(tmp_path):
    path = save(tmp_path, age=np.zeros(2), m=np.zeros((2, 1)), feature_names=["age"])
    (fault,) = faults(path)
    assert "'age'" in fault


def test_a_file_that_is_no_archive_is_refused(tmp_path):
    path = tmp_path / "table.npz"
    path.write_bytes(b"age,label")
    assert "a NumPy archive" in faults(path)[0]


def test_an_archive_of_something_else_is_refused(tmp_path):
    path = tmp_path / "table.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    assert "expected an array" in faults(path)[0]


def test_a_table_of_features_reads_numbers_texts_and_gaps(tmp_path):
    path = save(tmp_path, age=[1.5, np.nan], job=["clerk", ""], label=["no", "yes"])
    raw = read_frame(path.name, read_npz(path))
    assert raw.frame["age"].to_list() == ["1.5", None]
    assert raw.frame["job"].to_list() == ["clerk", None]


def test_a_log_of_interactions_is_read(tmp_path):
    path = save(tmp_path, user=[1, 1], item=["a", "b"], timestamp=[10, 20])
    log = read_log(path)
    assert log.frame.rows() == [("1", "a", 10), ("1", "b", 20)]


def test_a_log_that_lacks_a_column_is_refused(tmp_path):
    with pytest.raises(DataFault, match="timestamp"):
        read_log(save(tmp_path, user=[1], item=[2]))
