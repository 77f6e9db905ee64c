from __future__ import annotations

import pytest

from model_builder.recsys.judging import Judged
from model_builder.recsys.report import overlap
from triton_models.release import Metric

BELOW, AMONG, ABOVE = ((0.1, 0.2), (0.35, 0.45), (0.6, 0.7))


def judged(**intervals: tuple[float, float]) -> Judged:
    def measured(low: float, high: float) -> dict[str, dict[str, Metric]]:
        return {"test": {"ndcg@10": Metric(value=(low + high) / 2, low=low, high=high)}}

    others = {name: measured(*interval) for name, interval in intervals.items()}
    return Judged(measured(0.3, 0.5), others, {}, (), {})


@pytest.mark.parametrize(
    ("others", "said"),
    [
        (
            {"popularity": BELOW, "ease": AMONG, "als": ABOVE},
            "NDCG@10 of the test lies above that of popularity and below that of als, with "
            "intervals that do not overlap. The intervals overlap with those of ease.",
        ),
        (
            {"popularity": BELOW, "als": BELOW},
            "NDCG@10 of the test lies above that of popularity, als, with intervals that do not "
            "overlap.",
        ),
        (
            {"als": ABOVE},
            "NDCG@10 of the test lies above that of no baseline and below that of als, with "
            "intervals that do not overlap.",
        ),
        (
            {"ease": (0.1, 0.3), "als": (0.5, 0.9)},
            "NDCG@10 of the test lies above that of no baseline, with intervals that do not "
            "overlap. The intervals overlap with those of ease, als.",
        ),
    ],
    ids=["all three", "surely better", "surely worse", "touching"],
)
def test_a_baseline_is_said_to_be_worse_better_or_not_to_be_told_apart(others, said):
    assert overlap(judged(**others)) == said
