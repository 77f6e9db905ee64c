from __future__ import annotations

import pytest
from sklearn.datasets import load_breast_cancer

from model_builder.public_data import PUBLIC_DATA
from model_builder.tabular.layouts.known import known_layout

TABLES = ["breast-cancer", "german-credit", "credit-card-default", "heart-disease-cleveland"]


@pytest.mark.parametrize("name", TABLES)
def test_a_layout_fits_what_the_data_set_says_of_itself(name):
    layout = known_layout(name)
    (data,) = (data for data in PUBLIC_DATA if data.name == name)

    assert layout is not None
    assert known_layout(data.files[0].name) is layout
    assert layout.target.name == data.label
    assert layout.separator == data.format.separator
    assert bool(layout.file_columns) == bool(data.format.columns)
    assert len(layout.file_columns) == len(data.format.columns)


@pytest.mark.parametrize("name", TABLES)
def test_every_column_is_named_once_and_described(name):
    layout = known_layout(name)
    names = [column.name for column in layout.columns]
    assert len(set(names)) == len(names)
    assert layout.target.name not in names
    for column in layout.columns:
        assert column.description, column.name
        assert bool(column.meanings) == (column.kind != "quantity"), column.name
        if column.kind == "category":
            assert len(set(column.meanings.values())) == len(column.meanings), column.name


def test_breast_cancer_has_the_columns_of_scikit_learn():
    bunch = load_breast_cancer()
    layout = known_layout("breast-cancer")
    assert [column.file_name for column in layout.columns] == bunch.feature_names.tolist()
    assert set(layout.target.labels) == set(bunch.target_names)


def test_credit_card_default_has_the_columns_of_its_file():
    (data,) = (data for data in PUBLIC_DATA if data.name == "credit-card-default")
    layout = known_layout(data.name)
    sources = {column.file_name for column in layout.columns}
    assert sources == set(data.files[0].renamed_columns) - {"ID", layout.target.name}


def test_what_is_not_known_has_no_layout():
    assert known_layout("mine", "mine.csv") is None
