from __future__ import annotations

import polars as pl
import pytest

from model_builder.recsys.cells import (
    MAX_ID_LENGTH,
    clock_for,
    id_rules,
    read_ratings,
    seconds_in_a_unit,
)


def texts(*cells: str | None) -> pl.Series:
    return pl.Series(cells, dtype=pl.String)


def wrong(cells: pl.Series) -> list[tuple[str, list[bool]]]:
    return [(expected, where.to_list()) for _, expected, where in id_rules("item", cells)
            if where.any()]  # fmt: skip


def test_an_id_must_be_there():
    assert wrong(texts("a", "", None)) == [("an ID", [False, True, True])]


@pytest.mark.parametrize(
    ("item_id", "expected"),
    [
        ("x" * (MAX_ID_LENGTH + 1), "an ID of at most 256 characters"),
        ("a\0b", "an ID without NUL"),
    ],
)
def test_an_id_that_no_request_could_carry_is_refused(item_id, expected):
    assert wrong(texts("a", item_id, None))[1:] == [(expected, [False, True, False])]


def test_an_id_of_just_the_longest_length_is_accepted():
    assert wrong(texts("ä" * MAX_ID_LENGTH)) == []


def test_ratings_are_numbers_or_nothing():
    ratings, bad = read_ratings(texts("4.5", "", None, "good", "nan", "-inf"))
    assert bad.to_list() == [False, False, False, True, False, False]
    assert ratings[:4].to_list() == [4.5, None, None, None]
    assert ratings[4:].is_finite().to_list() == [False, False]


@pytest.mark.parametrize("text", ["1", "-1", "1.5", "1e3", "0"])
def test_finite_numbers_are_times(text):
    times, bad = clock_for(texts(text)).read(texts(text))
    assert times.to_list() == [float(text)]
    assert not bad.any()


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "1,5", "true", "1 2", "2026-13-01", ""])
def test_anything_else_is_no_time(text):
    clock = clock_for(texts("5", text))
    assert clock.expected == "a finite number"
    assert clock.read(texts("5", text, None))[1].to_list() == [False, True, True]


def test_whole_numbers_stay_exact_beside_one_that_is_none():
    nanoseconds = 1_700_000_000_123_456_789
    times, bad = clock_for(texts("5")).read(texts(str(nanoseconds), "soon"))
    assert times.to_list() == [nanoseconds, None]
    assert bad.to_list() == [False, True]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2000-01-01", 946_684_800.0),
        ("2000-01-01 00:00", 946_684_800.0),
        ("2000-01-01T00:00:01", 946_684_801.0),
        ("2000-01-01 00:00:01.25", 946_684_801.25),
        ("2000-01-01T00:00:01Z", 946_684_801.0),
        ("2000-01-01 00:00:01 UTC", 946_684_801.0),
        ("2000-01-01T02:00:01.5+02:00", 946_684_801.5),
    ],
)
def test_iso_times_count_from_the_epoch(text, seconds):
    cells = texts(None, text, "late")
    clock = clock_for(cells)
    times, bad = clock.read(cells)
    assert clock.unit_s is not None
    assert times[1] * clock.unit_s == pytest.approx(seconds, abs=1e-6)
    assert bad.to_list() == [True, False, True]
    assert clock.expected == "an ISO 8601 time"


def test_iso_times_of_different_precision_may_be_mixed():
    cells = texts("2000-01-01", "2000-01-01T00:00:01Z", "2000-01-01T00:00:00.5")
    times, _ = clock_for(cells).read(cells)
    assert times.arg_sort().to_list() == [0, 2, 1]


@pytest.mark.parametrize(
    ("time", "unit_s"),
    [(3, 1.0), (1_700_000_000, 1.0), (1_700_000_000_000, 1e-3), (1_700_000_000_000_000, 1e-6),
     (1_700_000_000_000_000_000, 1e-9), (-1_700_000_000_000, 1e-3)],
)  # fmt: skip
def test_the_unit_is_told_from_the_size(time, unit_s):
    assert seconds_in_a_unit(pl.Series([time] * 3)) == (unit_s, 0)


def test_times_that_seem_to_count_another_unit_are_counted():
    milliseconds = [1_700_000_000_000] * 3
    assert seconds_in_a_unit(pl.Series([*milliseconds, 1_700_000_000])) == (1e-3, 1)
    assert seconds_in_a_unit(pl.Series([1_700_000_000, *[1_600_000_000] * 3, 10**12])) == (1.0, 1)
