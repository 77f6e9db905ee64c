from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from gateway.client.load.requests import RPCS, BadRequests, example_requests, read_requests
from trident.model.v1 import model_service_pb2 as pb
from trident.recommend.v1.recommend_service_pb2 import RecommendRequest

FEATURES = [
    pb.Feature(name="age", kind=pb.FEATURE_KIND_NUMBER, minimum=18, maximum=75),
    pb.Feature(name="share", kind=pb.FEATURE_KIND_NUMBER, minimum=0.25, maximum=0.5),
    pb.Feature(name="stage", kind=pb.FEATURE_KIND_NUMBER, codes=[1, 2, 4]),
    pb.Feature(name="purpose", kind=pb.FEATURE_KIND_CATEGORY, categories=["car", "tv"]),
]


def test_examples_differ_and_are_all_within_the_schema() -> None:
    requests = example_requests(RPCS["score-risk"], FEATURES, 50, seed=1)
    assert len({one.SerializeToString(deterministic=True) for one in requests}) == 50
    for one in requests:
        values: Any = one.features
        assert 18 <= values["age"].number <= 75
        assert values["age"].number == int(values["age"].number)
        assert 0.25 <= values["share"].number <= 0.5
        assert values["stage"].number in (1, 2, 4)
        assert values["purpose"].category in ("car", "tv")


def test_the_same_seed_gives_the_same_requests() -> None:
    one, two = (example_requests(RPCS["score-risk"], FEATURES, 5, seed=3) for _ in range(2))
    assert one == two
    assert one != example_requests(RPCS["score-risk"], FEATURES, 5, seed=4)


def test_items_cannot_be_made_up() -> None:
    with pytest.raises(ValueError, match="recommend"):
        example_requests(RPCS["recommend"], [], 1, seed=0)


def test_lines_of_json_are_requests_as_the_protos_name_them(tmp_path: Path) -> None:
    path = tmp_path / "requests.jsonl"
    path.write_text(
        '{"history_item_ids": ["1", "2"], "item_count": 3}\n\n{"historyItemIds": ["5"]}\n'
    )
    one, two = read_requests(RPCS["recommend"], path)
    assert (list(one.history_item_ids), one.item_count) == (["1", "2"], 3)
    assert list(two.history_item_ids) == ["5"]


def test_every_line_that_is_no_request_is_named(tmp_path: Path) -> None:
    path = tmp_path / "requests.jsonl"
    path.write_text('{"history_item_ids": ["1"]}\n{"items": 1}\nnot json\n[]\n')
    with pytest.raises(BadRequests) as caught:
        read_requests(RPCS["recommend"], path)
    assert list(caught.value.violations) == [2, 3, 4]


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "requests.jsonl").touch()
    with pytest.raises(BadRequests, match="no request"):
        read_requests(RPCS["diagnose"], tmp_path / "requests.jsonl")


PNG = b"\x89PNG\r\n\x1a\n"
ROWS: dict[str, tuple[str, dict[str, Any], str]] = {
    "items": ("recommend", {"history_item_ids": ["1", "2"]}, "history_item_ids"),
    "measurements": ("diagnose", {"measurements": json.dumps({"radius": 1.5})}, "measurements"),
    "a note": ("diagnose", {"note": "fever since Sunday"}, "note"),
    "an image": ("diagnose", {"image": PNG}, "image"),
    "features": (
        "score-risk", {"features": json.dumps({"age": 30, "purpose": "car"})}, "features"
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", ROWS)
def test_the_answers_that_a_build_keeps_are_asked_for_again(kind: str, tmp_path: Path) -> None:
    name, row, field = ROWS[kind]
    path = tmp_path / "answers.parquet"
    pl.DataFrame([row, row]).write_parquet(path)
    requests = read_requests(RPCS[name], path)
    assert len(requests) == 2
    assert getattr(requests[0], field)


def test_an_image_goes_with_the_type_that_its_bytes_say(tmp_path: Path) -> None:
    pl.DataFrame([{"image": PNG}, {"image": b"none"}]).write_parquet(tmp_path / "a.parquet")
    image, other = read_requests(RPCS["diagnose"], tmp_path / "a.parquet")
    assert (image.image.content, image.image.media_type) == (PNG, "image/png")
    assert other.image.media_type == ""  # for the gateway to refuse


@pytest.mark.parametrize(("rows", "calls"), [(2, 3), (5, 1), (7, 1)])
def test_batches_have_every_request_and_all_as_many_rows(rows: int, calls: int) -> None:
    rpc = RPCS["score-risk"]
    requests = example_requests(rpc, FEATURES, 5, seed=1)
    batches: list[Any] = rpc.batches(requests, rows)
    assert [len(one.requests) for one in batches] == [rows] * calls
    sent = [row for one in batches for row in one.requests]
    assert all(request in sent for request in requests)
    assert rpc.batch_method == "trident.risk.v1.RiskService/BatchScoreRisk"


def test_recommendations_are_asked_for_again_with_their_times(tmp_path: Path) -> None:
    row = {"history_item_ids": ["m1", "m2"], "history_times": [0, 1795662000], "request_time": 9}
    pl.DataFrame([row]).write_parquet(tmp_path / "answers.parquet")
    (request,) = read_requests(RPCS["recommend"], tmp_path / "answers.parquet")
    assert isinstance(request, RecommendRequest)
    assert [time.seconds for time in request.history_times] == [0, 1795662000]
    assert request.request_time.seconds == 9


@pytest.mark.parametrize(
    ("content", "text"),
    [({"other": [1]}, "no column 'features'"), ({"features": []}, "no row")],
)
def test_other_tables_are_refused(content: dict[str, Any], text: str, tmp_path: Path) -> None:
    path = tmp_path / "answers.parquet"
    pl.DataFrame(content).write_parquet(path)
    with pytest.raises(BadRequests, match=text):
        read_requests(RPCS["score-risk"], path)


def test_a_file_that_is_no_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "answers.parquet").write_text("none")
    with pytest.raises(BadRequests, match="not Parquet"):
        read_requests(RPCS["score-risk"], tmp_path / "answers.parquet")
