from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from gateway.audit import payload_log
from gateway.audit.payload_log import PayloadLog, table_of
from gateway.audit.payload_rows import MessageTypes, PayloadRows
from gateway.audit.record import AccessRecord, Payload
from trident.common.v1.feature_value_pb2 import FeatureValue
from trident.risk.v1 import risk_service_pb2 as risk

METHOD = "trident.risk.v1.RiskService/ScoreRisk"
ROWS = PayloadRows({METHOD: MessageTypes(risk.ScoreRiskRequest, risk.ScoreRiskResponse)})


def payload(age: float = 41, line: str = "score-risk") -> Payload:
    access = AccessRecord(
        1_764_000_000_000_000_000, 1, METHOD, 0, "", "peer", line, "a1", "fused", 7, "", 1, 1, 1, 1
    )
    request = risk.ScoreRiskRequest(features={"age": FeatureValue(number=age)})
    return Payload(access, request.SerializeToString(), b"")


def log(folder: Path, **changes: Any) -> PayloadLog:
    return PayloadLog(folder, "w1", ROWS, **{"file_rows": 100, "files": 10} | changes)


def test_what_is_left_is_written_at_the_end_in_a_file_for_each_line(tmp_path: Path) -> None:
    kept = log(tmp_path)
    for age in (41, 18):
        kept.put(payload(age))
    kept.put(payload(line="other"))
    kept.close()
    (file,) = (tmp_path / "score-risk").iterdir()
    frame = pl.read_parquet(file)
    assert frame["age"].to_list() == [41.0, 18.0]
    assert frame["_line"].unique().to_list() == ["score-risk"]
    assert frame["_time"][0] == "2025-11-24T16:00:00.000+00:00"
    assert len(list((tmp_path / "other").iterdir())) == 1
    assert kept.dropped == 0


def test_a_call_that_makes_no_rows_is_counted_and_costs_none_of_the_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept = log(tmp_path)
    kept.put(payload(41))
    kept.put(Payload(payload().access, b"\xff hush", b""))
    kept.put(payload(18))
    kept.close()
    (file,) = (tmp_path / "score-risk").iterdir()
    assert pl.read_parquet(file)["age"].to_list() == [41.0, 18.0]
    assert kept.dropped == 1
    assert "is counted: DecodeError" in caplog.text
    assert "hush" not in caplog.text


def test_a_full_file_is_followed_by_the_next_and_the_oldest_go(tmp_path: Path) -> None:
    kept = log(tmp_path, file_rows=2, files=3)
    for age in range(12):
        kept.put(payload(age))
    kept.close()
    files = sorted((tmp_path / "score-risk").iterdir())
    ages = [pl.read_parquet(file)["age"].to_list() for file in files]
    assert ages == [[6.0, 7.0], [8.0, 9.0], [10.0, 11.0]]


def test_the_files_of_another_worker_are_not_ours_to_remove(tmp_path: Path) -> None:
    folder = tmp_path / "score-risk"
    folder.mkdir()
    other = folder / "20200101t000000000000-w2.parquet"
    other.touch()
    kept = log(tmp_path, file_rows=1, files=1)
    for _ in range(3):
        kept.put(payload())
    kept.close()
    assert other.exists()
    assert len(list(folder.iterdir())) == 2


def test_a_file_with_many_bytes_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(payload_log, "MAX_FILE_BYTES", 1)
    kept = log(tmp_path)
    for _ in range(3):
        kept.put(payload())
    kept.close()
    assert len(list((tmp_path / "score-risk").iterdir())) == 3


def test_what_cannot_be_written_is_counted_and_leaves_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "score-risk").write_text("in the way")
    kept = log(tmp_path, file_rows=2)
    for _ in range(4):
        kept.put(payload())
    kept.close()
    assert kept.dropped == 4
    assert len([line for line in caplog.messages if "cannot be written" in line]) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["score-risk"]


def test_what_is_no_message_is_counted(tmp_path: Path) -> None:
    kept = log(tmp_path)
    kept.put(payload()._replace(request=b"\xff"))
    kept.close()
    assert kept.dropped == 1


def test_more_than_fits_into_memory_is_counted(tmp_path: Path) -> None:
    kept = log(tmp_path)
    kept.put(payload()._replace(response=b"x" * (payload_log.MAX_WAITING_BYTES + 1)))
    kept.close()
    assert kept.dropped == 1


def test_a_column_of_numbers_and_texts_is_one_of_texts() -> None:
    table = table_of([{"a": 1.0, "b": 2.0}, {"a": "x"}, {"b": None}])
    assert table.to_pydict() == {"a": ["1", "x", None], "b": [2.0, None, None]}
