"""Traces as Chrome's JSON, for chrome://tracing and whatever reads it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import IO, Any

from gateway.telemetry.analysis.forest import Forest
from gateway.telemetry.analysis.tracks import Slice, slices

Json = dict[str, Any]


def write_chrome_trace(forest: Forest, file: IO[bytes], traces: tuple[str, ...] = ()) -> int:
    """Write traces and return how many spans; an event a line."""
    count = 0
    file.write(b'{"displayTimeUnit":"ms","traceEvents":[\n')
    comma = b""
    for event in _events(forest, traces):
        file.write(comma + json.dumps(event, separators=(",", ":")).encode())
        comma = b",\n"
        count += event["ph"] == "X"
    file.write(b"\n]}\n")
    return count


def _events(forest: Forest, traces: tuple[str, ...]) -> Iterator[Json]:
    processes: dict[str, int] = {}
    named: set[tuple[str, int]] = set()
    epoch = int(forest.start.min()) if len(forest.start) else 0
    places: dict[int, Slice] = {}
    waiting: list[Slice] = []
    for one in slices(forest, traces):
        pid = processes.setdefault(one.service, len(processes) + 1)
        if (one.service, one.lane) not in named:
            named.add((one.service, one.lane))
            yield _name("process_name", pid, one.lane, one.service)
            yield _name("thread_name", pid, one.lane, f"lane {one.lane}")
        places[one.row] = one
        if one.batch >= 0:
            waiting.append(one)
        yield {
            "ph": "X", "pid": pid, "tid": one.lane, "name": one.name, "cat": one.service,
            "ts": (one.begin_ns - epoch) / 1000, "dur": (one.end_ns - one.begin_ns) / 1000,
            "args": {"trace_id": one.trace_id, "span_id": one.span_id, "failed": one.failed},
        }  # fmt: skip
    for one in waiting:
        target = places.get(one.batch)
        if target is not None:
            yield _flow("s", one, processes, epoch, one.span_id)
            yield _flow("f", target, processes, epoch, one.span_id) | {"bp": "e"}


def _name(kind: str, pid: int, lane: int, name: str) -> Json:
    return {"ph": "M", "pid": pid, "tid": lane, "name": kind, "args": {"name": name}}


def _flow(phase: str, at: Slice, processes: dict[str, int], epoch: int, identity: str) -> Json:
    return {
        "ph": phase, "id": identity, "name": "batch", "cat": "batch", "pid": processes[at.service],
        "tid": at.lane, "ts": (at.begin_ns - epoch) / 1000,
    }  # fmt: skip
