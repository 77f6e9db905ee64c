"""What is read of files, good and bad."""

from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from synthetic_traces import Json, Planted, batch, call, request, write

from gateway.telemetry.analysis import loading
from gateway.telemetry.analysis.loading import NoTraces, load
from gateway.telemetry.analysis.report import read


def lines(count: int) -> list[list[Json]]:
    return [call(Planted(), at=10 * n) for n in range(count)]


def test_a_file_of_lines_and_the_same_packed_hold_the_same(tmp_path: Path) -> None:
    made = lines(3)
    plain = load([write(tmp_path / "a.jsonl", made)])
    packed = load([write(tmp_path / "b.jsonl.gz", made)])
    assert len(plain.spans) == 3 * len(made[0])
    assert plain.spans.equals(packed.spans)


def test_the_file_that_was_put_away_belongs_to_the_file(tmp_path: Path) -> None:
    write(tmp_path / "t.jsonl.1", lines(2))
    write(tmp_path / "t.jsonl", lines(1))
    table = load([tmp_path / "t.jsonl"])
    assert [file.name for file in table.files] == ["t.jsonl.1", "t.jsonl"]
    assert len(table.spans) == 3 * len(call(Planted()))


def test_a_folder_stands_for_the_files_in_it(tmp_path: Path) -> None:
    for name in ("one.jsonl", "two.json.gz"):
        write(tmp_path / name, lines(1))
    (tmp_path / "notes.txt").write_text("not traces")
    assert len(load([tmp_path]).files) == 2


@pytest.mark.parametrize("name", ["nowhere.jsonl", "empty"])
def test_where_there_is_nothing_to_read_that_is_said(name: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(NoTraces, match=name):
        load([tmp_path / name])


def test_an_empty_file_holds_nothing(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").touch()
    traces = read([tmp_path / "t.jsonl"])
    assert len(traces.calls) == 0
    assert traces.damage.lines == 0


def test_a_span_that_was_written_twice_counts_once(tmp_path: Path) -> None:
    one = call(Planted())
    assert len(load([write(tmp_path / "t.jsonl", [one, one])]).spans) == len(one)


def test_damaged_lines_are_counted_and_named_and_cost_nothing_else(tmp_path: Path) -> None:
    path = write(tmp_path / "t.jsonl", lines(3))
    good = path.read_bytes().splitlines()
    torn = good[1][: len(good[1]) // 2]
    path.write_bytes(b"\n".join([b"not json", good[0], torn, b"{}", b"\xff\xfe", good[2], b""]))
    table = load([path])
    assert len(table.spans) == 2 * len(call(Planted()))
    assert table.damage.lines == 4
    places = [text.split(": ")[0] for text in table.damage.named]
    assert places == [f"{path}:{line}" for line in (1, 3, 4, 5)]


def test_one_bad_span_costs_only_itself(tmp_path: Path) -> None:
    spans = call(Planted())
    spans[3]["spanId"] = "xyz"
    spans[4]["startTimeUnixNano"] = "soon"
    del spans[5]["endTimeUnixNano"]
    spans[6]["traceId"] = "0" * 32
    table = load([write(tmp_path / "t.jsonl", [spans])])
    assert len(table.spans) == len(spans) - 4
    assert (table.damage.lines, table.damage.spans) == (0, 4)
    assert all(":1: " in text for text in table.damage.named)


def test_a_span_that_ends_before_it_begins_takes_no_time(tmp_path: Path) -> None:
    spans = call(Planted())
    decode = next(one for one in spans if one["name"] == "decode")
    decode["endTimeUnixNano"] = "1"
    traces = read([write(tmp_path / "t.jsonl", [spans])])
    assert "decode" not in [stage.key for stage in traces.calls.stages]


def test_a_packed_file_that_ends_too_early_gives_what_is_there(tmp_path: Path) -> None:
    path = write(tmp_path / "t.jsonl.gz", lines(200))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    table = load([path])
    assert len(table.spans) > 50 * len(call(Planted()))
    assert table.damage.lines >= 1
    assert "too early" in " ".join(table.damage.named)


def test_several_processes_read_what_one_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "t.jsonl", lines(20))
    content = path.read_bytes().splitlines()
    content[7] = b"torn"
    path.write_bytes(b"\n".join(content) + b"\n")
    monkeypatch.setattr(loading, "PIECE_BYTES", 4096)
    alone, together = load([path], processes=1), load([path], processes=2)
    assert alone.spans.equals(together.spans)
    assert alone.damage == together.damage
    assert alone.damage.named[0].startswith(f"{path}:8: ")


def jaeger(spans: list[Json], *, short_ids: bool = False) -> Json:
    """The same spans as Jaeger's query service answers them."""
    services = sorted({one["service"] for one in spans})
    kinds = {1: "internal", 2: "server", 3: "client"}

    def identity(text: str) -> str:
        return text.lstrip("0") if short_ids else text

    def converted(one: Json) -> Json:
        trace, begin = one["traceId"], int(one["startTimeUnixNano"])
        references = []
        if "parentSpanId" in one:
            references.append(("CHILD_OF", trace, one["parentSpanId"]))
        references += [("FOLLOWS_FROM", link["traceId"], link["spanId"])
                       for link in one.get("links", ())]  # fmt: skip
        tags = [{"key": "span.kind", "type": "string", "value": kinds[one["kind"]]}]
        for attribute in one.get("attributes", ()):
            ((kind, value),) = attribute["value"].items()
            value = int(value) if kind == "intValue" else value
            tags.append({"key": attribute["key"], "type": "string", "value": value})
        return {
            "traceID": identity(trace),
            "spanID": identity(one["spanId"]),
            "operationName": one["name"],
            "references": [{"refType": kind, "traceID": identity(a), "spanID": identity(b)}
                           for kind, a, b in references],
            "startTime": begin // 1000,
            "duration": (int(one["endTimeUnixNano"]) - begin) // 1000,
            "tags": tags,
            "logs": [
                {"timestamp": int(event["timeUnixNano"]) // 1000,
                 "fields": [{"key": "event", "type": "string", "value": event["name"]}]}
                for event in one.get("events", ())
            ],
            "processID": f"p{services.index(one['service'])}",
            "warnings": None,
        }  # fmt: skip

    traces: dict[str, list[Json]] = {}
    for one in spans:
        traces.setdefault(one["traceId"], []).append(converted(one))
    processes = {f"p{n}": {"serviceName": name, "tags": []} for n, name in enumerate(services)}
    return {
        "data": [{"traceID": key, "spans": some, "processes": processes, "warnings": None}
                 for key, some in traces.items()],
        "total": 0, "limit": 0, "offset": 0, "errors": None,
    }  # fmt: skip


def in_base64(content: Any) -> Any:
    """OTLP as protobuf's own JSON has it, and as Tempo answers."""
    if isinstance(content, list):
        return [in_base64(one) for one in content]
    if not isinstance(content, dict):
        return content
    return {
        key: base64.b64encode(bytes.fromhex(value)).decode()
        if key in ("traceId", "spanId", "parentSpanId")
        else {1: "SPAN_KIND_INTERNAL", 2: "SPAN_KIND_SERVER", 3: "SPAN_KIND_CLIENT"}[value]
        if key == "kind"
        else in_base64(value)
        for key, value in content.items()
    }


SPANS = [*call(Planted()), *batch(Planted(code="INTERNAL"), 2, window=1)]
ANSWERS = {
    "jaeger": jaeger(SPANS),
    "jaeger-short-ids": jaeger(SPANS, short_ids=True),
    "tempo-batches": {"batches": in_base64(request(SPANS)["resourceSpans"])},
    "tempo-2": {"trace": in_base64(request(SPANS))},
    "otlp-document": request(SPANS),
}


@pytest.mark.parametrize("indent", [None, 2], ids=["one-line", "pretty"])
@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_answers_of_jaeger_and_tempo_are_read_as_the_gateways_own_file(
    answer: Json, indent: int | None, tmp_path: Path
) -> None:
    own = read([write(tmp_path / "own.jsonl", [SPANS])]).calls
    path = tmp_path / "answer.json"
    path.write_text(json.dumps(answer, indent=indent))
    traces = read([path])
    assert traces.damage.named == []
    calls = traces.calls
    assert calls.keys == own.keys
    assert calls.error.tolist() == own.error.tolist() == ["", "INTERNAL", "INTERNAL"]
    assert calls.trace.tolist() == own.trace.tolist()
    assert [one.key for one in calls.stages] == [one.key for one in own.stages]
    assert calls.ms == pytest.approx(own.ms, abs=0.004)  # Jaeger keeps whole µs


def test_a_document_of_something_else_is_named(tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    path.write_text(json.dumps({"data": [{"spans": "none"}]}))
    assert "neither" in load([path]).damage.named[0]


@pytest.mark.parametrize("indent", [None, 2], ids=["one-line", "pretty"])
def test_json_that_is_no_traces_counts_as_a_line_that_cannot_be_read(
    indent: int | None, tmp_path: Path
) -> None:
    path = tmp_path / "other.json"
    path.write_text(json.dumps({"a": 1, "b": [2]}, indent=indent))
    damage = load([path, write(tmp_path / "t.jsonl", lines(1))]).damage
    assert damage.lines == 1
    assert damage.named == [
        f"{path}:1: neither OTLP/JSON nor an answer of Jaeger or Tempo: an object with a, b"
    ]


@pytest.mark.parametrize("answer", [{}, {"data": []}, {"batches": []}, {"trace": {}}])
def test_an_answer_with_nothing_in_it_is_no_damage(answer: Json, tmp_path: Path) -> None:
    path = tmp_path / "answer.json"
    path.write_text(json.dumps(answer))
    assert load([path]).damage == loading.Damage()


def test_a_packed_answer_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "answer.json.gz"
    path.write_bytes(gzip.compress(json.dumps(ANSWERS["jaeger"]).encode()))
    assert len(read([path]).calls) == 3
