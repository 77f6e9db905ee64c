"""Deciles, fairness and distributions, on rows whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from model_builder.risk.deciles import deciles
from model_builder.risk.distributions import counted, distributions
from model_builder.risk.fairness import equal_opportunity_difference, fairness, share
from model_builder.tabular.columns import Column
from model_builder.tabular.table import Table
from triton_models.release import FeatureSpec, GroupFairness

NAN = float("nan")


def test_deciles_go_from_the_riskiest_and_say_what_happened():
    target = np.zeros(1000, np.int64)
    target[:100] = 1
    probabilities = np.linspace(1, 0, 1000)
    made = deciles(target, probabilities)
    assert [each.rows for each in made] == [100] * 10
    assert (made[0].happened.value, made[0].lift.value, made[0].captured) == (1, 10, 1)
    assert made[9].happened.value == 0
    assert made[0].promised > made[9].promised
    assert made[4].happened.low <= 0 < made[4].happened.high < 0.05


def test_a_share_has_an_interval_that_holds_it():
    found = share(np.array([True] * 3 + [False] * 7))
    assert found.low < found.value == 0.3 < found.high
    assert share(np.array([True])).high == 1


def people(sex, age, target) -> Table:
    columns = (
        Column("sex", "category", protected=True),
        Column("age", "quantity", protected=True),
        Column("income", "quantity"),
    )
    values = {
        "sex": np.array(sex, object),
        "age": np.array(age, float),
        "income": np.ones(len(sex)),
    }
    return Table(columns, values, np.array(target, np.int64), ("paid", "default"))


def test_groups_are_compared_with_the_one_that_is_approved_most():
    sex = ["f"] * 50 + ["m"] * 50 + [""] * 20
    target = ([1] * 10 + [0] * 40) * 2 + [0] * 20
    table = people(sex, [30.0] * 120, target)
    scores = np.array([500.0] * 10 + [700.0] * 40 + [500.0] * 30 + [700.0] * 20 + [700.0] * 20)
    found = {g.group: g for g in fairness(table, np.arange(120), np.full(120, 0.2), scores, 600)
             if g.attribute == "sex"}  # fmt: skip
    assert found["f"].approval_rate.value == 0.8
    assert found["m"].approval_rate.value == 0.4
    assert found["not known"].approval_ratio == 1
    assert found["m"].approval_ratio == pytest.approx(0.4)
    assert found["f"].paid_approval_rate.value == 1
    assert found["m"].paid_approval_rate.value == 0.5
    assert (found["m"].promised, found["m"].happened.value) == (pytest.approx(0.2), 0.2)


def test_a_number_is_parted_into_quarters_and_small_groups_are_left_out():
    table = people(["f"] * 95 + ["m"] * 5, np.arange(100) / 2, [0, 1] * 50)
    found = fairness(table, np.arange(100), np.full(100, 0.5), np.full(100, 600.0), 600)
    assert [g.group for g in found if g.attribute == "sex"] == ["f"]
    ages = [g for g in found if g.attribute == "age"]
    assert len(ages) == 4
    assert sum(g.rows for g in ages) == 100
    assert {g.attribute for g in found} == {"sex", "age"}


def groups_of(*groups: tuple[str, str, int, int]) -> list[GroupFairness]:
    """Attribute, group, how many paid back, and how many of these are approved; as many do not."""
    return [
        GroupFairness(
            attribute=attribute,
            group=name,
            rows=2 * paid,
            approval_rate=share(np.arange(2 * paid) < paid),
            approval_ratio=None,
            paid_approval_rate=share(np.arange(paid) < approved),
            promised=0.5,
            happened=share(np.arange(2 * paid) < paid),
        )
        for attribute, name, paid, approved in groups
    ]


def test_equal_opportunity_is_of_the_two_groups_of_an_attribute_that_are_furthest_apart():
    found = equal_opportunity_difference(
        groups_of(
            ("sex", "f", 100, 70), ("sex", "m", 100, 80), ("sex", "not known", 50, 45),
            ("age", "young", 100, 10), ("age", "old", 29, 29),
        )
    )  # fmt: skip
    assert found is not None
    assert found.value == pytest.approx(0.2), "29 are too few to be compared with"
    assert 0 < found.low < 0.2 < found.high < 0.4


def test_the_interval_of_equal_opportunity_is_newcombes():
    # 56 of 70 and 48 of 80: his own example, method 10 (Newcombe 1998, table II, column a).
    found = equal_opportunity_difference(groups_of(("sex", "f", 70, 56), ("sex", "m", 80, 48)))
    assert found is not None
    assert (found.low, found.value, found.high) == pytest.approx((0.0524, 0.2, 0.3339), abs=1e-4)


def test_without_two_groups_of_enough_who_paid_there_is_no_equal_opportunity():
    assert equal_opportunity_difference([]) is None
    assert (
        equal_opportunity_difference(groups_of(("sex", "f", 90, 9), ("age", "40", 90, 9))) is None
    )
    assert equal_opportunity_difference(groups_of(("sex", "f", 30, 9), ("sex", "m", 29, 9))) is None
    assert equal_opportunity_difference(groups_of(("sex", "f", 30, 9), ("sex", "m", 30, 9)))


FEATURES = (
    FeatureSpec(name="score", kind="number", minimum=0, maximum=9, typical=5.0,
                special_codes={-9.0: "no record"}),
    FeatureSpec(name="grade", kind="number", codes=(1.0, 2.0), typical=1.0),
    FeatureSpec(name="home", kind="category", categories=("own", "rent"), typical="own"),
)  # fmt: skip
VALUES = (
    np.array([*np.arange(90) / 10, *[-9.0] * 8, NAN, NAN]),
    np.array([1.0] * 60 + [2.0] * 39 + [NAN]),
    np.array(["own"] * 70 + ["rent"] * 28 + [""] * 2, object),
)


def test_every_row_lies_in_one_bin_and_codes_have_their_own():
    made = distributions(FEATURES, VALUES, np.linspace(300, 850, 100))
    assert [(each.name, each.kind) for each in made] == [
        ("score", "number"), ("grade", "number"), ("home", "category"), ("score", "score"),
    ]  # fmt: skip
    assert {sum(each.counts) for each in made} == {100}
    assert made[0].counts[-3:] == (8, 0, 2)
    assert min(made[0].counts[:10]) >= 8
    assert made[1].counts[-4:] == (60, 39, 0, 1)
    assert made[2].counts == (70, 28, 0, 2)


def test_a_category_that_was_never_seen_is_counted_apart():
    *_, home, _ = distributions(FEATURES, VALUES, np.linspace(300, 850, 100))
    assert counted(home, np.array(["own", "castle", ""], object)).counts == (1, 0, 1, 1)
