"""The client's spans of a load, and the report of what it caused."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np

from gateway.client.load.driver import TracedCall
from gateway.telemetry.analysis.report import Report, Traces, build_report, read
from gateway.telemetry.building import process_source
from gateway.telemetry.line_file import previous_file
from gateway.telemetry.span import ALL_BITS, Kind, Span, Status, server_attributes
from gateway.telemetry.trace_file import TraceFile

_SPANS_A_LINE = 500
_LOOK_S = 0.25


def write_client_spans(path: Path, method: str, target: str, calls: Iterable[TracedCall]) -> None:
    """Add the spans of calls to a file of traces.

    Raises:
        SendFailed: If the disk does not take them.
    """
    source = process_source("trident-bench", "trident.bench")
    where = server_attributes(target)

    def span(call: TracedCall) -> Span:
        failed = call.status != "OK"
        error: dict[str, str | int] = {"error.type": call.status} if failed else {}
        return Span(
            source=source,
            trace_id=call.trace_id,
            span_id=call.span_id,
            parent_id=0,
            name=method,
            kind=Kind.CLIENT,
            start_ns=call.begin_ns,
            end_ns=call.end_ns,
            attributes={"rpc.system.name": "grpc", "rpc.method": method, **where, **error,
                        "rpc.response.status_code": call.status},
            status=Status.ERROR if failed else Status.UNSET,
        )  # fmt: skip

    file = TraceFile(path)
    for some in _portions(map(span, calls), _SPANS_A_LINE):
        file.write(some)


def wait_until_quiet(
    path: Path,
    quiet_s: float,
    timeout_s: float,
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Wait until nothing was written to a file of traces for a while.

    Args:
        path: The file.
        quiet_s: How long nothing: gateway and Triton send their spans in batches.
        timeout_s: How long to wait at most.
        sleep: Waits.
    """
    waited, quiet, size = 0.0, 0.0, -1
    while waited < timeout_s and quiet < quiet_s:
        sleep(_LOOK_S)
        waited += _LOOK_S
        now = sum(one.stat().st_size for one in (previous_file(path), path) if one.is_file())
        quiet = quiet + _LOOK_S if now == size else 0.0
        size = now


def report_of(path: Path, traced: Sequence[TracedCall]) -> Report:
    """Return the report of the calls of a load alone, whatever else is in the file."""
    traces = read([path])
    ours = {f"{call.trace_id:032x}" for call in traced}
    mask = np.array([one in ours for one in traces.calls.trace], dtype=bool)
    kept = Traces(traces.calls.select(mask), traces.forest, traces.damage, traces.files)
    low = np.array([call.trace_id & ALL_BITS for call in traced], dtype=np.uint64)
    spans = int(np.count_nonzero(np.isin(traces.forest.column("trace"), low)))
    return replace(build_report(kept), spans=spans)


def _portions(spans: Iterator[Span], size: int) -> Iterator[list[Span]]:
    while some := list(islice(spans, size)):
        yield some
