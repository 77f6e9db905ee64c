from __future__ import annotations

import pytest

from gateway.domains.validation import (
    MAX_REPORTED,
    Violations,
    check_count,
    check_ids,
    check_range,
    check_text,
    entry,
    shown,
)
from gateway.errors import InvalidRequest


def test_nothing_wrong_raises_nothing() -> None:
    Violations().raise_if_any()


def test_all_violations_are_raised_at_once() -> None:
    violations = Violations()
    check_range(violations, "item_count", 101, 0, 100)
    check_text(violations, "note", "", 1, 20)
    check_count(violations, "values", [], 1, 10)
    with pytest.raises(InvalidRequest) as raised:
        violations.raise_if_any()
    assert raised.value.violations == {
        "item_count": "must be in [0, 100], got 101",
        "note": "must have 1 to 20 characters, got 0",
        "values": "must have 1 to 10 entries, got 0",
    }


def test_a_collector_below_adds_its_prefix_to_what_both_share() -> None:
    violations = Violations()
    violations.below("requests[3].").below("image.").add("content", "is empty")
    assert violations.found == {"requests[3].image.content": "is empty"}


def test_the_first_complaint_about_a_field_counts() -> None:
    violations = Violations()
    violations.add("a", "first")
    violations.add("a", "second")
    assert violations.found == {"a": "first"}


def test_a_hostile_request_cannot_make_endless_violations() -> None:
    violations = Violations()
    for place in range(MAX_REPORTED + 5):
        violations.add(f"ids[{place}]", "is empty")
    assert len(violations.found) == MAX_REPORTED


@pytest.mark.parametrize(("value", "accepted"), [(-1, False), (0, True), (100, True), (101, False)])
def test_a_range_holds_its_ends(value: int, accepted: bool) -> None:
    violations = Violations()
    check_range(violations, "item_count", value, 0, 100)
    assert (not violations.found) is accepted


@pytest.mark.parametrize(
    ("text", "accepted"),
    [("", False), ("a", True), ("äöü", True), ("abcd", False), ("a\0", False), ("😀" * 3, True)],
    ids=["empty", "one", "umlauts", "long", "nul", "emoji"],
)
def test_a_text_is_measured_in_characters_and_has_no_nul(text: str, accepted: bool) -> None:
    violations = Violations()
    check_text(violations, "note", text, 1, 3)
    assert (not violations.found) is accepted


def test_each_bad_id_is_named_by_its_place() -> None:
    violations = Violations()
    check_ids(violations, "ids", ["a", "", "b" * 257, "c" * 256, "d\0"], 5)
    assert list(violations.found) == ["ids[1]", "ids[2]", "ids[4]"]


def test_a_list_that_is_too_long_is_one_violation() -> None:
    violations = Violations()
    check_ids(violations, "ids", [""] * 6, 5)
    assert violations.found == {"ids": "must have at most 5 entries, got 6"}


def test_keys_and_values_are_quoted_and_long_values_cut() -> None:
    assert entry("features", 'a"b\n') == r'features["a\"b\n"]'
    assert shown("x" * 1000) == '"' + "x" * 58 + "…"
    assert shown(1.5) == "1.5"
