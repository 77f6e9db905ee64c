from __future__ import annotations

import io
from pathlib import Path

import manifests
import pytest
from rich.console import Console

from model_builder import terminal
from model_builder.build import stage_release
from model_builder.report import metric_names, metric_text, model_card
from triton_models.plans import Plan
from triton_models.release import Check, Latency, Manifest, Metric, Parity, Stages, WarmStart


@pytest.fixture
def manifest(candidate, toy, tmp_path: Path) -> Manifest:
    return stage_release(candidate, toy.config_type(), "r1", tmp_path)


def printed(*renderables: object) -> str:
    console = Console(file=io.StringIO(), width=160)
    for renderable in renderables:
        console.print(renderable)
    return console.file.getvalue()


def test_the_card_warns_of_made_up_data(manifest) -> None:
    assert "**Built from made-up data." in model_card(manifest)
    real = manifest.model_copy(
        update={"data": manifest.data.model_copy(update={"generated": False})}
    )
    assert "made-up" not in model_card(real)


def test_the_card_holds_what_a_person_should_know(manifest) -> None:
    card = model_card(manifest, ["auc"])
    auc = metric_text(manifest.metrics["test"]["auc"])
    for line in (
        "# score-risk/r1",
        f"| auc | {auc} | {auc} |",
        "| test | this release | coin |",
        "| encode | pre | `score-risk__r1__encode` |",
        "| purpose | category |  |  |",
        "| learning_rate | 0.1 |",
        f"| data sha256 | {manifest.data.sha256} |",
    ):
        assert line in card, line


def test_the_card_says_what_a_release_went_on_from(manifest) -> None:
    assert "went on from" not in model_card(manifest)
    start = WarmStart(release="recommend/old", items_kept=12, items_unseen=1, items_new=2)
    card = model_card(manifest.model_copy(update={"warm_start": start}))
    assert (
        "| went on from | recommend/old: 12 items kept their vectors (1 of them are not in this "
        "log), 2 are new |"
    ) in card


@pytest.mark.parametrize("kept", [True, False])
def test_the_card_says_what_each_stage_of_a_recommender_is_worth(manifest, kept: bool) -> None:
    alone = Metric(value=0.1, low=0.05, high=0.15)
    stages = Stages(
        shortlist=200,
        found={"test": 0.5},
        first_stage={"test": {"auc": alone}},
        ranker_kept=kept,
        ranker_gain=0.002 if kept else -0.001,
    )
    card = model_card(manifest.model_copy(update={"stages": stages}), ["auc", "other"])
    both = metric_text(manifest.metrics["test"]["auc"])
    assert f"| test | auc | {metric_text(alone)} | {both} | 50.0% |" in card
    assert ("no better (-0.0010" in card) == (not kept)
    assert ("orders them (+0.0020" in card) == kept


def test_a_bar_in_a_text_does_not_break_the_table(manifest) -> None:
    data = manifest.data.model_copy(update={"protocol": "a | b\nc"})
    assert "| protocol | a \\| b c |" in model_card(manifest.model_copy(update={"data": data}))


def test_the_headline_comes_first(manifest) -> None:
    metric = Metric(value=1, low=1, high=1)
    many = manifest.model_copy(update={"metrics": {"test": dict.fromkeys("abc", metric)}})
    assert metric_names(many, "test", ["c", "x"]) == ["c", "a", "b"]


def test_a_metric_shows_its_interval() -> None:
    assert metric_text(Metric(value=0.5, low=0.25, high=0.75)) == "0.5000 [0.2500, 0.7500]"
    assert metric_text(None) == "–"


def test_the_closing_table_shows_metrics_beside_baselines(manifest) -> None:
    lines = printed(*terminal.metrics_tables(manifest, ["auc"])).splitlines()
    auc = metric_text(manifest.metrics["test"]["auc"])
    assert lines[0].split() == ["test", "this", "release", "coin"]
    assert lines[1].split() == ["auc", *auc.split(), *auc.split()]


def test_the_closing_table_shows_all_metrics_without_a_headline(manifest) -> None:
    metrics = {"test": dict.fromkeys(("one", "two"), Metric(value=1, low=1, high=1))}
    text = printed(*terminal.metrics_tables(manifest.model_copy(update={"metrics": metrics}), []))
    assert "one" in text
    assert "two" in text


@pytest.mark.parametrize(
    ("count", "text"), [(999, "999 B"), (1500, "1.5 kB"), (2_340_000, "2.3 MB")]
)
def test_sizes_are_readable(manifest, count: int, text: str) -> None:
    sizes = dict.fromkeys(("encode", "score", "decode"), count)
    assert text in printed(terminal.steps_table(manifest, sizes))


def test_parity_is_shown_with_its_tolerance(manifest) -> None:
    line = next(
        line
        for line in printed(terminal.parity_table(manifest)).splitlines()
        if line.startswith("score")
    )
    assert line.split()[1::3] == ["1000", "0.01"]


def test_nested_settings_have_a_line_each(manifest) -> None:
    card = model_card(manifest)
    assert "| training.optimizer | adamw |" in card
    assert "| training |" not in card


def test_the_card_shows_proof_latency_and_verdict_of_a_release_that_has_them() -> None:
    parity = Parity(compared="torch-served", rows=200, tolerance=0.01, max_difference=4e-5)
    release = manifests.manifest(
        "score-risk",
        served_parity={"fused": {"score": parity}, "gateway": {}},
        latency={"fused": Latency(rows=1, samples=50, median_ms=0.884, p95_ms=1.2)},
        checks=(Check(name="size", wanted="at most 1", found="2", passed=False),),
        verdict="refused",
    )
    card = model_card(release)
    for text in (
        "| output | rows | fused | gateway |",
        "| score | 200 | 4e-05 | – |",
        "| fused | 0.884 ms | 1.2 ms |",
        "Refused.\n",
        "| size | at most 1 | 2 | refused |",
    ):
        assert text in card, text
    table = printed(terminal.checks_table(release.checks))
    assert "at most 1" in table
    assert "refused" in table


def test_the_card_says_whether_tensorrt_takes_the_cores_and_why_not(manifest) -> None:
    assert "| score | ready |  |" in model_card(manifest)
    found = manifest.tensorrt["score"].model_copy(
        update={"ready": False, "because": ("n0 (Det): no", "n1 (Unique): no")}
    )
    card = model_card(manifest.model_copy(update={"tensorrt": {"score": found}}))
    assert "| score | not ready | n0 (Det): no; n1 (Unique): no |" in card
    assert "TensorRT" not in model_card(manifest.model_copy(update={"tensorrt": {}}))


def test_the_card_shows_each_plan_with_what_it_is_for(manifest) -> None:
    plan = Plan(
        step="score", file="m/1/sm_90-trt10.13.3.9.plan", compute_capability="9.0",
        tensorrt="10.13.3.9", precision="fp16", difference={"logit": 0.002, "other": 0.0},
    )  # fmt: skip
    card = model_card(manifest.model_copy(update={"plans": (plan,)}))
    row = "| score | sm_90-trt10.13.3.9.plan | fp16 | sm_90 | 10.13.3.9 | 0.002 |"
    assert row in card
