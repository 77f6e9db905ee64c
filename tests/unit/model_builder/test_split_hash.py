from __future__ import annotations

import numpy as np

from model_builder.split_hash import assignment_sha256


def test_names_shapes_and_values_count_and_widths_do_not():
    rows = np.array([1, 2, 3, 4])
    base = assignment_sha256([("test", [rows])])
    assert base == assignment_sha256([("test", [rows.astype(np.int16)])])
    others = [
        assignment_sha256([("train", [rows])]),
        assignment_sha256([("test", [rows[:2], rows[2:]])]),
        assignment_sha256([("test", [rows.reshape(2, 2)])]),
        assignment_sha256([("test", [rows[::-1]])]),
    ]
    assert len({base, *others}) == 5
