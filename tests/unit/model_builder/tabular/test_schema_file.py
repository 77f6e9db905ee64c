from __future__ import annotations

import numpy as np
import pytest

from model_builder.tabular.layouts.known import known_layout
from model_builder.tabular.loading import load_table
from model_builder.tabular.schema import infer_features
from model_builder.tabular.schema_file import beside, written
from model_builder.tabular.targets import finding_target
from model_builder.task import ResolvedData

ROWS = 120


def file_of(layout, write):
    """Write rows of every code and every class of a layout."""
    draws = np.random.default_rng(4)
    cells = {
        column.file_name: draws.choice(
            list(column.meanings) or [*map(str, column.special_codes), "1", "2", "7.25", "90"], ROWS
        )
        for column in layout.columns
    }
    classes = list(layout.target.classes)
    cells[layout.target.name] = np.array([classes[i % len(classes)] for i in range(ROWS)])
    lines = [layout.separator.join(row) for row in zip(*cells.values(), strict=True)]
    header = [] if layout.file_columns else [layout.separator.join(cells)]
    return write(layout.names[1], "\n".join([*header, *lines]) + "\n")


@pytest.mark.parametrize("name", ["heart-disease-cleveland", "german-credit",
                                  "credit-card-default"])  # fmt: skip
def test_a_schema_that_is_written_and_read_back_changes_no_feature(name, write, heard):
    path = file_of(known_layout(name), write)
    data = ResolvedData(path.name, path, "")

    def read():
        table = load_table(data, finding_target, heard)
        return table, infer_features(table, np.arange(len(table)))

    table, features = read()
    beside(path).write_text(written(table.label, table.columns, features))
    again, same = read()
    assert again.findings != table.findings  # it was read
    assert same == features
