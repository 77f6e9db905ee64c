from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from model_builder.datasets import NAMED, Places, resolve
from model_builder.errors import DataSetUnavailable, UnknownData
from model_builder.fetching import file_sha256
from model_builder.task import ResolvedData

GENERATED = [name for name, data in NAMED.items() if data.generated]


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path / "cache", tmp_path / "mirror")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ResolvedData]:
    """Every generated set, made once."""
    places = Places(tmp_path_factory.mktemp("made"))
    return {name: resolve(name, places=places) for name in GENERATED}


@pytest.mark.parametrize("name", GENERATED)
def test_a_generated_set_is_the_same_everywhere_and_says_what_it_is(name, made, tmp_path) -> None:
    one = made[name]
    other = resolve(name, places=Places(tmp_path / "other"))
    assert one.sha256 == other.sha256
    assert one.generated
    assert one.name.startswith("generated-")
    assert one.source == "made on the spot"


def test_generated_tables_have_gaps_and_both_classes(made) -> None:
    for name in ("generated-credit", "generated-measurements"):
        data = made[name]
        header, *rows = [line.split(",") for line in data.path.read_text().splitlines()]
        assert header[-1] == data.label
        assert any("" in row for row in rows)
        assert len({row[-1] for row in rows}) == 2


def test_generated_films_have_titles_that_say_so(made) -> None:
    folder = made["generated-interactions"].path
    films = (folder / "movies.csv").read_text().splitlines()[1:]
    assert all(",Made-up " in film for film in films)
    ratings = (folder / "ratings.csv").read_text().splitlines()
    assert ratings[0] == "userId,movieId,rating,timestamp"
    assert len({tuple(line.split(",")[:2]) for line in ratings[1:]}) == len(ratings) - 1


def test_breast_cancer_needs_no_file_and_is_checked(places: Places) -> None:
    data = resolve("breast-cancer", places=places)
    lines = data.path.read_text().splitlines()
    assert len(lines) == 570
    assert (lines[0].split(",")[0], lines[0].split(",")[-1]) == ("mean radius", "diagnosis")
    assert {line.rpartition(",")[2] for line in lines[1:]} == {"malignant", "benign"}
    assert (data.label, data.generated) == ("diagnosis", False)


def test_the_mirror_is_looked_at_before_the_cache(places: Places) -> None:
    resolve("generated-credit", places=Places(places.cache))
    assert places.find(NAMED["generated-credit"])[0] == "cache"
    mirrored = places.mirror / "generated-credit" / "loans.csv"
    mirrored.parent.mkdir(parents=True)
    mirrored.write_text("a,default\n1,0\n")
    data = resolve("generated-credit", places=places)
    assert data.path == mirrored
    assert data.sha256 == file_sha256(mirrored)


def test_a_spoilt_mirror_is_refused(places: Places) -> None:
    spoilt = places.mirror / "german-credit" / "german.data"
    spoilt.parent.mkdir(parents=True)
    spoilt.write_text("A11 6\n")
    with pytest.raises(DataSetUnavailable, match=r"german\.data has sha256 .* expected 749a99d5"):
        resolve("german-credit", places=places)


def test_a_mirror_that_lacks_a_file_does_not_count(places: Places) -> None:
    half = places.mirror / "movielens-latest-small" / "ratings.csv"
    half.parent.mkdir(parents=True)
    half.touch()
    assert places.find(NAMED["movielens-latest-small"])[0] == "not here"


def test_one_file_is_given_as_file_and_several_as_folder(made) -> None:
    assert made["generated-credit"].path.is_file()
    assert made["generated-interactions"].path.is_dir()


def test_the_label_given_wins_over_the_named_sets(places: Places) -> None:
    assert resolve("generated-credit", places=places).label == "default"
    assert resolve("generated-credit", label="housing", places=places).label == "housing"


def test_any_path_is_a_data_set(tmp_path: Path) -> None:
    table = tmp_path / "loans.csv"
    table.write_text("a,b\n1,2\n")
    data = resolve(str(table), label="b")
    assert (data.name, data.path, data.label) == ("loans.csv", table, "b")
    assert (data.generated, data.licence, data.sha256) == (False, "", file_sha256(table))
    assert resolve(str(tmp_path)).path == tmp_path


def test_an_unknown_name_lists_the_names_and_what_was_meant() -> None:
    with pytest.raises(UnknownData) as caught:
        resolve("german_credit")
    assert "Did you mean german-credit" in str(caught.value)
    assert all(name in str(caught.value) for name in NAMED)


def test_places_come_from_the_environment() -> None:
    given = {"TRIDENT_DATA_DIR": "/mirror", "TRIDENT_CACHE_DIR": "/cache"}
    assert Places.from_environment(given) == Places(Path("/cache/data"), Path("/mirror"))
    assert Places.from_environment({"TRIDENT_DATA_DIR": ""}).mirror is None


@pytest.mark.parametrize("name", [n for n, d in NAMED.items() if not d.generated])
def test_every_public_set_can_be_checked_and_is_described(name: str) -> None:
    data = NAMED[name]
    assert data.licence
    assert data.citation
    assert data.files
    assert all(file.canonical_sha256 or file.sha256 or file.md5 for file in data.files)
    assert data.label is None or not data.format.columns or data.label in data.format.columns


@pytest.mark.skipif(not os.environ.get("TRIDENT_DATA_DIR"), reason="TRIDENT_DATA_DIR is not set")
@pytest.mark.parametrize("name", [n for n, d in NAMED.items() if d.url])
def test_the_mirrored_files_are_what_is_expected(
    name: str, missing_tool: Callable[[str], None]
) -> None:
    places = Places.from_environment()
    if places.find(NAMED[name])[0] != "mirror":
        missing_tool(f"{name} is not in TRIDENT_DATA_DIR")
    assert resolve(name).name == name
