"""PromQL in rules and dashboard: by Prometheus's own checker, on metrics that are really there."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
import tiny_releases as tiny
import yaml
from cluster import Cluster
from containers import Container
from rendered import CHART, FULL, Chart, Rendered, containers, merged

from gateway.telemetry.metrics.grid import SECONDS
from trident.diagnose.v1 import diagnose_service_pb2 as diagnose
from trident.diagnose.v1.diagnose_service_pb2_grpc import DiagnoseServiceStub

WORD = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
KEDA = merged(FULL, {"gateway": {"autoscaling": {"kind": "keda"}}})
# A metric that an adapter is to make of another; docs/operating.md has its rule.
GUIDE = CHART.parents[2] / "docs" / "operating.md"
ADAPTED = {"trident_triton_queue_us": "nv_inference_queue_duration_us"}


TROUBLES = {
    "trident_calls_refused_total",
    "trident_spans_dropped_total",
    "trident_worker_restarts_total",
}
"""Counters that say nothing until something is wrong."""


def rules(rendered: Rendered) -> dict[str, Any]:
    """The rules as Prometheus itself reads them."""
    return {"groups": rendered.one("PrometheusRule", "gateway")["spec"]["groups"]}


def panels() -> list[Mapping[str, Any]]:
    dashboard = json.loads((CHART / "files" / "dashboard.json").read_text())
    return [one for one in dashboard["panels"] if one["type"] != "row"]


def queries(chart: Chart) -> Iterator[tuple[str, str]]:
    """Where it stands and what it asks, of every PromQL in the chart."""
    rendered = chart.render(KEDA)
    for group in rules(rendered)["groups"]:
        for rule in group["rules"]:
            yield rule.get("alert") or rule["record"], rule["expr"]
    for panel in panels():
        for target in panel["targets"]:
            expression = target["expr"].replace("$__rate_interval", "5m")
            yield panel["title"], expression.replace("$namespace", "ml")
    for scaled in rendered.of("ScaledObject"):
        for trigger in scaled["spec"]["triggers"]:
            if trigger["type"] == "prometheus":
                yield scaled["metadata"]["name"], trigger["metadata"]["query"]
    for rule in adapter_rules():
        yield rule["seriesQuery"], adapted(rule)


def adapter_rules() -> list[Mapping[str, Any]]:
    """What the guide has Prometheus Adapter make metrics of."""
    (block,) = re.findall(r"```yaml\n(rules:.*?)```", GUIDE.read_text(), re.DOTALL)
    return list(yaml.safe_load(block)["rules"]["custom"])


def adapted(rule: Mapping[str, Any]) -> str:
    """The query of an adapter's rule, as the adapter fills it for the pods of a namespace."""
    filled = {
        "<<.GroupBy>>": "namespace, pod",
        "<<.LabelMatchers>>": 'namespace="ml", pod=~"a|b"',
        "<<.Series>>": rule["seriesQuery"].partition("{")[0],
    }
    query = str(rule["metricsQuery"])
    for place, text in filled.items():
        query = query.replace(place, text)
    assert "<<" not in query
    return query


def metrics_in(expression: str) -> set[str]:
    """The names of metrics in an expression: whatever is no label, function or word of PromQL."""
    bare = re.sub(r'"[^"]*"', "", expression)
    bare = re.sub(r"\{[^}]*\}", "", bare)
    bare = re.sub(r"\[[^\]]*\]", "", bare)
    bare = re.sub(r"\b(by|on|without|ignoring)\s*\([^)]*\)", "", bare)
    words = {one for one in WORD.findall(bare) if one not in {"and", "or", "unless", "bool"}}
    return {one for one in words if not re.search(rf"\b{one}\s*\(", bare)}


def promtool_says(promtool: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [promtool, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def troubled(cluster: Cluster, chart: Chart) -> Iterator[str]:
    """What a gateway shows that has refused calls, lost a worker, and finds no collector."""
    values = {
        "gateway": {"settings": {"domain_limits": {"diagnose": 1}}},
        "collector": {"existing": "otel.ml.svc:4317", "sampleRatio": 1},
    }
    gateway = cluster.new_gateway("troubled", chart.render(values))
    gateway.environment = {"OTEL_BSP_MAX_QUEUE_SIZE": "8", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "4"}
    gateway.places = {**gateway.places, "otel.ml.svc:4317": "127.0.0.1:9"}
    try:
        gateway.start()
        gateway.wait(gateway.spec["readinessProbe"])
        assert gateway.process is not None
        for worker in psutil.Process(gateway.process.pid).children():
            worker.kill()
        target = f"127.0.0.1{gateway.places[':50051']}"
        end = time.monotonic() + 60
        while missing := TROUBLES - counted(cluster.scrape(gateway)):
            assert time.monotonic() < end, (missing, gateway.log.read_text())
            ask_at_once(target, 20)
            time.sleep(0.2)
        yield cluster.scrape(gateway)
    finally:
        gateway.kill()


def counted(exported: str) -> set[str]:
    """Names of what has a number above 0."""
    return set(re.findall(r"^(\w+)(?:\{.*\})? (?!0(?:\.0)?$)", exported, re.MULTILINE))


def ask_at_once(target: str, calls: int) -> None:
    request = diagnose.DiagnoseRequest()
    request.measurements.values.update({tiny.WORK: 20_000.0, tiny.SIZE: 1.0})
    with grpc.insecure_channel(target) as channel:
        asked = [DiagnoseServiceStub(channel).Diagnose.future(request, timeout=20)
                 for _ in range(calls)]  # fmt: skip
        for one in asked:
            one.exception()  # its end


@pytest.fixture(scope="module")
def exported(cluster: Cluster, troubled: str) -> str:
    """What gateway and Triton show, once each domain was called and a call has failed."""
    port = cluster.gateway.places[":50051"]
    places = {"demo-trident-gateway.ml.svc:50051": f"127.0.0.1{port}"}
    for spec in containers(cluster.rendered.one("Pod", "test")):
        Container(spec, cluster.folder / f"scraped-{spec['name']}", places).run()
    with grpc.insecure_channel(f"127.0.0.1{port}") as channel:
        request = diagnose.DiagnoseRequest()
        request.measurements.values.update({tiny.WORK: -1.0, tiny.SIZE: 1.0})
        with pytest.raises(grpc.RpcError):
            DiagnoseServiceStub(channel).Diagnose(request, timeout=20)
    end = time.monotonic() + 30
    while 'error_type="' not in cluster.scrape(cluster.gateway):
        assert time.monotonic() < end, cluster.gateway.log.read_text()
        time.sleep(0.1)
    return cluster.scrape(cluster.gateway) + troubled + cluster.scrape(cluster.triton)


def families(exported: str) -> set[str]:
    """Names of metrics, also of those that count what has not happened yet."""
    typed = dict(re.findall(r"^# TYPE (\S+) (\S+)$", exported, re.MULTILINE))
    names = set(re.findall(r"^([a-zA-Z_:][\w:]*)[{ ]", exported, re.MULTILINE)) | set(typed)
    for name, kind in typed.items():
        if kind == "histogram":
            names |= {f"{name}_bucket", f"{name}_count", f"{name}_sum"}
    return names


def test_prometheus_itself_takes_the_rules(full: Rendered, promtool: str, tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump(rules(full)))
    said = promtool_says(promtool, "check", "rules", file)
    assert said.returncode == 0, said.stdout + said.stderr
    count = sum(len(group["rules"]) for group in rules(full)["groups"])
    assert f"{count} rules found" in said.stdout


def test_prometheus_itself_takes_every_query(chart: Chart, promtool: str, tmp_path: Path) -> None:
    file = tmp_path / "queries.yaml"
    recorded = [
        {"record": f"query:{number}", "expr": expression}
        for number, (_, expression) in enumerate(queries(chart))
    ]
    file.write_text(yaml.safe_dump({"groups": [{"name": "all", "rules": recorded}]}))
    said = promtool_says(promtool, "check", "rules", file)
    assert said.returncode == 0, said.stdout + said.stderr
    assert f"{len(recorded)} rules found" in said.stdout


def test_a_query_that_is_none_is_seen(promtool: str, tmp_path: Path) -> None:
    file = tmp_path / "broken.yaml"
    rule = {"record": "a:b", "expr": "sum(rate(x[5m])"}
    file.write_text(yaml.safe_dump({"groups": [{"name": "a", "rules": [rule]}]}))
    assert promtool_says(promtool, "check", "rules", file).returncode != 0


def test_every_metric_that_is_asked_for_is_exported(chart: Chart, exported: str) -> None:
    there = families(exported)
    recorded = {name for name, _ in queries(chart) if name.startswith("trident:")}
    missing = {
        f"{where}: {metric}"
        for where, expression in queries(chart)
        for metric in metrics_in(expression) - recorded
        if metric not in there | {"up"}  # Prometheus' own, of each scrape
    }
    assert missing == set()


def test_what_autoscalers_go_by_is_exported(chart: Chart, exported: str) -> None:
    scaling = {"autoscaling": {"kind": "hpa", "targetCallsPerPod": 9}}
    rendered = chart.render({"gateway": scaling, "triton": {"autoscaling": {"kind": "hpa"}}})
    names = [
        metric["pods"]["metric"]["name"]
        for hpa in rendered.of("HorizontalPodAutoscaler")
        for metric in hpa["spec"]["metrics"]
        if metric["type"] == "Pods"
    ]
    assert len(names) == 2
    assert {ADAPTED.get(name, name) for name in names} <= families(exported)
    made = [rule.get("name", {}).get("as") or rule["seriesQuery"].partition("{")[0]
            for rule in adapter_rules()]  # fmt: skip
    assert sorted(made) == sorted(names)


def test_an_idle_triton_has_a_queue_time_of_0_so_that_it_can_be_scaled_in(
    promtool: str, tmp_path: Path
) -> None:
    (rule,) = [one for one in adapter_rules() if "nv_inference" in one["metricsQuery"]]
    given = [
        {
            "series": f'nv_inference_{name}{{namespace="ml", pod="{pod}", model="m"}}',
            "values": values,
        }
        for pod, values_of in (("a", ("0+60000x20", "0+60x20")), ("b", ("7+0x20", "7+0x20")))
        for name, values in zip(("queue_duration_us", "request_success"), values_of, strict=True)
    ]
    expected = [
        {"labels": '{namespace="ml", pod="a"}', "value": 1000},
        {"labels": '{namespace="ml", pod="b"}', "value": 0},
    ]
    asked = {"expr": adapted(rule), "eval_time": "10m", "exp_samples": expected}
    played = {"interval": "1m", "input_series": given, "promql_expr_test": [asked]}
    (tmp_path / "test.yaml").write_text(yaml.safe_dump({"tests": [played]}))
    said = promtool_says(promtool, "test", "rules", tmp_path / "test.yaml")
    assert said.returncode == 0, said.stdout + said.stderr


def test_every_label_that_is_asked_for_is_exported(chart: Chart, exported: str) -> None:
    asked = " ".join(expression for _, expression in queries(chart))
    by = ",".join(re.findall(r"\b(?:by|on) ?\(([^)]*)\)", asked))
    labels = set(WORD.findall(by.replace(" ", ",")))
    for matchers in re.findall(r"\{([^}]*)\}", asked):
        labels |= set(re.findall(r'(\w+)\s*(?:=~|!~|!=|=)\s*"', matchers))
    assert labels >= {"error_type", "rpc_response_status_code", "trident_line", "le"}
    given_by_prometheus = {"namespace", "service", "pod"}
    recorded = {"release"}
    assert {one for one in labels - given_by_prometheus - recorded
            if f'{one}="' not in exported} == set()  # fmt: skip


def test_what_the_burn_alerts_tell_apart_is_told_apart(exported: str) -> None:
    counted = re.findall(r"^rpc_server_call_duration_seconds_count\{(.*)\}", exported, re.MULTILINE)
    answered = [one for one in counted if 'rpc_response_status_code="OK"' in one]
    failed = [one for one in counted if re.search(r'error_type="[^"]', one)]
    assert answered
    assert failed
    assert not set(answered) & set(failed)


@pytest.mark.parametrize("milliseconds", [5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000])
def test_an_objective_is_a_bound_of_the_histogram(
    chart: Chart, exported: str, milliseconds: int
) -> None:
    assert milliseconds / 1000 in SECONDS.explicit
    values = merged(FULL, {"monitoring": {"latencyMilliseconds": milliseconds}})
    text = rules(chart.render(values))["groups"][0]["rules"][1]["expr"]
    bound = re.search(r'le=~"([^"]*)"', text)
    assert bound is not None
    bounds = set(re.findall(r'rpc_server_call_duration_seconds_bucket\{.*le="([^"]*)"', exported))
    assert len([one for one in bounds if re.fullmatch(bound[1], one)]) == 1


def test_no_other_bound_can_be_given(chart: Chart) -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    bounds = schema["definitions"]["latencyBound"]["enum"]
    parameters = test_an_objective_is_a_bound_of_the_histogram.pytestmark[0].args[1]
    assert bounds == parameters


def series(name: str, labels: str, values: str, namespace: str = "ml") -> dict[str, str]:
    common = f'namespace="{namespace}", service="demo-trident-gateway-headless", pod="a"'
    return {"series": f"{name}{{{common}, {labels}}}", "values": values}


UP = series("up", 'job="demo-trident-gateway-headless"', "1x5000")
TRITON = '{namespace="ml", service="demo-trident-triton-headless"}'
CALLS = "rpc_server_call_duration_seconds"
SERVING = 'trident_line="recommend", trident_release="r1"'
ALERTS: list[tuple[str, str, list[dict[str, str]], list[str]]] = [
    (
        "a fifth of all calls fails",
        "1h",
        [
            series(f"{CALLS}_count", 'rpc_response_status_code="OK"', "0+80x200"),
            series(f"{CALLS}_bucket", 'rpc_response_status_code="OK", le="0.2"', "0+80x200"),
            series(
                f"{CALLS}_count",
                'rpc_response_status_code="INTERNAL", error_type="INTERNAL"',
                "0+20x200",
            ),
        ],
        ["TridentErrorBudgetBurn"],
    ),
    (
        "callers send what is not valid",
        "1h",
        [
            series(f"{CALLS}_count", 'rpc_response_status_code="OK"', "0+80x200"),
            series(f"{CALLS}_bucket", 'rpc_response_status_code="OK", le="0.2"', "0+80x200"),
            series(f"{CALLS}_count", 'rpc_response_status_code="INVALID_ARGUMENT"', "0+20x200"),
        ],
        [],
    ),
    (
        "a third of the answers is slow",
        "1h",
        [
            series(f"{CALLS}_count", 'rpc_response_status_code="OK"', "0+90x200"),
            series(f"{CALLS}_bucket", 'rpc_response_status_code="OK", le="0.2"', "0+60x200"),
        ],
        ["TridentLatencyBudgetBurn"],
    ),
    (
        "all is well",
        "1h",
        [
            series(f"{CALLS}_count", 'rpc_response_status_code="OK"', "0+90x200"),
            series(f"{CALLS}_bucket", 'rpc_response_status_code="OK", le="0.2"', "0+90x200"),
            series("trident_release_weight", SERVING, "1x200"),
            series("trident_release_serving", SERVING, "1x200"),
            series("trident_triton_up", 'trident_triton="t-0"', "1x200"),
        ],
        [],
    ),
    (
        "a release is routed and does not serve",
        "10m",
        [
            series("trident_release_weight", SERVING, "1x200"),
            series("trident_release_serving", SERVING, "0x200"),
        ],
        ["TridentReleaseNotServing"],
    ),
    (
        "no Triton answers",
        "10m",
        [series("trident_triton_up", 'trident_triton="t-0"', "0x200")],
        ["TridentTritonDown"],
    ),
    (
        "calls are refused",
        "10m",
        [
            series(
                "trident_calls_refused_total",
                'trident_line="recommend", trident_reason="full"',
                "0+5x200",
            )
        ],
        ["TridentCallsRefused"],
    ),
    (
        "clients ask for more than they may have",
        "10m",
        [
            series("trident_calls_refused_total", f'trident_reason="{reason}"', "0+5x200")
            for reason in ("rate", "quota", "concurrency")
        ],
        [],
    ),
    (
        "a worker dies every minute",
        "20m",
        [series("trident_worker_restarts_total", 'trident_worker="0"', "0+1x200")],
        ["TridentWorkerRestarts"],
    ),
    (
        "spans are lost",
        "40m",
        [series("trident_spans_dropped_total", 'x=""', "0+1x200")],
        ["TridentSpansDropped"],
    ),
    (
        "requests wait for long in Triton",
        "20m",
        [
            {"series": f"nv_inference_{name}{TRITON}", "values": values}
            for name, values in (
                ("queue_duration_us", "0+3000000x200"), ("request_success", "0+100x200"),
            )
        ],
        ["TridentTritonQueueLong"],
    ),
]  # fmt: skip


OUTAGES: list[tuple[str, list[dict[str, str]]]] = [
    ("nothing is there", []),
    ("gateways do not answer Prometheus", [UP | {"values": "0x200"}]),
    ("they run in another namespace", [series("up", 'job="a"', "1x200", namespace="stage")]),
]


def play(
    promtool: str,
    folder: Path,
    rendered: Rendered | list[Rendered],
    given: list[dict[str, str]],
    at: str,
    alerts: list[str],
) -> str:
    """Return what promtool says against it that after a time just these alerts fire, of ml."""
    files = []
    for number, one in enumerate(rendered if isinstance(rendered, list) else [rendered]):
        files.append(f"rules-{number}.yaml")
        (folder / files[-1]).write_text(yaml.safe_dump(rules(one)))
    expected = [
        {"labels": f'{{alertname="{name}", namespace="ml"}}', "value": 1} for name in alerts
    ]
    firing = {
        "expr": 'count by (alertname, namespace) (ALERTS{alertstate="firing"}) > bool 0',
        "eval_time": at,
        "exp_samples": expected,
    }
    played = {"interval": "1m", "input_series": given, "promql_expr_test": [firing]}
    test = {"rule_files": files, "evaluation_interval": "1m", "tests": [played]}
    (folder / "test.yaml").write_text(yaml.safe_dump(test))
    said = promtool_says(promtool, "test", "rules", folder / "test.yaml")
    return said.stdout + said.stderr if said.returncode else ""


@pytest.mark.parametrize(("what", "at", "given", "alerts"), ALERTS, ids=[one[0] for one in ALERTS])
def test_an_alert_fires_when_it_should_and_no_other(
    full: Rendered,
    promtool: str,
    tmp_path: Path,
    what: str,
    at: str,
    given: list[dict[str, str]],
    alerts: list[str],
) -> None:
    assert play(promtool, tmp_path, full, [UP, *given], at, alerts) == "", what


@pytest.mark.parametrize(("what", "given"), OUTAGES, ids=[one[0] for one in OUTAGES])
def test_it_is_said_that_no_gateway_is_left(
    full: Rendered, promtool: str, tmp_path: Path, what: str, given: list[dict[str, str]]
) -> None:
    assert play(promtool, tmp_path, full, given, "5m", ["TridentGatewaysDown"]) == "", what


def test_two_releases_of_one_name_are_told_apart_by_their_namespaces(
    chart: Chart, promtool: str, tmp_path: Path
) -> None:
    _, at, given, alerts = ALERTS[0]
    well = [
        {**one, "series": one["series"].replace('"ml"', '"stage"')}
        for one in (UP, *given) if "error_type" not in one["series"]
    ]  # fmt: skip
    both = [chart.render(FULL), chart.render(FULL, namespace="stage")]
    assert play(promtool, tmp_path, both, [UP, *given, *well], at, alerts) == ""


@pytest.mark.parametrize(("wanted", "alerts"), [(2, ["TridentTritonDown"]), (1, [])])
def test_a_triton_is_missed_only_where_it_should_run(
    chart: Chart, promtool: str, tmp_path: Path, wanted: int, alerts: list[str]
) -> None:
    """Several gateways look at each; what may come by autoscaling need not be there."""
    scaling = {"kind": "hpa", "minReplicas": wanted, "maxReplicas": 2}
    rendered = chart.render(merged(FULL, {"triton": {"autoscaling": scaling}}))
    given = [
        {
            "series": 'trident_triton_up{namespace="ml", service="demo-trident-gateway-headless",'
            f' pod="{pod}", trident_triton="t-{number}"}}',
            "values": f"{1 - number}x200",
        }
        for pod in "abc"
        for number in (0, 1)
    ]
    assert play(promtool, tmp_path, rendered, [UP, *given], "10m", alerts) == ""


def test_every_alert_is_tried_and_is_in_the_runbook(full: Rendered) -> None:
    names = {
        rule["alert"] for group in rules(full)["groups"] for rule in group["rules"]
        if "alert" in rule
    }  # fmt: skip
    tried = {name for *_, alerts in ALERTS for name in alerts} | {"TridentGatewaysDown"}
    assert tried == names
    assert {name for name in names if f"### {name}" not in GUIDE.read_text()} == set()
