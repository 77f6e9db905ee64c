from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch

from model_builder.errors import DataFault
from model_builder.recsys import content
from model_builder.recsys.content import find_table, place_items, read_placeable, read_table, ridge

TABLE = """movieId,title,genres
i2,Alien (1979),Horror|Sci-Fi
i1,Toy Story (1995),Animation
i99,Aliens (1986),Horror|Sci-Fi
i2,Again,Comedy
i50,,
"""


@pytest.fixture
def log(tmp_path: Path) -> Path:
    (tmp_path / "ratings.csv").write_text("user,item,timestamp\n")
    (tmp_path / "movies.csv").write_text(TABLE)
    return tmp_path / "ratings.csv"


def test_the_table_lies_beside_the_log_or_in_its_folder(log, tmp_path):
    assert find_table(log) == find_table(tmp_path) == tmp_path / "movies.csv"
    assert find_table(tmp_path / "movies.csv") is None  # it is the log itself
    (tmp_path / "items.csv").write_text(TABLE)
    assert find_table(log) == tmp_path / "items.csv"


HAD = np.ones(13, np.int64)
"""Every item of the catalogue is learnt from."""


def test_items_are_told_apart_by_whether_the_log_has_them(log):
    items = read_table(log.with_name("movies.csv"), ["i1", "i2", "i3"], HAD)
    assert items.known.tolist() == [1, 2]
    assert items.cold.tolist() == []
    texts = dict(zip(items.known.tolist(), items.known_texts, strict=True))
    assert texts == {2: "Alien (1979). Horror, Sci-Fi", 1: "Toy Story (1995). Animation"}
    assert dict(zip(items.new_ids, items.new_texts, strict=True)) == {
        "i99": "Aliens (1986). Horror, Sci-Fi"
    }


def test_what_nobody_had_in_the_training_is_not_learnt_from_but_placed(log):
    counts = np.array([0, 5, 0, 7])
    items = read_table(log.with_name("movies.csv"), ["i1", "i2", "i3"], counts)
    assert (items.known.tolist(), items.cold.tolist()) == ([1], [2])
    assert items.cold_texts == ("Alien (1979). Horror, Sci-Fi",)
    assert items.new_ids == ("i99",)
    kept = read_table(log.with_name("movies.csv"), ["i1", "i2", "i3"], counts, {"i2"})
    assert (kept.known.tolist(), kept.cold.tolist()) == ([1], [])


def test_parquet_is_read_too(log, tmp_path):
    import polars as pl

    pl.DataFrame({"Item_ID": [7, 8], "Name": ["a", None]}).write_parquet(tmp_path / "items.parquet")
    items = read_table(tmp_path / "items.parquet", ["7"], HAD)
    assert (items.known.tolist(), items.known_texts, items.new_ids) == ([1], ("a",), ())


@pytest.mark.parametrize(
    ("table", "fault"),
    [("a,b\n1,2\n", "found a, b"), ("id,year\n1,2\n", "title"), ("", "a readable table")],
    ids=["no column known", "no text", "empty"],
)
def test_a_table_of_something_else_is_refused(tmp_path, table, fault):
    path = tmp_path / "items.csv"
    path.write_text(table)
    with pytest.raises(DataFault, match=fault):
        read_table(path, ["1"], HAD)


def test_a_linear_map_is_found_and_its_strength_is_chosen_by_what_is_left_out():
    draws = np.random.default_rng(0)
    true = draws.normal(size=(6, 3))
    known, new = draws.normal(size=(200, 6)), draws.normal(size=(20, 6))
    found = ridge(known, known @ true + 5, np.ones(200), new)
    np.testing.assert_allclose(found, new @ true + 5, atol=0.05)
    # Where the texts say nothing, new items stand in the middle.
    noise = draws.normal(size=(200, 3))
    blind = ridge(known, noise, np.ones(200), new)
    assert np.abs(blind - noise.mean(0)).mean() < 0.1


def test_what_was_had_often_counts_more():
    known = np.array([[1.0], [1.0], [-1.0], [-1.0]])
    wanted = np.array([[9.0], [1.0], [-9.0], [-1.0]])
    often = ridge(known, wanted, np.array([100.0, 1, 100, 1]), np.array([[1.0]]))
    rarely = ridge(known, wanted, np.array([1.0, 100, 1, 100]), np.array([[1.0]]))
    assert often.item() > 7 > 3 > rarely.item()


@pytest.fixture
def letters(monkeypatch):
    """An encoder that counts letters."""

    def encode(base: str, texts: list[str]) -> np.ndarray:
        counts = [[text.lower().count(letter) for letter in "aehors"] for text in texts]
        return np.array(counts, np.float32) + 0.1

    monkeypatch.setattr(content, "encoded", encode)


@pytest.mark.usefixtures("letters")
def test_new_items_join_the_catalogue_and_the_rest_stays(log, network, item_ids):
    grown, ids, done = place_items(network, item_ids, read_placeable(item_ids, HAD, log, "base"))
    assert ids == (*item_ids, "i99")
    assert done == (
        "movies.csv describes 2 of 12 items of the log; 0 of them that nobody had in the training, "
        "and 1 new ones, are placed by their texts"
    )
    history = torch.tensor([[0, 0, 3, 1, 4, 2]])
    before, after = network(history), grown(history)
    assert after.shape == (1, 14)
    torch.testing.assert_close(after[:, :13], before)
    empty = grown(torch.zeros_like(history))
    torch.testing.assert_close(empty[0, 13], torch.tensor(0.0))  # as one that nobody had
    # Its text is nearly that of item 2.
    near = torch.nn.functional.cosine_similarity(grown.items.weight[13], grown.items.weight[1:13])
    assert near[1] > near[0]


@pytest.mark.usefixtures("letters")
def test_an_item_of_the_log_that_nobody_had_is_placed_by_its_text(log, network, item_ids):
    log.with_name("movies.csv").write_text("id,title\ni1,ahs\ni2,reos\ni3,ahs\ni5,reo\n")
    counts = HAD.copy()
    counts[3] = 0
    found = read_placeable(item_ids, counts, log, "base")
    placed, ids, done = place_items(network, item_ids, found)
    assert ids == item_ids
    assert "1 of them that nobody had in the training, and 0 new ones" in done
    # Its text is that of item 1, and what it had drifted to in the training does not count.
    torch.testing.assert_close(placed.items.weight[3], placed.items.weight[1], atol=0.3, rtol=0.3)
    assert not torch.equal(placed.items.weight[3], network.items.weight[3])
    assert placed.bias[3] < network.bias[1:].median()
    others = [number for number in range(13) if number != 3]
    torch.testing.assert_close(placed.items.weight[others], network.items.weight[others])
    torch.testing.assert_close(placed.bias[others], network.bias[others])
    moved = copy.deepcopy(network)
    with torch.no_grad():
        moved.items.weight[3] += 9
        moved.bias[3] += 9
    again, _, _ = place_items(moved, item_ids, found)
    torch.testing.assert_close(again.items.weight, placed.items.weight)
    torch.testing.assert_close(again.bias, placed.bias)


@pytest.mark.usefixtures("letters")
def test_without_new_items_nothing_changes(log, network):
    log.with_name("movies.csv").write_text("id,title\ni1,a\ni2,b\n")
    found = read_placeable(("i1", "i2"), HAD, log, "base")
    same, ids, done = place_items(network, ("i1", "i2"), found)
    assert same is network
    assert ids == ("i1", "i2")
    assert done.endswith("no new item is placed by its text")


def test_an_encoder_without_a_table_is_refused(tmp_path, item_ids):
    with pytest.raises(DataFault, match=r"items.csv or items.parquet or movies.csv beside"):
        read_placeable(item_ids, HAD, tmp_path / "log.csv", "base")


def test_a_missing_encoder_is_named(tmp_path):
    with pytest.raises(DataFault, match="a sentence-transformers model"):
        content.encoded(str(tmp_path / "nothing"), ["a"])
