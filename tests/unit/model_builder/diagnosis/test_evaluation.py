from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from model_builder.diagnosis.evaluation import (
    Held,
    balanced_accuracy,
    classwise_ece,
    confusion,
    judge,
)
from model_builder.diagnosis.report import Shown, page, reliability, roc
from model_builder.diagnosis.settings import DiagnosisSettings
from model_builder.evaluation.metrics import auc, ece
from triton_models.release import DataSource

SETTINGS = DiagnosisSettings(resamples=50, review_coverage=0.8)
LABELS = ("a", "b", "c")


def held(rows: int, seed: int, groups: bool = False) -> Held:
    draws = np.random.default_rng(seed)
    target = draws.integers(0, 3, rows)
    logits = draws.normal(size=(rows, 3)) + 2 * np.eye(3)[target]
    odds = np.exp(logits)
    return Held(
        target,
        odds / odds.sum(1, keepdims=True),
        draws.random(rows) * 1.1,
        np.where(np.arange(rows) % 4 == 0, "<old>", "young") if groups else None,
    )


JUDGED = judge(
    {"validation": held(200, 1), "test": held(300, 2, groups=True)}, LABELS, 0.7, SETTINGS
)


def test_each_class_has_its_auc_and_its_operating_points() -> None:
    test = JUDGED.metrics["test"]
    given = JUDGED.held["test"]
    for k, label in enumerate(LABELS):
        wanted = auc((given.target == k).astype(int), given.probabilities[:, k])
        assert test[f"auc[{label}]"].value == pytest.approx(wanted)
        assert f"sensitivity[{label}] at balanced" in test
    assert test["auc"].value == pytest.approx(np.mean([test[f"auc[{k}]"].value for k in LABELS]))
    assert test["auc"].low < test["auc"].value < test["auc"].high


def test_thresholds_come_from_the_first_split_alone() -> None:
    other = judge(
        {"validation": JUDGED.held["validation"], "test": held(80, 9)}, LABELS, 0.7, SETTINGS
    )
    assert other.points == JUDGED.points


def test_the_share_of_unusual_rows_is_measured() -> None:
    found = JUDGED.metrics["validation"]["unusual_share"]
    assert found.value == np.mean(JUDGED.held["validation"].unusualness > 1)


def test_subgroups_are_measured_by_themselves() -> None:
    assert JUDGED.groups["validation"] == {}
    groups = JUDGED.groups["test"]
    assert set(groups) == {"<old>", "young"}
    old = JUDGED.held["test"].part(np.arange(0, 300, 4))
    right = np.mean(old.probabilities.argmax(1) == old.target)
    assert groups["<old>"]["accuracy"].value == right


def test_a_subgroup_of_a_few_rows_is_left_out() -> None:
    given = held(60, 4)
    few = Held(given.target, given.probabilities, None, np.array(["x"] * 9 + ["y"] * 51))
    judged = judge({"test": few}, LABELS, 0.7, SETTINGS)
    assert set(judged.groups["test"]) == {"y"}
    text = page(Shown(DataSource(name="set", sha256="", rows=60), judged, {}, 1.3, ())).decode()
    rows = text[text.index("Subgroups") :].split("<tr>")
    assert any("x</td>" in row and "9</td>" in row and "fewer than 10" in row for row in rows)


def test_balanced_accuracy_counts_every_class_alike() -> None:
    target = np.array([0] * 9 + [1])
    always_first = np.tile([1.0, 0.0], (10, 1))
    assert balanced_accuracy(target, always_first) == 0.5


def test_the_error_of_each_class_sees_what_that_of_the_likeliest_averages_away() -> None:
    rows = np.arange(400)
    target = np.where(rows % 10 == 1, 0, rows % 2)  # each fifth that is said to be of 1 is of 0
    said = np.where(rows[:, None] % 2 == 0, [[0.9, 0.1]], [[0.1, 0.9]])
    assert ece(target, said) == pytest.approx(0)
    assert classwise_ece(target, said) == pytest.approx(0.1)


def test_confusion_has_the_classes_down_and_the_answers_across() -> None:
    given = Held(np.array([0, 0, 1]), np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7]]))
    assert confusion(given).tolist() == [[1, 1], [0, 1]]


def test_a_roc_curve_holds_its_auc() -> None:
    given = JUDGED.held["test"]
    truth, score = given.target == 1, given.probabilities[:, 1]
    false, found = roc(truth, score)
    area = float(np.sum(np.diff(false) * (found[1:] + found[:-1]) / 2))
    assert area == pytest.approx(auc(truth.astype(int), score))


def test_reliability_has_every_row_in_one_bin() -> None:
    bins = reliability(JUDGED.held["test"])
    assert sum(rows for _, _, rows in bins) == 300
    promised = [one for one, _, _ in bins]
    assert promised == sorted(promised)


def test_the_page_shows_everything_and_no_text_of_others_as_html() -> None:
    source = DataSource(name="<b>set</b>", sha256="", rows=500, findings=("8 rows leak",))
    shown = Shown(source, JUDGED, {"base_rate": {"test": JUDGED.metrics["test"]}}, 1.3, ("How.",))
    text = page(shown).decode()
    for part in ("8 rows leak", "How.", "Confusion", "Subgroups", "Operating points", "&lt;old&gt;",
                 "low confidence", "unusual evidence", "specificity 0.95"):  # fmt: skip
        assert part in text
    assert "<b>set" not in text
    assert text.count("<svg") == 4


def test_a_subgroup_of_one_class_hides_no_measure_of_the_others() -> None:
    groups = JUDGED.groups["test"]
    alone = {name: one for name, one in groups["<old>"].items() if name != "auc"}
    judged = replace(JUDGED, groups={"validation": {}, "test": groups | {"<old>": alone}})
    source = DataSource(name="set", sha256="", rows=500)
    text = page(Shown(source, judged, {}, 1.3, ())).decode()
    table = text[text.index("Subgroups") :]
    assert "auc" in table[: table.index("</table>")]


def test_what_cannot_be_measured_is_left_out() -> None:
    given = JUDGED.held["test"].part(np.flatnonzero(JUDGED.held["test"].target != 2))
    found = judge({"test": given}, LABELS, 0.7, SETTINGS).metrics["test"]
    assert "auc" not in found
    assert "auc[c]" not in found
    assert found["accuracy"].value > 0


def test_beside_the_calibration_error_stands_what_chance_makes_of_so_many_rows() -> None:
    few, many = (JUDGED.metrics[split]["ece_by_chance"] for split in ("validation", "test"))
    assert few.low < few.value < few.high
    assert many.value < few.value  # 300 rows show less than 200 leave open
