from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from model_builder.errors import ParityBroken
from model_builder.recsys import comparing
from model_builder.recsys.comparing import TOLERANCES, compare_models
from model_builder.recsys.ranking import Ranker
from model_builder.recsys.reference import Reference
from model_builder.recsys.request_tensors import Request, Tensors
from model_builder.recsys.shortlists import FirstStage

REQUESTS = [
    Request(["i1", "i5", "i2"], item_count=5),
    Request(["i7", "i8"], item_count=5),
    Request(["i3"], item_count=5),
]


class Echo:
    """Steps that answer like the reference, but for what ``change`` does to the answer."""

    def __init__(self, reference: Reference, change: Callable[[Tensors], None]) -> None:
        self._reference = reference
        self._change = change
        self.asked = 0

    def run(self, inputs: Tensors) -> Tensors:
        rows = len(inputs["item_count"])
        answer = self._reference.answer(REQUESTS[self.asked : self.asked + rows])
        self.asked += rows
        self._change(answer)
        return answer


def two_stages(network, item_ids) -> Reference:
    first = FirstStage(network, 100)
    return Reference(network, Ranker(first.table, first.history_length), item_ids, 100)


@pytest.fixture
def reference(network, item_ids) -> Reference:
    return two_stages(network, item_ids)


def nothing(answer: Tensors) -> None:
    pass


def swap_first_items(answer: Tensors) -> None:
    for name in ("item_ids", "because_positions"):
        answer[name][0, [0, 1]] = answer[name][0, [1, 0]]


def swap_because(answer: Tensors) -> None:
    answer["because_positions"][0] = answer["because_positions"][0, :, ::-1]


def score_more(answer: Tensors) -> None:
    answer["scores"][1, 2] += 2e-5


def forget_an_item(answer: Tensors) -> None:
    answer["item_ids"][2, 4] = ""


def know_nothing(answer: Tensors) -> None:
    answer["history_known"][:] = False


def test_equal_answers_are_equal_in_every_output(reference):
    expected, (parity,) = compare_models([Echo(reference, nothing)], reference, REQUESTS)
    assert parity.keys() == TOLERANCES.keys() - {"input_rules"}
    assert {(p.rows, p.max_difference, p.compared) for p in parity.values()} == {
        (3, 0.0, "torch-onnx")
    }
    np.testing.assert_array_equal(expected["item_ids"], reference.answer(REQUESTS)["item_ids"])


@pytest.mark.parametrize(
    ("change", "output"),
    [
        (swap_first_items, "item_ids"),
        (forget_an_item, "item_ids"),
        (swap_because, "because_positions"),
        (score_more, "scores"),
        (know_nothing, "history_known"),
    ],
)
def test_another_answer_is_refused_by_the_output_that_differs(reference, change, output):
    with pytest.raises(ParityBroken, match=f"output '{output}' differs"):
        compare_models([Echo(reference, nothing), Echo(reference, change)], reference, REQUESTS)


def test_the_largest_difference_of_all_batches_is_kept(reference, monkeypatch):
    def score_a_little_more(answer: Tensors) -> None:
        answer["scores"] += 5e-6 if echo.asked == 1 else 1e-6

    monkeypatch.setattr(comparing, "MAX_BATCH_ROWS", 1)
    echo = Echo(reference, score_a_little_more)
    expected, (parity, exact) = compare_models(
        [echo, Echo(reference, nothing)], reference, REQUESTS
    )
    assert echo.asked == len(expected["item_ids"]) == 3
    assert parity["scores"].max_difference == pytest.approx(5e-6, rel=0.1)
    assert parity["scores"].rows == 3
    assert exact["scores"].max_difference == 0


def test_items_and_reasons_of_the_same_worth_may_change_places(make_network, item_ids):
    network = make_network()
    with torch.no_grad():  # all items are one and the same
        network.items.weight[:] = network.items.weight[1]
        network.bias.zero_()
    reference = two_stages(network, item_ids)

    def swap(answer: Tensors) -> None:
        swap_first_items(answer)
        swap_because(answer)

    _, (parity,) = compare_models([Echo(reference, swap)], reference, REQUESTS)
    assert parity["item_ids"].max_difference == 0
    assert parity["because_positions"].max_difference == 0
