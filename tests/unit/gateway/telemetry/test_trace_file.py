from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest
from span_makers import span as make_span

from gateway.telemetry.exporter import SendFailed
from gateway.telemetry.line_file import previous_file
from gateway.telemetry.otlp_json import spans_to_json
from gateway.telemetry.span import Span
from gateway.telemetry.trace_file import TraceFile

WRITER = dedent(
    """
    import sys
    from pathlib import Path
    from gateway.telemetry.span import Kind, Source, Span
    from gateway.telemetry.exporter import SendFailed
    from gateway.telemetry.trace_file import TraceFile

    path, writer = Path(sys.argv[1]), int(sys.argv[2])
    file, source = TraceFile(path, max_bytes=int(sys.argv[3])), Source({})
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(1, 201):
        file.write([Span(source, writer, number, 0, "x" * 500, Kind.INTERNAL, 1, 2)])
    print("done")
    """
)

CRAMPED = dedent(
    """
    import resource, signal, sys
    from pathlib import Path
    from gateway.telemetry.span import Kind, Source, Span
    from gateway.telemetry.exporter import SendFailed
    from gateway.telemetry.trace_file import TraceFile

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
    file, source = TraceFile(Path(sys.argv[1])), Source({})
    for number in (1, 2):
        try:
            file.write([Span(source, 1, number, 0, "x" * 500, Kind.INTERNAL, 1, 2)])
            print("written", end=" ")
        except SendFailed:
            print("lost", end=" ")
    """
)


def span(span_id: int = 2, trace_id: int = 1) -> Span:
    return make_span("decode", span_id, trace_id=trace_id)


def long_span() -> Span:
    """At least as long as those of the writers."""
    return make_span("x" * 500, 1, trace_id=1)


def written(*files: Path) -> list[tuple[str, int]]:
    """Trace and number of each span."""
    return [
        (one["traceId"], int(one["spanId"], 16))
        for file in files
        for line in file.read_text().splitlines()
        for part in json.loads(line)["resourceSpans"]
        for scope in part["scopeSpans"]
        for one in scope["spans"]
    ]


def run_writers(path: Path, max_bytes: int) -> None:
    """Let two processes write 200 spans each at the same time."""
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), str(number), str(max_bytes)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for number in (1, 2)
    ]  # fmt: skip
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        out, _ = writer.communicate(timeout=60)
        assert (writer.returncode, out) == (0, "done\n")


def test_spans_of_one_export_are_one_line(tmp_path: Path) -> None:
    file = tmp_path / "not" / "there" / "yet.jsonl"
    exporter = TraceFile(file)
    exporter.write([span(2), span(3)])
    exporter.write([span(4)])
    exporter.close()
    assert len(file.read_text().splitlines()) == 2
    assert written(file) == [(f"{1:032x}", 2), (f"{1:032x}", 3), (f"{1:032x}", 4)]


def test_requests_that_are_sent_together_are_a_line_each(tmp_path: Path) -> None:
    file = tmp_path / "t.jsonl"
    TraceFile(file).send(*(spans_to_json([span(number)]) for number in (2, 3, 4)))
    assert len(file.read_text().splitlines()) == 3
    assert [number for _, number in written(file)] == [2, 3, 4]


def test_what_another_process_wrote_stays(tmp_path: Path) -> None:
    file = tmp_path / "t.jsonl"
    TraceFile(file).write([span(2)])
    TraceFile(file).write([span(3)])
    assert [number for _, number in written(file)] == [2, 3]


def test_two_processes_share_a_file(tmp_path: Path) -> None:
    file = tmp_path / "t.jsonl"
    run_writers(file, max_bytes=1 << 30)
    assert sorted(written(file)) == sorted(
        (f"{writer:032x}", number) for writer in (1, 2) for number in range(1, 201)
    )


def test_a_full_file_is_put_away(tmp_path: Path) -> None:
    file = tmp_path / "t.jsonl"
    exporter = TraceFile(file, max_bytes=1)
    exporter.write([span(2)])
    assert not file.exists()
    exporter.write([span(3)])
    assert previous_file(file) == tmp_path / "t.jsonl.1"
    assert [number for _, number in written(previous_file(file))] == [3]


def test_that_older_traces_are_gone_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    exporter = TraceFile(tmp_path / "t.jsonl", max_bytes=1)
    exporter.write([span(2)])
    assert not caplog.records  # it was put away, and is there
    for number in (3, 4, 5):
        exporter.write([span(number)])
    (record,) = caplog.records
    assert "t.jsonl only the newest are kept" in record.getMessage()


def test_a_file_below_the_limit_stays(tmp_path: Path) -> None:
    file = tmp_path / "t.jsonl"
    exporter = TraceFile(file, max_bytes=10_000)
    for number in range(1, 4):
        exporter.write([span(number)])
    assert not previous_file(file).exists()
    assert len(written(file)) == 3


def test_two_processes_can_put_a_file_away_without_tearing_a_line(tmp_path: Path) -> None:
    file = tmp_path / "t.jsonl"
    # Two files are kept: with a limit of 0.6 of all that is written, the second is not full.
    TraceFile(tmp_path / "one", max_bytes=1 << 30).write([long_span()])
    line_bytes = (tmp_path / "one").stat().st_size
    run_writers(file, max_bytes=240 * line_bytes)
    kept = written(*(one for one in (previous_file(file), file) if one.exists()))
    assert previous_file(file).exists()
    assert sorted(kept) == sorted(
        (f"{writer:032x}", number) for writer in (1, 2) for number in range(1, 201)
    )


def test_what_cannot_be_written_is_said_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").mkdir()
    with pytest.raises(SendFailed, match=os.strerror(errno.EISDIR)) as failed:
        TraceFile(tmp_path / "t.jsonl").write([span(2), span(3)])
    assert failed.value.rejected is None


def export_with_room(path: Path, max_file_bytes: int) -> str:
    """Let a process write two spans where no file may grow beyond a size, as on a full disk."""
    done = subprocess.run([sys.executable, "-c", CRAMPED, str(path), str(max_file_bytes)],
                          capture_output=True, text=True, timeout=60)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_full_disk_is_said(tmp_path: Path) -> None:
    file = tmp_path / "t.jsonl"
    TraceFile(file).write([long_span()])
    size = file.stat().st_size
    assert export_with_room(file, size) == "lost lost "
    assert export_with_room(file, 3 * size) == "written written "


def test_a_torn_line_does_not_spoil_the_next(tmp_path: Path) -> None:
    file = tmp_path / "t.jsonl"
    TraceFile(file).write([long_span()])
    assert export_with_room(file, file.stat().st_size + 100) == "lost lost "
    assert not file.read_bytes().endswith(b"\n")
    TraceFile(file).write([span(9)])
    whole, torn, after = file.read_text().splitlines()
    assert [len(json.loads(line)["resourceSpans"]) for line in (whole, after)] == [1, 1]
    with pytest.raises(json.JSONDecodeError):
        json.loads(torn)


def test_a_file_that_cannot_be_put_away_grows_on_and_nothing_is_lost(tmp_path: Path) -> None:
    file = tmp_path / "t.jsonl"
    previous_file(file).mkdir()
    exporter = TraceFile(file, max_bytes=1)
    for number in (2, 3):
        exporter.write([span(number)])
    assert [number for _, number in written(file)] == [2, 3]
