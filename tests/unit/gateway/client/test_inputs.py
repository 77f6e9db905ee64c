from __future__ import annotations

from pathlib import Path

import click
import pytest

from gateway.client.inputs import (
    example_values,
    feature_value,
    read_titles,
    read_values,
    split_ids,
)
from trident.model.v1 import model_service_pb2 as pb

NUMBER = pb.FEATURE_KIND_NUMBER
CATEGORY = pb.FEATURE_KIND_CATEGORY


def test_ids_are_split_at_commas_and_spaces_around_them_dropped() -> None:
    assert split_ids(["1, 2", "3", ",", "four five"]) == ["1", "2", "3", "four five"]


def test_later_values_win(tmp_path: Path) -> None:
    file = tmp_path / "a=b.json"  # a file whose name looks like a pair
    file.write_text('{"age": 3, "note": null, "housing": "rent"}')
    assert read_values([str(file), " age = 5 ", "sum=a=b"]) == {
        "age": "5", "housing": "rent", "sum": "a=b",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[1]", "must hold an object"),
        ("{", "not JSON"),
        ('{"age": true}', "'age' must be a number, a text or null"),
        ('{"age": [1]}', "'age' must be a number, a text or null"),
    ],
)
def test_a_file_that_holds_something_else_is_refused(
    content: str, said: str, tmp_path: Path
) -> None:
    file = tmp_path / "x.json"
    file.write_text(content)
    with pytest.raises(click.ClickException, match=said) as caught:
        read_values([str(file)])
    assert str(file) in caught.value.message


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        ("3.5", NUMBER, 3.5),
        (3, NUMBER, 3.0),
        ("old", NUMBER, "old"),
        ("1", CATEGORY, "1"),
        (1, CATEGORY, "1"),
        ("rent", CATEGORY, "rent"),
        ("7", None, 7.0),
        ("rent", None, "rent"),
    ],
)
def test_values_take_the_kind_of_the_schema(
    value: float | str, kind: pb.FeatureKind | None, expected: float | str
) -> None:
    feature = None if kind is None else pb.Feature(name="x", kind=kind)
    sent = feature_value(value, feature)
    assert (sent.category if isinstance(expected, str) else sent.number) == expected
    assert sent.WhichOneof("kind") == ("category" if isinstance(expected, str) else "number")


@pytest.mark.parametrize(
    ("feature", "expected"),
    [
        (pb.Feature(kind=NUMBER, minimum=18, maximum=91), 54.0),
        (pb.Feature(kind=NUMBER, minimum=0, maximum=1), 0.0),
        (pb.Feature(kind=NUMBER, minimum=0.05, maximum=0.2), 0.125),
        (pb.Feature(kind=NUMBER, minimum=6.981, maximum=28.11), 17.5),
        (pb.Feature(kind=NUMBER, minimum=1000.5, maximum=1000.75), 1000.625),
        (pb.Feature(kind=NUMBER, codes=[1, 2, 4]), 2.0),
        (pb.Feature(kind=NUMBER), 0.0),
        (pb.Feature(kind=NUMBER, minimum=3), 3.0),
        (pb.Feature(kind=CATEGORY, categories=["own", "rent"]), "own"),
    ],
)
def test_an_example_is_the_middle_of_what_is_known(
    feature: pb.Feature, expected: float | str
) -> None:
    feature.name = "x"
    assert example_values([feature]) == {"x": expected}


def test_a_category_of_which_none_is_known_is_left_out() -> None:
    assert example_values([pb.Feature(name="x", kind=CATEGORY)]) == {}


@pytest.mark.parametrize("header", ["id,title", "movieId,title,genres", "Title,ITEM_ID"])
def test_titles_are_found_by_the_header(header: str, tmp_path: Path) -> None:
    cells = {"id": "7", "movieid": "7", "item_id": "7", "title": "Alien", "genres": "x"}
    file = tmp_path / "titles.csv"
    row = ",".join(cells[name.lower()] for name in header.split(","))
    file.write_text(f"\ufeff{header}\n{row}\n", encoding="utf-8")
    assert read_titles(file) == {"7": "Alien"}


def test_a_table_without_titles_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "ratings.csv"
    file.write_text("userId,movieId,rating\n")
    with pytest.raises(click.ClickException, match=r"it has: userid, movieid, rating"):
        read_titles(file)
