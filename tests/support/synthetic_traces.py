"""Traces as the gateway and Triton write them, with the times that a test plants in them."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

Json = dict[str, Any]

EPOCH_NS = 1_795_536_749_000_000_000
TRITON_METHOD = "inference.GRPCInferenceService/ModelInfer"
_MS = 1_000_000
_ids = count(1)


@dataclass(frozen=True)
class Step:
    """How long a step of the model takes, in ms."""

    name: str
    queue: float = 0.05
    input: float = 0.02
    infer: float = 0.4
    output: float = 0.03
    other: float = 0.0


@dataclass(frozen=True)
class Planted:
    """How long each stage of a call takes, in ms."""

    method: str = "trident.risk.v1.RiskService/ScoreRisk"
    line: str = "score-risk"
    release: str = "a1"
    client: float = 0.2
    decode: float = 0.3
    queue: float = 0.05
    admission: float = 0.02
    triton_network: float = 0.3
    retry: float = 0.0
    """What was lost on a Triton that did not answer."""
    triton_server: float = 0.05
    steps: Sequence[Step] = (Step("prepare"), Step("score", infer=0.8), Step("calibrate"))
    encode: float = 0.1
    code: str = "OK"
    has_client: bool = True
    has_triton: bool = True
    triton_skew: float = 0.0
    """What Triton's clock is ahead, in ms."""
    attributes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def triton_ms(self) -> float:
        """What the steps take together."""
        return sum(s.queue + s.input + s.infer + s.output + s.other for s in self.steps)

    @property
    def total_ms(self) -> float:
        """What the client waits for."""
        at_triton = self.retry + self.triton_network + self.triton_server + self.triton_ms
        waits = self.queue + self.admission
        return self.client * self.has_client + self.decode + waits + at_triton + self.encode

    def with_step(self, name: str, **times: float) -> Planted:
        """Return the same with other times of one step."""
        steps = [replace(one, **times) if one.name == name else one for one in self.steps]
        return replace(self, steps=steps)


def write(path: Path, lines: Iterable[Sequence[Json]]) -> Path:
    """Write spans, a request a line, each as ``(service, span)``."""
    with path.open("wb") as raw, ExitStack() as stack:
        file = stack.enter_context(gzip.open(raw, "wb")) if path.suffix == ".gz" else raw
        for spans in lines:
            file.write(json.dumps(request(spans), separators=(",", ":")).encode() + b"\n")
    return path


def request(spans: Iterable[Json]) -> Json:
    """An ``ExportTraceServiceRequest``, by service."""
    services: dict[str, list[Json]] = {}
    for one in spans:
        services.setdefault(one["service"], []).append(
            {name: value for name, value in one.items() if name != "service"}
        )
    return {
        "resourceSpans": [
            {
                "resource": {"attributes": [attribute("service.name", service)]},
                "scopeSpans": [{"scope": {"name": service}, "spans": some}],
            }
            for service, some in services.items()
        ]
    }


def attribute(key: str, value: Any) -> Json:
    """A key and a value, typed."""
    if isinstance(value, bool):
        return {"key": key, "value": {"boolValue": value}}
    if isinstance(value, int):
        return {"key": key, "value": {"intValue": str(value)}}
    if isinstance(value, float):
        return {"key": key, "value": {"doubleValue": value}}
    return {"key": key, "value": {"stringValue": value}}


def span(
    trace: str,
    name: str,
    begin: float,
    end: float,
    parent: str = "",
    *,
    service: str = "trident-gateway",
    kind: int = 1,
    attributes: Mapping[str, Any] | None = None,
    events: Mapping[str, float] | None = None,
    links: Iterable[Json] = (),
    failed: bool = False,
) -> Json:
    """One span; times in ms since :data:`EPOCH_NS`."""
    made: Json = {
        "service": service,
        "traceId": trace,
        "spanId": f"{next(_ids):016x}",
        "name": name,
        "kind": kind,
        "startTimeUnixNano": _ns(begin),
        "endTimeUnixNano": _ns(end),
    }
    if parent:
        made["parentSpanId"] = parent
    if attributes:
        made["attributes"] = [attribute(key, value) for key, value in attributes.items()]
    if events:
        made["events"] = [{"name": key, "timeUnixNano": _ns(at)} for key, at in events.items()]
    if found := _links(links):
        made["links"] = found
    if failed:
        made["status"] = {"code": 2}
    return made


def new_trace() -> str:
    """A trace ID that no other test has."""
    return f"{0xABCDEF:016x}{next(_ids):016x}"


def call(planted: Planted, at: float = 0.0) -> list[Json]:
    """The spans of a call that goes to Triton on its own, starting ``at`` ms."""
    trace = new_trace()
    spans: list[Json] = []
    inner = planted.total_ms - planted.client * planted.has_client
    begin, parent = at, ""
    if planted.has_client:
        client = span(trace, planted.method, at, at + planted.total_ms, kind=3,
                      service="trident-client")  # fmt: skip
        spans.append(client)
        begin, parent = at + planted.client / 2, client["spanId"]
    server = _server(trace, planted, begin, begin + inner, parent)
    now = begin
    for name in ("decode", "queue", "admission"):
        ms = getattr(planted, name)
        spans.append(span(trace, name, now, now + ms, server["spanId"]))
        now += ms
    at_triton = planted.retry + planted.triton_network + planted.triton_server + planted.triton_ms
    infer = _infer(trace, planted, now, now + at_triton, server["spanId"])
    spans += [server, infer]
    if planted.retry:
        spans.append(span(trace, "attempt", now, now + planted.retry, infer["spanId"]))
    if planted.has_triton:
        begin = now + planted.retry + planted.triton_network / 2
        spans += triton(trace, planted, begin, infer["spanId"])
    now += at_triton
    spans.append(span(trace, "encode", now, now + planted.encode, server["spanId"]))
    return spans


def batch(
    planted: Planted, calls: int, *, window: float, at: float = 0.0, own_trace: bool = False
) -> list[Json]:
    """The spans of calls that travel to Triton together.

    The first call waits ``window`` ms for the others, which come in equal distances. The call to
    Triton lies in the trace of the first, or in one of its own.
    """
    leaves = at + planted.decode + planted.queue + window
    back = leaves + planted.admission + planted.triton_network + planted.triton_server
    back += planted.triton_ms
    servers, waits, spans = [], [], []
    for number in range(calls):
        trace = new_trace()
        begin = at + window * number / calls
        server = _server(trace, planted, begin, back + planted.encode, "")
        now = begin + planted.decode
        gone = leaves + planted.admission
        wait = span(trace, "batch", gone, back, server["spanId"],
                    attributes={"trident.batch.calls": calls})  # fmt: skip
        spans += [
            span(trace, "decode", begin, now, server["spanId"]),
            span(trace, "queue", now, leaves, server["spanId"]),
            span(trace, "admission", leaves, gone, server["spanId"]),
            span(trace, "encode", back, back + planted.encode, server["spanId"]),
        ]
        servers.append(server)
        waits.append(wait)
    trace, parent = (new_trace(), "") if own_trace else (waits[0]["traceId"], waits[0]["spanId"])
    infer = _infer(trace, planted, leaves + planted.admission, back, parent,
                   {"trident.batch.calls": calls})  # fmt: skip
    others = waits if own_trace else waits[1:]
    for wait in others:
        wait["links"] = _links([infer])
    infer["links"] = _links(others)
    begin = leaves + planted.admission + planted.triton_network / 2
    return [*triton(trace, planted, begin, infer["spanId"]), *spans, *waits, *servers, infer]


def triton(trace: str, planted: Planted, begin: float, parent: str) -> Iterator[Json]:
    """Triton's spans, as it sends them."""
    begin += planted.triton_skew
    model = f"{planted.line}__{planted.release}"
    made: list[Json] = []
    end = begin + planted.triton_server + planted.triton_ms
    root = span(trace, "InferRequest", begin, end, parent, service="triton", kind=2)
    now = begin + planted.triton_server / 2
    ensemble = span(trace, model, now, now + planted.triton_ms, root["spanId"], service="triton",
                    kind=2, attributes={"triton.model_name": model},
                    events={"REQUEST_START": now, "QUEUE_START": now})  # fmt: skip
    made += [root, ensemble]
    for step in planted.steps:
        made += _step(trace, f"{model}__{step.name}", step, now, ensemble["spanId"])
        now += step.queue + step.input + step.infer + step.output + step.other
    yield from reversed(made)


def _step(trace: str, model: str, step: Step, begin: float, parent: str) -> Iterator[Json]:
    start = begin + step.queue
    loaded = start + step.input
    computed = loaded + step.infer
    end = computed + step.output
    own = span(trace, model, begin, end + step.other, parent, service="triton", kind=2,
               attributes={"triton.model_name": model},
               events={"REQUEST_START": begin, "QUEUE_START": begin})  # fmt: skip
    yield own
    yield span(trace, "compute", start, end, own["spanId"], service="triton", kind=2,
               events={"COMPUTE_START": start, "COMPUTE_INPUT_END": loaded,
                       "COMPUTE_OUTPUT_START": computed, "COMPUTE_END": end})  # fmt: skip


def _server(trace: str, planted: Planted, begin: float, end: float, parent: str) -> Json:
    attributes = {
        "rpc.system.name": "grpc",
        "rpc.method": planted.method,
        "trident.line": planted.line,
        "trident.release": planted.release,
        "trident.variant": "ensemble",
        "rpc.response.status_code": planted.code,
        **planted.attributes,
    }
    failed = planted.code != "OK"
    if failed:
        attributes["error.type"] = planted.code
    return span(trace, planted.method, begin, end, parent, kind=2, attributes=attributes,
                failed=failed)  # fmt: skip


def _infer(
    trace: str,
    planted: Planted,
    begin: float,
    end: float,
    parent: str,
    more: Mapping[str, Any] | None = None,
) -> Json:
    attributes = {
        "rpc.system.name": "grpc",
        "rpc.method": TRITON_METHOD,
        "trident.model": f"{planted.line}__{planted.release}",
        "rpc.response.status_code": "OK",
    }
    return span(trace, TRITON_METHOD, begin, end, parent, kind=3,
                attributes=attributes | dict(more or {}))  # fmt: skip


def _links(spans: Iterable[Json]) -> list[Json]:
    return [{"traceId": one["traceId"], "spanId": one["spanId"]} for one in spans]


def _ns(ms: float) -> str:
    return str(EPOCH_NS + round(_MS * ms))
