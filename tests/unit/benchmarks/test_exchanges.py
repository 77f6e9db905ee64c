"""A wrong answer is told from a right one, whichever way it was asked for."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.serving.exchanges import (
    WrongAnswer,
    compare_arrays,
    compare_messages,
    framed,
    unframed,
)
from trident.diagnose.v1.diagnose_service_pb2 import DiagnoseResponse, Finding


def response(*probabilities: float) -> DiagnoseResponse:
    return DiagnoseResponse(
        findings=[Finding(label="benign", probability=one) for one in probabilities]
    )


def test_messages_come_out_of_their_frames_as_they_went_in() -> None:
    messages = [b"", b"one", b"x" * 70_000]
    body = framed(messages)
    assert body.startswith(b"\0\0\0\0\0\0\0\0\0\3one")
    assert list(unframed(body)) == messages


@pytest.mark.parametrize(("given", "wanted"), [(0.5, 0.5004), (0.0, 1e-6), (1e-6, 0.0)])
def test_numbers_may_differ_as_much_as_another_order_of_sums_makes(
    given: float, wanted: float
) -> None:
    compare_messages(response(given), response(wanted))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (response(0.5, 0.51), r"\.findings\[1\]\.probability: 0.51 instead of 0.5"),
        (response(0.5), r"\.findings"),
        (DiagnoseResponse(), r"\.findings"),
        (DiagnoseResponse(needs_review=True, findings=response(0.5, 0.5).findings), "needsReview"),
    ],
    ids=["a number", "too few", "nothing", "another field"],
)
def test_what_differs_in_a_message_is_named(given: DiagnoseResponse, told: str) -> None:
    with pytest.raises(WrongAnswer, match=told):
        compare_messages(given, response(0.5, 0.5))


def test_arrays_must_have_every_output_in_shape_and_value() -> None:
    wanted = {
        "scores": np.array([[0.25, 1.0]], np.float32),
        "ids": np.array([[b"a", b"b"]], np.object_),
    }
    compare_arrays(wanted | {"more": np.zeros(3)}, wanted)
    for name, wrong in (
        ("scores", np.array([[0.25, 1.1]], np.float32)),
        ("scores", np.array([[0.25]], np.float32)),
        ("ids", np.array([[b"a", b"c"]], np.object_)),
    ):
        with pytest.raises(WrongAnswer, match=name):
            compare_arrays(wanted | {name: wrong}, wanted)
    with pytest.raises(WrongAnswer, match="ids: None"):
        compare_arrays({"scores": wanted["scores"]}, wanted)
