from __future__ import annotations

import json
from pathlib import Path

import pytest
from span_makers import spans_in
from synthetic_traces import Planted, call, request

from gateway.client.load.driver import TracedCall
from gateway.client.load.traces import report_of, wait_until_quiet, write_client_spans

METHOD = "trident.risk.v1.RiskService/ScoreRisk"


def test_every_traced_call_becomes_the_clients_span(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    calls = [TracedCall(n + 1, n + 1, 10**18, 10**18 + n, "OK") for n in range(1200)]
    write_client_spans(path, METHOD, "[::1]:50051", [*calls, TracedCall(9, 7, 1, 2, "INTERNAL")])
    spans = spans_in(path)
    assert len(spans) == 1201
    assert {one["kind"] for one in spans} == {3}
    assert int(spans[7]["endTimeUnixNano"]) - int(spans[7]["startTimeUnixNano"]) == 7
    said = {one["key"]: one["value"] for one in spans[-1]["attributes"]}
    assert said["error.type"] == {"stringValue": "INTERNAL"}
    assert said["server.address"] == {"stringValue": "::1"}
    assert said["server.port"] == {"intValue": "50051"}
    assert spans[-1]["status"]["code"] == 2


@pytest.mark.parametrize(("writes", "waited"), [(0, 2.0), (8, 3.75), (1000, 10.0)])
def test_it_waits_until_nothing_was_written_for_a_while(
    writes: int, waited: float, tmp_path: Path
) -> None:
    path = tmp_path / "t.jsonl"
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) <= writes:
            with path.open("a") as file:
                file.write("x")

    wait_until_quiet(path, 1.75, 10, sleep=sleep)
    assert sum(slept) == waited


def test_the_report_counts_what_the_load_left_and_nothing_else_in_the_file(
    tmp_path: Path,
) -> None:
    path = tmp_path / "t.jsonl"
    lines = [call(Planted(), at=10 * n) for n in range(5)]
    path.write_text("".join(json.dumps(request(one)) + "\n" for one in lines))
    ours = [TracedCall(int(one[0]["traceId"], 16), 7, 1, 2, "OK") for one in lines[1:3]]
    report = report_of(path, ours)
    assert report.calls == 2
    assert report.spans == len(lines[1]) + len(lines[2])
