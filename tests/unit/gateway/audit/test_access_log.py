from __future__ import annotations

import json
from pathlib import Path

import pytest
from google.rpc import code_pb2

from gateway.audit.access_log import AccessLog, fields_of, line_of
from gateway.audit.record import AccessRecord

RECORD = AccessRecord(
    start_ns=1_764_000_000_123_456_789,
    duration_ns=2_345_678,
    method="trident.risk.v1.RiskService/ScoreRisk",
    code=code_pb2.OK,
    client="key:billing",
    peer="ipv4:127.0.0.1:7",
    line="score-risk",
    release="a1",
    variant="fused",
    trace_id=0x7,
    parent="",
    request_bytes=10,
    response_bytes=20,
    requests=1,
    responses=1,
)


def test_a_line_says_who_called_what_and_how_it_ended() -> None:
    line = line_of(RECORD)
    assert line.endswith(b"}\n")
    assert json.loads(line) == {
        "time": "2025-11-24T16:00:00.123+00:00",
        "method": "trident.risk.v1.RiskService/ScoreRisk",
        "code": "OK",
        "client": "key:billing",
        "peer": "ipv4:127.0.0.1:7",
        "line": "score-risk",
        "release": "a1",
        "variant": "fused",
        "trace_id": "00000000000000000000000000000007",
        "traced": True,
        "milliseconds": 2.346,
        "request_bytes": 10,
        "response_bytes": 20,
    }


def test_what_is_not_known_is_not_there() -> None:
    fields = fields_of(
        RECORD._replace(client="", line="", release="", variant="", trace_id=0, responses=0)
    )
    assert not {"client", "line", "release", "variant", "trace_id"} & fields.keys()
    assert fields["traced"] is False


def test_the_trace_of_a_client_is_named_though_none_is_kept_here() -> None:
    parent = "00-" + "a" * 32 + "-" + "b" * 16 + "-00"
    fields = fields_of(RECORD._replace(trace_id=0, parent=parent))
    assert (fields["trace_id"], fields["traced"]) == ("a" * 32, False)
    assert "trace_id" not in fields_of(RECORD._replace(trace_id=0, parent="hush"))


@pytest.mark.parametrize(("requests", "responses"), [(0, 0), (3, 2), (1, 5)])
def test_a_stream_says_how_many_messages_there_were(requests: int, responses: int) -> None:
    fields = fields_of(RECORD._replace(requests=requests, responses=responses))
    assert (fields["requests"], fields["responses"]) == (requests, responses)


def test_nothing_in_a_name_can_begin_a_line() -> None:
    line = line_of(RECORD._replace(client="a\n{}", peer="b\r\n"))
    assert line.count(b"\n") == 1


def test_lines_are_written_to_a_file_that_may_be_moved_away(tmp_path: Path) -> None:
    path = tmp_path / "new" / "access.jsonl"
    log = AccessLog(str(path))
    for _ in range(100):
        log.put(RECORD)
    log.close()
    assert len(path.read_text().splitlines()) == 100
    path.rename(path.with_suffix(".1"))
    again = AccessLog(str(path))
    again.put(RECORD)
    again.close()
    assert len(path.read_text().splitlines()) == 1


def test_what_the_disk_does_not_take_is_counted(tmp_path: Path) -> None:
    log = AccessLog(str(tmp_path))  # a folder
    log.put(RECORD)
    log.close()
    assert log.dropped == 1


def test_a_full_disk_is_counted() -> None:
    log = AccessLog("/dev/full")
    log.put(RECORD)
    log.close()
    assert log.dropped == 1


def test_it_can_go_to_standard_output(capfd: pytest.CaptureFixture[str]) -> None:
    log = AccessLog("-")
    log.put(RECORD)
    log.close()
    assert json.loads(capfd.readouterr().out)["client"] == "key:billing"
