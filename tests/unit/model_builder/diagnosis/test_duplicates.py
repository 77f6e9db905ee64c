from __future__ import annotations

from model_builder.diagnosis.duplicates import in_no_later_split, keys_of, leaks

KEYS = {
    "train": keys_of([b"a", b"b", b"b", b"c"]),
    "validation": keys_of([b"b", b"d", b"e"]),
    "test": keys_of([b"c", b"e", b"f"]),
}


def test_what_stands_in_two_splits_is_told() -> None:
    assert [str(leak) for leak in leaks(KEYS)] == [
        "2 rows of the train split also stand in the validation split",
        "1 rows of the train split also stand in the test split",
        "1 rows of the validation split also stand in the test split",
    ]


def test_splits_of_their_own_leak_nothing() -> None:
    assert leaks({"train": keys_of([b"a", b"a"]), "test": keys_of([b"b"])}) == []


def test_a_later_split_keeps_what_an_earlier_one_loses() -> None:
    kept = in_no_later_split(KEYS)
    assert kept["train"].tolist() == [True, False, False, False]
    assert kept["validation"].tolist() == [True, True, False]
    assert kept["test"].tolist() == [True, True, True]
