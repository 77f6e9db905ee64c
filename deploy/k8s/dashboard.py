"""Grafana's dashboard as data: what each panel asks Prometheus, and why one looks at it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_GATEWAYS = '{namespace="$namespace", service=~".*-gateway-headless"}'
_TRITONS = '{namespace="$namespace", service=~".*-triton-headless"}'
_WINDOW = "[$__rate_interval]"


@dataclass(frozen=True)
class Panel:
    """A graph.

    Attributes:
        title: What is seen.
        text: What it is good for.
        unit: Grafana's name of it.
        queries: PromQL and the legend of its series.
    """

    title: str
    text: str
    unit: str
    queries: Sequence[tuple[str, str]]


def _rate(name: str, by: str = "", selector: str = _GATEWAYS) -> str:
    grouped = f" by ({by})" if by else ""
    return f"sum{grouped} (rate({name}{selector}{_WINDOW}))"


def _failed() -> str:
    selector = _GATEWAYS.replace("}", ', error_type!=""}')
    return _rate("rpc_server_call_duration_seconds_count", "rpc_method, error_type", selector)


def _quantile(share: float, name: str, by: str) -> str:
    return f"histogram_quantile({share}, {_rate(name + '_bucket', 'le, ' + by)})"


ROWS: Sequence[tuple[str, Sequence[Panel]]] = (
    (
        "Calls",
        (
            Panel(
                "Calls per second",
                "Who asks what. A method that falls to nothing has lost its caller or its release.",
                "reqps",
                (
                    (
                        _rate("rpc_server_call_duration_seconds_count", "rpc_method"),
                        "{{rpc_method}}",
                    ),
                ),
            ),
            Panel(
                "Failed by our fault",
                "What burns the error budget, which a bad request does not.",
                "reqps",
                ((_failed(), "{{rpc_method}} {{error_type}}"),),
            ),
            Panel(
                "Time of a call, p50 and p99",
                "What clients wait, without the network.",
                "s",
                (
                    (
                        _quantile(0.5, "rpc_server_call_duration_seconds", "rpc_method"),
                        "p50 {{rpc_method}}",
                    ),
                    (
                        _quantile(0.99, "rpc_server_call_duration_seconds", "rpc_method"),
                        "p99 {{rpc_method}}",
                    ),
                ),
            ),
            Panel(
                "Where the time goes",
                "Mean of each stage. More queue: more gateways or Tritons; more triton: the model.",
                "s",
                (
                    (
                        f"{_rate('trident_stage_duration_seconds_sum', 'trident_stage')} / "
                        f"{_rate('trident_stage_duration_seconds_count', 'trident_stage')}",
                        "{{trident_stage}}",
                    ),
                ),
            ),
        ),
    ),
    (
        "Load",
        (
            Panel(
                "Calls in flight in a pod",
                "What the autoscaler aims at (gateway.autoscaling.targetCallsPerPod).",
                "short",
                ((f"sum by (pod) (trident_calls_active{_GATEWAYS})", "{{pod}}"),),
            ),
            Panel(
                "Waiting, and how many may",
                "At the limit, calls are refused.",
                "short",
                (
                    (
                        f"sum by (trident_line) (trident_calls_waiting{_GATEWAYS})",
                        "{{trident_line}}",
                    ),
                    (
                        f"max by (trident_line) (trident_calls_waiting_limit{_GATEWAYS})",
                        "limit {{trident_line}}",
                    ),
                ),
            ),
            Panel(
                "Refused",
                "Calls that came while too many waited.",
                "reqps",
                ((_rate("trident_calls_refused_total", "trident_line"), "{{trident_line}}"),),
            ),
            Panel(
                "Cores of a pod",
                "A worker cannot use more than one: at one a worker, more pods or workers help.",
                "short",
                ((_rate("process_cpu_time_seconds_total", "pod"), "{{pod}}"),),
            ),
        ),
    ),
    (
        "Releases",
        (
            Panel(
                "Routed and serving",
                "1 where every gateway can ask the release.",
                "short",
                (
                    (
                        "min by (trident_line, trident_release) "
                        f"(trident_release_serving{_GATEWAYS})",
                        "{{trident_line}} {{trident_release}}",
                    ),
                ),
            ),
            Panel(
                "Share of the calls",
                "What the routes say. A release that is rolled back falls to nothing.",
                "percentunit",
                (
                    (
                        "max by (trident_line, trident_release) "
                        f"(trident_release_weight{_GATEWAYS})",
                        "{{trident_line}} {{trident_release}}",
                    ),
                ),
            ),
        ),
    ),
    (
        "Triton",
        (
            Panel(
                "Mean wait in Triton's queue",
                "What Triton's autoscaler aims at (triton.autoscaling.targetQueueMicroseconds).",
                "µs",
                (
                    (
                        f"{_rate('nv_inference_queue_duration_us', 'model', _TRITONS)} / "
                        f"{_rate('nv_inference_request_success', 'model', _TRITONS)}",
                        "{{model}}",
                    ),
                ),
            ),
            Panel(
                "Mean time of computing",
                "Of the network itself. It grows with the batch and with company on the device.",
                "µs",
                (
                    (
                        f"{_rate('nv_inference_compute_infer_duration_us', 'model', _TRITONS)} / "
                        f"{_rate('nv_inference_request_success', 'model', _TRITONS)}",
                        "{{model}}",
                    ),
                ),
            ),
            Panel(
                "Rows computed at a time",
                "Large is cheap. Near one under load: queue delay or batches are too small.",
                "short",
                (
                    (
                        f"{_rate('nv_inference_count', 'model', _TRITONS)} / "
                        f"{_rate('nv_inference_exec_count', 'model', _TRITONS)}",
                        "{{model}}",
                    ),
                ),
            ),
            Panel(
                "Failed requests",
                "Triton's own count.",
                "reqps",
                ((_rate("nv_inference_request_failure", "model", _TRITONS), "{{model}}"),),
            ),
        ),
    ),
)


def dashboard() -> dict[str, Any]:
    """Return the dashboard as Grafana imports it."""
    panels: list[dict[str, Any]] = []
    top = 0
    for title, row in ROWS:
        panels.append(_place({"type": "row", "title": title}, len(panels), 0, top, 24, 1))
        width = 24 // len(row)
        for column, panel in enumerate(row):
            place = (len(panels), column * width, top + 1, width, 8)
            panels.append(_place(_graph(panel), *place))
        top += 9
    return {
        "title": "Trident",
        "uid": "trident",
        "schemaVersion": 41,
        "tags": ["trident"],
        "time": {"from": "now-3h", "to": "now"},
        "refresh": "30s",
        "templating": {"list": [_DATASOURCE, _NAMESPACE]},
        "panels": panels,
    }


_DATASOURCE = {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Source"}
_NAMESPACE = {
    "name": "namespace",
    "type": "query",
    "label": "Namespace",
    "datasource": {"type": "prometheus", "uid": "${datasource}"},
    "query": "label_values(trident_workers, namespace)",
    "refresh": 2,
}


def _graph(panel: Panel) -> dict[str, Any]:
    source = {"type": "prometheus", "uid": "${datasource}"}
    return {
        "type": "timeseries",
        "title": panel.title,
        "description": panel.text,
        "datasource": source,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + number), "datasource": source, "expr": expr,
             "legendFormat": legend}
            for number, (expr, legend) in enumerate(panel.queries)
        ],
    }  # fmt: skip


def _place(
    panel: dict[str, Any], number: int, x: int, y: int, width: int, height: int
) -> dict[str, Any]:
    return panel | {"id": number + 1, "gridPos": {"x": x, "y": y, "w": width, "h": height}}
