from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

from model_builder.export.shapes import (
    Range,
    UnboundedAxes,
    greatest_sizes,
    ranges_of,
    seen,
    shapes_of,
)

HISTORY = helper.make_tensor_value_info("history", TensorProto.INT32, ["B", 50])
EXCLUDED = helper.make_tensor_value_info("excluded", TensorProto.INT32, ["B", "X"])
TOKENS = helper.make_tensor_value_info("token_ids", TensorProto.INT32, ["B", "T"])
UNKNOWN = helper.make_tensor_value_info("unknown", TensorProto.FLOAT, ["B", "Z", None])


def test_a_fixed_axis_stays_and_the_batch_goes_to_what_triton_takes() -> None:
    shapes = shapes_of([HISTORY], ranges_of("recommend"))["history"]
    assert (shapes.least, shapes.usual, shapes.most) == ((1, 50), (32, 50), (1000, 50))


def test_what_is_excluded_goes_as_far_as_a_request_and_its_history() -> None:
    assert shapes_of([EXCLUDED], ranges_of("recommend"))["excluded"].most == (1000, 2000)


def test_a_note_goes_as_far_as_its_release_reads() -> None:
    assert shapes_of([TOKENS], ranges_of("diagnose-note", 256))["token_ids"].most == (1000, 256)
    assert shapes_of([TOKENS], ranges_of("diagnose-note", 16))["token_ids"].usual == (32, 16)


def test_real_requests_say_what_is_usual_within_what_is_possible() -> None:
    ranges = seen(ranges_of("recommend"), [EXCLUDED], {"excluded": np.zeros((3, 120), np.int32)})
    assert ranges["X"].usual == 120
    ranges = seen(ranges, [EXCLUDED], {"excluded": np.zeros((3, 9000), np.int32)})
    assert ranges["X"].usual == 2000
    assert seen(ranges, [HISTORY], {}) == ranges


def test_every_axis_that_nothing_bounds_is_named() -> None:
    with pytest.raises(UnboundedAxes) as raised:
        shapes_of([UNKNOWN, EXCLUDED], {"B": Range(1, 1, 1)})
    assert raised.value.faults == (
        "input 'unknown': axis 1 ('Z') varies, and nothing says how far it goes",
        "input 'unknown': axis 2 varies, and nothing says how far it goes",
        "input 'excluded': axis 1 ('X') varies, and nothing says how far it goes",
    )


def test_the_greatest_sizes_are_of_one_row() -> None:
    assert greatest_sizes([EXCLUDED], ranges_of("recommend")) == {"excluded": (1, 2000)}
