"""The context of a request: from columns of the log to what the ranker reads, and back as notes."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from model_builder.export.chain import StepChain
from model_builder.export.fused import FusedModel, fuse
from model_builder.export.onnx import serialised
from model_builder.recsys.asking import EarlierRelease
from model_builder.recsys.comparing import TOLERANCES, compare_models
from model_builder.recsys.context import MAX_CATEGORIES, context_rows, fit_context
from model_builder.recsys.data import Interactions, Questions, Sequences
from model_builder.recsys.exporting import export_steps
from model_builder.recsys.reference import Reference
from model_builder.recsys.request_tensors import Request, request_tensors
from model_builder.recsys.shortlists import FirstStage
from model_builder.task import StepModel
from triton_models.signatures import (
    RECOMMEND,
    RULE_CLIPPED_TO_MAXIMUM,
    RULE_IMPUTED,
    RULE_NONE,
    RULE_UNKNOWN_AS_MISSING,
)

COLUMNS = {
    "hour": pl.Series("hour", [8.0, 20.0, None, 12.0, 9.0, 23.0, 0.0, 1.0]),
    "device": pl.Series("device", ["tv", "phone", "tv", None, "tv", "phone", "tv", "tv"]).cast(
        pl.Categorical
    ),
}
ROWS = [
    {"hour": 8.0, "device": "tv"},
    {"hour": 99.0, "device": "fridge"},
    {},
]


@pytest.fixture(scope="module")
def context():
    return fit_context(COLUMNS)


def test_the_schema_says_what_a_client_may_send(context):
    hour, device = context.features
    assert (hour.name, hour.kind, hour.minimum, hour.maximum) == ("hour", "number", 0, 23)
    assert (device.name, device.kind, device.categories) == ("device", "category", ("phone", "tv"))
    assert device.typical == "tv"
    assert {spec.missing_rule for spec in context.features} == {"impute"}


def test_rare_categories_are_not_told_apart():
    words = [f"w{number}" for number in range(MAX_CATEGORIES) for _ in range(2)] + ["rare"]
    (feature,) = fit_context({"word": pl.Series("word", words)}).features
    assert len(feature.categories) == MAX_CATEGORIES
    assert "rare" not in feature.categories


def test_rows_are_what_requests_carry():
    assert context_rows(COLUMNS, np.array([2, 0, 3])) == [
        {"device": "tv"},
        {"hour": 8.0, "device": "tv"},
        {"hour": 12.0},
    ]


def test_the_graph_prepares_like_numpy_and_notes_what_it_changed(context):
    tensors = context.tensors(ROWS)
    made = StepChain([StepModel("context", "pre", context.graph())]).run(tensors)
    inputs, rules = context.prepare(tensors)
    np.testing.assert_allclose(made["inputs"], inputs, atol=1e-6)
    assert made["inputs"].shape == (3, context.width)
    assert made["input_rules"].tolist() == rules.tolist()
    assert rules.tolist() == [
        [RULE_NONE, RULE_NONE],
        [RULE_CLIPPED_TO_MAXIMUM, RULE_UNKNOWN_AS_MISSING],
        [RULE_IMPUTED, RULE_IMPUTED],
    ]


def test_both_variants_with_a_context_answer_like_the_reference_also_once_they_are_old(
    context, network, learned_ranker, item_ids, tmp_path
):
    first = FirstStage(network, 8)
    ranker = learned_ranker(first, context.width)
    steps = export_steps(first, ranker, item_ids, context)
    assert [step.name for step in steps][:3] == ["encode", "context", "history"]
    reference = Reference(network, ranker, item_ids, 8, context)
    requests = [Request(["i1", "i4"], item_count=5, context=row) for row in ROWS]
    fused = tmp_path / "model.onnx"
    fused.write_bytes(serialised(fuse(steps, RECOMMEND)))
    earlier = EarlierRelease("recommend/r1", fused, context.features)
    log = Interactions(item_ids, Sequences.of([np.array([1, 4, 2])]))
    question = Questions(Sequences.of([np.array([1, 4])]), np.array([2]))
    nothing_said = reference.answer([Request(["i1", "i4"], item_count=100)])["item_ids"][0]
    assert earlier.ranks(log, question).tolist() == [nothing_said.tolist().index("i2") + 1]

    answers, parity = compare_models(
        [StepChain(steps), FusedModel(steps, RECOMMEND)], reference, requests
    )
    assert all(found.keys() == TOLERANCES.keys() for found in parity)
    assert answers["input_rules"].shape == (3, 2)
    assert len({tuple(row) for row in answers["scores"].tolist()}) == 3  # it is read
    assert "numbers" in request_tensors(requests, context)
