from __future__ import annotations

from pathlib import Path

import pytest
import toy_release
from manifests import FEATURES, manifest
from spoiled import best_is_no_number, one_percent_more

from model_builder.release_diff import Row, compare_files, compare_releases
from triton_models.release import Latency, Manifest, Metric
from triton_models.store import ReleaseStore

LINE = toy_release.LINE
STEPS = ("encode", "score", "decode")


def of_auc(release: str, value: float, **changes: object) -> Manifest:
    metric = Metric(value=value, low=value - 0.05, high=value + 0.05)
    return manifest(LINE, release, metrics={"test": {"auc": metric}}, **changes)


def found(one: Manifest, other: Manifest) -> dict[str, Row]:
    return {f"{row.part} {row.name}": row for row in compare_releases(one, other)}


def test_releases_that_are_alike_have_no_rows_unless_all_are_wanted() -> None:
    one = of_auc("a", 0.8)
    assert compare_releases(one, one) == []
    assert compare_releases(one, one, everything=True)


def test_a_metric_says_how_far_it_moved_and_whether_beyond_the_interval() -> None:
    near = found(of_auc("a", 0.8), of_auc("b", 0.82))["metrics test auc"]
    assert (near.one, near.remark) == ("0.8000 [0.7500, 0.8500]", "+0.0200")
    far = found(of_auc("a", 0.8), of_auc("b", 0.7))["metrics test auc"]
    assert far.remark == "-0.1000, beyond the interval"
    other = of_auc("b", 0.8).model_copy(update={"metrics": {"test": {}}})
    assert found(of_auc("a", 0.8), other)["metrics test auc"].other == "–"


def test_data_code_settings_schema_and_latency_are_compared() -> None:
    one = of_auc("a", 0.8, features=FEATURES, git_commit="abc", hyperparameters={"t": {"x": 1}})
    fast = Latency(rows=1, samples=9, median_ms=1.25, p95_ms=2)
    changed = {
        "features": FEATURES[:-1],
        "git_commit": "def",
        "hyperparameters": {"t": {"x": 2}},
        "latency": {"fused": fast},
        "data": one.data.model_copy(update={"rows": 1200}),
    }
    rows = found(one, one.model_copy(update=changed))
    assert {name: (row.one, row.other) for name, row in rows.items()} == {
        "data rows": ("1000", "1200"),
        "code commit": ("abc", "def"),
        "settings t.x": ("1", "2"),
        "schema feature purpose": ("category of car, radio", "–"),
        "latency fused, one row": ("–", "1.25 ms (p95 2)"),
    }


@pytest.fixture
def store(tmp_path: Path, quick_torch: None) -> ReleaseStore:
    return ReleaseStore(tmp_path / "store")


def test_answers_that_changed_on_the_golden_inputs_are_counted(store: ReleaseStore) -> None:
    one = toy_release.publish(store, "one")
    same = toy_release.publish(store, "same")
    other = toy_release.publish(store, "other", change_onnx={"fused": one_percent_more})
    assert compare_files(store, one, same) == []
    alike = compare_files(store, one, same, everything=True)
    assert {row.name for row in alike if row.part == "size"} == {"fused", *STEPS}
    assert all(row.one == row.other != "" for row in alike if row.part == "size")
    assert {row.name: row.other for row in alike if row.part == "answers"} == dict.fromkeys(
        ("default_probability", "score", "contributions", "input_rules"), "0 of 32 differ"
    )
    rows = {row.name: row for row in compare_files(store, one, other)}
    assert rows.keys() == {"fused", "score"}
    assert rows["score"].other == "32 of 32 differ"
    assert rows["fused"].part == "size"


def test_an_answer_that_is_no_number_differs_from_one_that_is(store: ReleaseStore) -> None:
    one = toy_release.publish(store, "one")
    spoiled, too = (
        toy_release.publish(store, name, change_onnx={"fused": best_is_no_number})
        for name in ("spoiled", "too")
    )
    for pair in ((one, spoiled), (spoiled, one)):
        rows = {row.name: row for row in compare_files(store, *pair)}
        count = int(rows["score"].other.removesuffix(" of 32 differ"))
        assert 1 <= count < 32, "some rows are as good as the best"
        assert rows["score"].remark == "by inf at most"
    assert compare_files(store, spoiled, too) == []
