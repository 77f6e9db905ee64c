from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from manifests import manifest

from model_builder.errors import ConfigInvalid, GateRefused
from model_builder.evaluation.gate import DEFAULT_FILE, Gate, read_gate
from triton_models.release import DataSource, Latency, Manifest, Metric
from triton_models.signatures import SIGNATURES

LINE = "score-risk"


def measured(release: str = "new", split_sha256: str = "a", **values: float) -> Manifest:
    metrics = {
        name: Metric(value=value, low=value - 0.05, high=value + 0.05)
        for name, value in values.items()
    }
    data = DataSource(name="german-credit", sha256="0" * 64, rows=9, split_sha256=split_sha256)
    return manifest(LINE, release, metrics={"test": metrics}, data=data)


def outcome(
    rules: dict[str, Any], new: Manifest, promoted: Manifest | None = None, size: int = 1
) -> dict[str, tuple[bool, str, str]]:
    gate = Gate.model_validate({"lines": {LINE: rules}})
    return {
        one.name: (one.passed, one.wanted, one.found) for one in gate.checks(new, promoted, size)
    }


def test_floors_ceilings_and_calibration_bound_what_was_measured() -> None:
    rules = {
        "floors": {"test": {"auc": 0.8}},
        "ceilings": {"test": {"brier": 0.2}},
        "calibration": {"test": {"ece": 0.1}},
    }
    assert outcome(rules, measured(auc=0.8, brier=0.2, ece=0.11)) == {
        "floor: test auc": (True, "at least 0.8", "0.8000"),
        "ceiling: test brier": (True, "at most 0.2", "0.2000"),
        "calibration: test ece": (False, "at most 0.1", "0.1100"),
    }


def test_what_must_hold_and_was_not_measured_is_refused() -> None:
    found = outcome({"floors": {"validation": {"auc": 0.5}}}, measured(auc=0.9))
    assert found == {"floor: validation auc": (False, "at least 0.5", "not measured")}


def test_nan_passes_nothing() -> None:
    rules = {"floors": {"test": {"auc": 0}}, "ceilings": {"test": {"brier": 9}}}
    nan = Metric(value=float("nan"), low=0, high=1)
    new = manifest(LINE, metrics={"test": {"auc": nan, "brier": nan}})
    assert [passed for passed, _, _ in outcome(rules, new).values()] == [False, False]


def test_fairness_is_looked_at_where_it_is_measured() -> None:
    rules = {"fairness": {"test": {"equal_opportunity_difference": 0.1}}}
    assert outcome(rules, measured(auc=0.9)) == {}
    ((passed, _, _),) = outcome(rules, measured(equal_opportunity_difference=0.2)).values()
    assert not passed


def test_fairness_may_be_bounded_in_the_split_of_either_kind_of_table() -> None:
    bound = {"equal_opportunity_difference": 0.1}
    found = outcome({"fairness": {"validation": bound, "test": bound}},
                    measured(equal_opportunity_difference=0.05))  # fmt: skip
    assert found == {"fairness: test equal_opportunity_difference": (True, "at most 0.1", "0.0500")}


def test_a_rule_of_fairness_that_looks_past_what_is_measured_is_refused() -> None:
    rules = {"fairness": {"cv": {"equal_opportunity_difference": 0.1}}}
    assert outcome(rules, measured(equal_opportunity_difference=0.05)) == {
        "fairness: cv equal_opportunity_difference": (False, "at most 0.1", "not measured")
    }


@pytest.mark.parametrize(
    ("values", "passed"),
    [
        ({"auc": 0.80, "brier": 0.20}, (True, True)),
        ({"auc": 0.75, "brier": 0.25}, (True, True)),
        ({"auc": 0.74, "brier": 0.20}, (False, True)),
        ({"auc": 0.90, "brier": 0.26}, (True, False)),
        ({"auc": 0.90}, (True, False)),
    ],
    ids=["as good", "within the interval", "worse auc", "worse brier", "not measured"],
)
def test_worse_is_beyond_the_interval_of_what_answers_now(
    values: dict[str, float], passed: tuple[bool, bool]
) -> None:
    rules = {"not_worse_than_promoted": {"metrics": ["auc", "brier", "ks"]}}
    found = outcome(rules, measured(**values), measured("old", auc=0.8, brier=0.2))
    assert tuple(one for one, _, _ in found.values()) == passed
    assert found["not worse than old: test auc"][1] == "at least 0.7500 (it has 0.8000)"


def test_less_difference_between_groups_is_not_worse() -> None:
    name = "equal_opportunity_difference"
    rules = {"not_worse_than_promoted": {"metrics": [name]}}
    for value, passed in ((0.05, True), (0.16, False)):
        ((found, _, _),) = outcome(
            rules, measured(**{name: value}), measured("old", **{name: 0.1})
        ).values()
        assert found is passed


def test_the_first_release_of_a_line_is_compared_with_nothing() -> None:
    assert outcome({"not_worse_than_promoted": {"metrics": ["auc"]}}, measured(auc=0.1)) == {}


def test_a_comparison_on_other_rows_says_so() -> None:
    rules = {"not_worse_than_promoted": {"metrics": ["auc"]}}
    found = outcome(rules, measured(auc=0.8), measured("old", "b", auc=0.8))
    assert found["not worse than old: test auc"][2] == "0.8000, on other rows"


def test_size_and_latency_are_bounded() -> None:
    slow = measured(auc=0.9).model_copy(
        update={"latency": {"fused": Latency(rows=1, samples=9, median_ms=12.5, p95_ms=20)}}
    )
    assert outcome({"size_bytes": 100, "latency_ms": 12}, slow, size=101) == {
        "size": (False, "at most 100 bytes", "101 bytes"),
        "latency, median of one row": (False, "at most 12 ms", "12.5 ms"),
    }


def test_a_line_without_rules_is_looked_at_by_nobody() -> None:
    assert Gate().checks(measured(auc=0), None, 1) == ()


def test_the_rules_that_come_along_are_of_every_line_and_of_no_other() -> None:
    assert read_gate().lines.keys() == SIGNATURES.keys()
    assert DEFAULT_FILE.name == "gate.yaml"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lines: [", "no YAML"),
        ("lines: {score-risk: {flors: {}, size_bytes: 0}}", r"flors: Extra"),
        ("[]", "valid dictionary"),
    ],
)
def test_a_gate_that_cannot_be_read_names_everything(
    text: str, message: str, tmp_path: Path
) -> None:
    file = tmp_path / "gate.yaml"
    file.write_text(text)
    with pytest.raises(ConfigInvalid, match=message):
        read_gate(file)


def test_a_refusal_names_what_failed_and_only_that() -> None:
    gate = Gate.model_validate({"lines": {LINE: {"floors": {"test": {"auc": 0.9, "ks": 0.1}}}}})
    error = GateRefused("score-risk/new", gate.checks(measured(auc=0.8, ks=0.2), None, 1))
    assert str(error) == (
        "the gate refuses score-risk/new:\n  floor: test auc: wanted at least 0.9, found 0.8000"
    )
    assert error.exit_code == 3
