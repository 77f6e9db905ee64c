from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from triton_models.backends.onnxruntime.stacking import Asked, run_all

Array = np.ndarray[Any, Any]


class Doubler:
    """Doubles ``x``; counts its runs, and fails for what is not finite."""

    def __init__(self) -> None:
        self.rows: list[int] = []

    def __call__(self, names: tuple[str, ...], feeds: Mapping[str, Array]) -> list[Array]:
        x = feeds["x"]
        self.rows.append(len(x))
        if x.dtype == np.float32 and not np.isfinite(x).all():
            raise ValueError(f"bad row in {len(x)}")
        answer = {"double": x * 2, "shape": np.full((len(x), 1), x.shape[1]), "mean": x.mean()}
        return [answer[name] for name in names]


def asked(*rows: list[float], names: tuple[str, ...] = ("double",), **more: Any) -> Asked:
    return Asked(names, {"x": np.array(rows, np.float32)} | more)


def test_one_request_is_run_as_it_came() -> None:
    run = Doubler()
    feeds = {"x": np.ones((2, 3), np.float32)}
    seen: list[Array] = []

    def watch(names: tuple[str, ...], given: Mapping[str, Array]) -> list[Array]:
        seen.append(given["x"])
        return run(names, given)

    ((answer,),) = run_all(watch, [Asked(("double",), feeds)])
    assert seen[0] is feeds["x"], "it was copied"
    assert answer.tolist() == [[2, 2, 2]] * 2


def test_requests_of_one_kind_are_one_run_and_each_gets_its_own_rows() -> None:
    run = Doubler()
    answers = run_all(run, [asked([1], [2]), asked([3]), asked([4], [5], [6])])
    assert run.rows == [6]
    assert [answer[0].tolist() for answer in answers] == [
        [[2], [4]],
        [[6]],
        [[8], [10], [12]],
    ]
    assert all(answer[0].flags.c_contiguous for answer in answers)


@pytest.mark.parametrize(
    "other",
    [
        asked([1, 2]),
        asked([1], names=("double", "shape")),
        Asked(("double",), {"x": np.array([[1]], np.int32)}),
        asked([1], y=np.zeros((1, 1))),
    ],
    ids=["another size", "other outputs", "another type", "another input"],
)
def test_requests_of_another_kind_are_another_run(other: Asked) -> None:
    run = Doubler()
    first, second, third = run_all(run, [asked([1]), other, asked([5])])
    assert run.rows == [2, 1]
    assert (first[0].tolist(), third[0].tolist()) == ([[2]], [[10]])
    assert second[0].shape == (1, other.feeds["x"].shape[1])
    assert len(second) == len(other.names)


def test_strings_are_stacked_too() -> None:
    words = [np.array([["a"], ["ü"]], object), np.array([["b"]], object)]

    def echo(names: tuple[str, ...], feeds: Mapping[str, Array]) -> list[Array]:
        return [feeds["words"]]

    answers = run_all(echo, [Asked(("words",), {"words": word}) for word in words])
    assert [answer[0].tolist() for answer in answers] == [[["a"], ["ü"]], [["b"]]]


def test_an_error_in_one_harms_no_other() -> None:
    run = Doubler()
    good, bad, last = run_all(run, [asked([1]), asked([np.nan]), asked([3])])
    assert run.rows == [3, 1, 1, 1]
    assert (good[0].tolist(), last[0].tolist()) == ([[2]], [[6]])
    assert isinstance(bad, ValueError)
    assert str(bad) == "bad row in 1"


def test_a_single_request_that_fails_is_not_tried_twice() -> None:
    run = Doubler()
    (bad,) = run_all(run, [asked([np.inf])])
    assert isinstance(bad, ValueError)
    assert run.rows == [1]


def test_an_output_without_rows_is_asked_for_one_by_one() -> None:
    run = Doubler()
    answers = run_all(run, [asked([1], names=("mean",)), asked([3], names=("mean",))])
    assert [float(answer[0]) for answer in answers] == [1, 3]
    assert run.rows == [2, 1, 1]


def test_nothing_asked_is_nothing_run() -> None:
    run = Doubler()
    assert run_all(run, []) == []
    assert run.rows == []
