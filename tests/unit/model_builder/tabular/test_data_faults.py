"""Each fault that real credit data has: what a build says of it, and what it makes of it."""

from __future__ import annotations

import numpy as np
import pytest

from model_builder.errors import DataFault
from model_builder.tabular.encoding import fit_encoding
from model_builder.tabular.loading import load_table
from model_builder.tabular.preparation import prepare
from model_builder.tabular.schema import infer_features
from model_builder.tabular.schema_file import beside
from model_builder.tabular.targets import outcome_target
from model_builder.task import ResolvedData
from triton_models import signatures as rules

ROWS = 60


def columns(**changes):
    """A small sound table; ``changes`` are columns by name, of cells."""
    draws = np.random.default_rng(5)
    sound = {
        "income": draws.integers(1000, 9000, ROWS).tolist(),
        "home": draws.choice(["rent", "own"], ROWS).tolist(),
        "bad": [i % 2 for i in range(ROWS)],
    }
    return {**changes, **sound} if "bad" not in changes else {**sound, **changes}


def load(write, heard, schema=None, **changes):
    table = columns(**changes)
    lines = [",".join(table), *(",".join(map(str, row)) for row in zip(*table.values(),
             strict=True))]  # fmt: skip
    path = write("loans.csv", "\n".join(lines))
    if schema is not None:
        beside(path).write_text(schema)
    return load_table(ResolvedData("loans.csv", path, "", label="bad"), outcome_target, heard)


def features_of(table):
    return {f.name: f for f in infer_features(table, np.arange(len(table)))}


def served(table, name, *values):
    """Return the rule that fires for each value of one feature, the others being typical."""
    features = infer_features(table, np.arange(len(table)))
    encoding = fit_encoding(features, table.numbers, table.categories)
    fired = []
    for value in values:
        row = {f.name: f.typical for f in features} | {name: value}
        numbers = [row[f.name] for f in features if f.kind == "number"]
        words = [row[f.name] for f in features if f.kind == "category"]
        _, rule = prepare(encoding, np.array([numbers], np.float32), np.array([words], object))
        fired.append(int(rule[0, [f.name for f in features].index(name)]))
    return fired


def test_a_sound_table_is_not_complained_of(write, heard):
    table = load(write, heard)
    assert table.findings == ()
    assert [column.name for column in table.columns] == ["income", "home"]


def test_a_constant_column_is_named_and_left_out(write, heard):
    table = load(write, heard, branch=["north"] * ROWS)
    assert table.findings == ("loans.csv: column 'branch' holds 1 value; left out.",)
    assert "branch" not in [column.name for column in table.columns]


def test_repeated_ids_are_named_and_no_feature(write, heard):
    table = load(write, heard, loan_id=[7, 7, *range(100, 98 + ROWS)])
    said = "column 'loan_id' holds IDs, 1 rows repeat another's or have none; left out."
    assert table.findings == (f"loans.csv: {said}",)


def test_numbers_in_strings_are_read_as_numbers(write, heard):
    table = load(write, heard, limit=[f"${i}000" for i in range(1, ROWS + 1)])
    assert "60 numbers written as texts, such as '$1000'" in table.findings[0]
    assert table.values["limit"].tolist() == [1000.0 * i for i in range(1, ROWS + 1)]


def test_a_text_among_numbers_is_refused_by_its_row(write, heard):
    with pytest.raises(DataFault, match=r"row 4, column 'age_now': expected a number, found 'x'"):
        load(write, heard, age_now=[30, 40, "x", *range(20, 17 + ROWS)])


@pytest.mark.parametrize("kind", ["number", "turned", "category", "missing"])
def test_a_column_that_knows_the_outcome_is_named(write, heard, kind):
    cells = {
        "number": [i % 2 * 10 + i / 100 for i in range(ROWS)],
        "turned": [-(i % 2) * 10 + i / 100 for i in range(ROWS)],
        "category": [("no", "yes")[i % 2] for i in range(ROWS)],
        "missing": ["" if i % 2 else i for i in range(ROWS)],
    }[kind]
    table = load(write, heard, collected=cells)
    (line,) = table.findings
    assert "column 'collected' alone tells the outcome (AUC 1.000)" in line
    assert ("whether there is a value" in line) == (kind == "missing")


def test_special_codes_are_named_and_kept_off_the_scale(write, heard):
    score = [*[-9] * 10, *range(300, 300 + ROWS - 10)]
    table = load(write, heard, score=score)
    assert "seems to have special codes: -9" in table.findings[0]
    feature = features_of(table)["score"]
    assert feature.special_codes == {-9: "special value -9"}
    assert (feature.minimum, feature.maximum) == (300, 349)
    assert served(table, "score", -9.0, -8.0, 299.0, 350.0) == [
        rules.RULE_NONE,
        rules.RULE_CLIPPED_TO_MINIMUM,
        rules.RULE_CLIPPED_TO_MINIMUM,
        rules.RULE_CLIPPED_TO_MAXIMUM,
    ]


def test_an_unknown_category_is_missing(write, heard):
    table = load(write, heard)
    assert served(table, "home", "castle", "rent", "") == [
        rules.RULE_UNKNOWN_AS_MISSING,
        rules.RULE_NONE,
        rules.RULE_IMPUTED,
    ]


@pytest.mark.parametrize(
    ("rule", "fires"),
    [
        ("clip", rules.RULE_CLIPPED_TO_MAXIMUM),
        ("impute", rules.RULE_OUT_OF_RANGE_AS_MISSING),
        ("refuse", rules.RULE_OUT_OF_RANGE_AS_MISSING),  # the gateway refuses before
    ],
)
def test_the_schema_decides_what_happens_beyond_the_range(write, heard, rule, fires):
    schema = f"columns: {{income: {{minimum: 0, maximum: 10000, unknown_rule: {rule}}}}}"
    table = load(write, heard, schema)
    assert features_of(table)["income"].unknown_rule == rule
    assert served(table, "income", 10001.0, 9999.0) == [fires, rules.RULE_NONE]


def test_the_schema_names_codes_missing_values_and_what_is_protected(write, heard):
    schema = """
label: bad
columns:
  income: {special_codes: {-1: none stated}, monotonic: decreasing, missing_rule: refuse}
  home: {missing_values: [own], protected: true, description: Home}
"""
    table = load(write, heard, schema)
    made = features_of(table)
    assert made["income"].special_codes == {-1: "none stated"}
    assert (made["income"].monotonic, made["income"].missing_rule) == ("decreasing", "refuse")
    assert made["home"].protected
    assert made["home"].categories == ("rent",)
    assert table.findings == ("loans.csv: read with the schema loans.schema.yaml.",)


def test_the_schema_leaves_columns_out_and_brings_them_back(write, heard):
    schema = "columns: {home: {type: left out}, loan_id: {type: quantity}}"
    table = load(write, heard, schema, loan_id=[*range(100, 100 + ROWS)])
    assert sorted(column.name for column in table.columns) == ["income", "loan_id"]


def test_the_schema_says_what_the_outcomes_mean(write, heard):
    schema = "outcomes: {settled: paid, written: default}"
    table = load(write, heard, schema, bad=[("settled", "written")[i % 2] for i in range(ROWS)])
    assert table.target.tolist() == [i % 2 for i in range(ROWS)]


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ("columns: {incme: {unit: EUR}}", "expected a column of the data, found 'incme'"),
        ("columns: {home: {monotonic: increasing}}", "column 'home': expected no monotonic"),
        ("columns: {home: {unknown_rule: clip}}", "expected unknown_rule impute or refuse"),
        ("columns: {income: {minimum: 5, maximum: 5}}", "expected a minimum below the maximum"),
        ("columns: {income: {colour: red}}", "column 'columns.income.colour'"),
        ("columns: [", "expected a schema in YAML"),
    ],
)
def test_a_schema_that_cannot_be_is_refused(write, heard, schema, said):
    with pytest.raises(DataFault) as refused:
        load(write, heard, schema)
    assert said in str(refused.value)
