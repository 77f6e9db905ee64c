"""The reasons are true of the model, and a constrained feature moves the risk one way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from model_builder.export.chain import StepChain
from model_builder.export.fused import FusedModel
from model_builder.progress import SilentProgress
from model_builder.risk.task import TASK, RiskConfig
from model_builder.task import Candidate, ResolvedData
from triton_models.signatures import SCORE_RISK

pytestmark = pytest.mark.usefixtures("quick_torch")

CONFIG = RiskConfig(epochs=12, width=16, folds=3, resamples=10)
ROWS = 1200
SCHEMA = """
columns:
  debt: {monotonic: increasing}
  income: {monotonic: decreasing, special_codes: {-9: none stated}}
"""


def build(
    folder: Path, columns: dict[str, np.ndarray], schema: str = "", config: RiskConfig = CONFIG
) -> Candidate:
    path = folder / "loans.csv"
    rows = zip(*columns.values(), strict=True)
    path.write_text("\n".join([",".join(columns), *(",".join(map(str, row)) for row in rows)]))
    if schema:
        (folder / "loans.schema.yaml").write_text(schema)
    return TASK.build(ResolvedData("loans.csv", path, "", label="bad"), config, SilentProgress())


@pytest.fixture(scope="module")
def planted(quick_torch, tmp_path_factory) -> Candidate:
    """Only ``cause`` decides; ``echo`` and ``home`` are noise."""
    draws = np.random.default_rng(1)
    cause = draws.normal(size=ROWS)
    columns = {
        "echo": draws.normal(size=ROWS),
        "cause": cause,
        "home": draws.choice(["own", "rent"], ROWS),
        "bad": (draws.random(ROWS) < 1 / (1 + np.exp(-3 * cause))).astype(int),
    }
    return build(tmp_path_factory.mktemp("planted"), columns)


TAUGHT = CONFIG.model_copy(update={"taught": 0.9})


@pytest.fixture(scope="module", params=[CONFIG, TAUGHT], ids=["alone", "taught"])
def constrained(request, quick_torch, tmp_path_factory) -> Candidate:
    """The data, and so the teachers, say the opposite of the constraint on ``debt``."""
    draws = np.random.default_rng(2)
    debt, income = draws.uniform(0, 10, ROWS), draws.uniform(1, 9, ROWS)
    age = draws.uniform(20, 70, ROWS)
    logit = -0.4 * (debt - 5) + np.sin(2 * income) + 0.1 * (age - 45)
    income[:40] = -9
    columns = {
        "debt": debt,
        "income": income,
        "age": age,
        "bad": (draws.random(ROWS) < 1 / (1 + np.exp(-logit))).astype(int),
    }
    return build(tmp_path_factory.mktemp("constrained"), columns, SCHEMA, request.param)


def test_the_planted_cause_is_the_first_reason_of_whom_it_made_risky(planted):
    answers = planted.answers.to_pydict()
    contributions = np.array(answers["contributions"])
    names = [feature.name for feature in planted.features]
    risky = np.array(answers["default_probability"]) > 0.7
    assert risky.sum() > 20
    assert (contributions[risky].argmax(axis=1) == names.index("cause")).mean() > 0.95
    shares = np.abs(contributions).mean(axis=0)
    assert shares[names.index("cause")] > 5 * np.delete(shares, names.index("cause")).max()


def test_the_contributions_of_the_exported_steps_add_up_to_the_score(planted):
    draws = np.random.default_rng(3)
    tensors = {
        "numbers": draws.normal(size=(300, 2)).astype(np.float32),
        "categories": draws.choice(["own", "rent", "", "boat"], (300, 1)).astype(object),
    }
    tensors["numbers"][:30, 1] = np.nan
    for model in (StepChain(planted.steps), FusedModel(planted.steps, SCORE_RISK)):
        made = model.run(tensors)
        points = planted.details["points_per_log_odds"] * made["contributions"].sum(axis=1)
        distance = made["score"][:, 0] - planted.details["reference_score"]
        np.testing.assert_allclose(-points, distance, atol=0.01 * np.abs(distance).max() / 100)


def swept(candidate: Candidate, name: str, low: float, high: float) -> np.ndarray:
    """Return the probabilities ``(50, 201)`` of rows as one feature goes from low to high."""
    draws = np.random.default_rng(4)
    features = candidate.features
    place = [feature.name for feature in features].index(name)
    rows = np.array([[draws.uniform(f.minimum, f.maximum) for f in features] for _ in range(50)])
    rows[:10, 1] = rows[10:20, 0] = np.nan
    many = np.repeat(rows, 201, axis=0)
    many[:, place] = np.tile(np.linspace(low, high, 201), 50)
    made = FusedModel(candidate.steps, SCORE_RISK).run({"numbers": many.astype(np.float32)})
    return made["default_probability"].reshape(50, 201).astype(np.float64)


@pytest.mark.parametrize(("name", "sign"), [("debt", 1), ("income", -1)])
def test_a_constrained_feature_moves_the_risk_one_way_for_everybody(constrained, name, sign):
    steps = np.diff(swept(constrained, name, -1, 11), axis=1) * sign
    assert steps.min() >= -1e-6


def test_a_free_feature_moves_it_as_the_data_say(constrained):
    steps = np.diff(swept(constrained, "age", 20, 70), axis=1)
    assert steps.sum(axis=1).mean() > 0.2


def test_the_manifest_says_whether_trees_have_taught(constrained, planted, request):
    taught = request.node.callspec.id == "taught"
    assert ("90% what boosted trees answer" in constrained.data.protocol) == taught
    assert "boosted" not in planted.data.protocol
