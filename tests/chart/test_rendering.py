from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import helm_python as helm
import pytest
from allpairspy import AllPairs
from kubernetes_schemas import NEWEST, invalid
from rendered import CHART, EXAMPLES, FULL, PLANS, Chart, Object, Rendered, merged, values_of

CUSTOM = ("keda.sh", "monitoring.coreos.com", "cert-manager.io", "gateway.networking.k8s.io",
          "external-secrets.io")  # fmt: skip

# Each list is one choice; with all pairs of choices, each is seen with each of the others.
CHOICES: list[list[dict[str, Any]]] = [
    [
        {"store": {"kind": "pvc"}},
        {"store": {"pvc": {"existingClaim": "models"}}},
        {"store": {"kind": "bucket", "url": "gs://models/trident"}, "builder": FULL["builder"]},
        {"store": {"kind": "init", "init": {"image": "registry.example/r:1", "command": ["cp"]}}},
    ],
    [
        {"triton": {"workload": "StatefulSet", "replicas": 3}},
        {"triton": {"workload": "StatefulSet", "autoscaling": {"kind": "hpa"}}},
        {"triton": {"workload": "StatefulSet", "autoscaling": {"kind": "keda"}}},
        {"triton": {"workload": "Deployment", "strategy": "Recreate"}},
        {"triton": {"workload": "Deployment", "strategy": "RollingUpdate"}},
    ],
    [
        {},
        {"triton": {"gpu": {"count": 1, "runtimeClassName": "nvidia"}}},
        {"triton": {"gpu": {"count": 2, "resource": "nvidia.com/mig-1g.10gb"}}},
    ],
    [
        {"gateway": {"replicas": 0}},
        {"gateway": {"autoscaling": {"kind": "hpa"}}},
        {"gateway": {"autoscaling": {"kind": "hpa", "targetCpuPercent": 0,
                                     "targetCallsPerPod": 9}}},
        {"gateway": {"autoscaling": {"kind": "keda", "targetCallsPerPod": 9}}},
    ],
    [
        {},
        {"collector": {"existing": "collector.observability:4317"}},
        {"collector": {"enabled": True, "exportTo": "tempo:4317"}},
    ],
    [
        {"monitoring": {"prometheusUrl": "http://p"}},
        {"monitoring": {"prometheusUrl": "http://p", "serviceMonitor": True, "dashboard": True,
                        "prometheusRule": True, "labels": {"release": "stack"}}},
    ],
    [
        {},
        {"ingress": FULL["ingress"]},
        {"ingress": FULL["ingress"], "certificate": FULL["certificate"]},
        {"grpcRoute": FULL["grpcRoute"]},
    ],
    [
        {"networkPolicy": {"enabled": False}},
        {"networkPolicy": {"enabled": True}},
        {"networkPolicy": {"clientNamespaceLabels": {"team": "shop"}}},
    ],
    [
        {},
        {"gateway": {"tls": {"secretName": "tls"}}},
        {"gateway": {"tls": FULL["gateway"]["tls"]},
         "tests": {"clientTlsSecret": "client"}},
        {"gateway": {"keysSecret": "keys", "settings": {"jwt_keys": "https://a/keys"}}},
    ],
    [{}, {"image": {"pullSecrets": ["registry"]}}, {"fullnameOverride": "t"}],
    [{"gateway": {"preStopSeconds": 0, "pdb": {"enabled": False}}}, {}],
    [{}, {"triton": {"modelConfigName": "onnx-cuda"}}],
    [
        {},
        {"gateway": {"secretEnv": FULL["gateway"]["secretEnv"]},
         "externalSecrets": FULL["externalSecrets"]},
    ],
]  # fmt: skip


def matrix() -> Iterator[dict[str, Any]]:
    for chosen in AllPairs([list(range(len(one))) for one in CHOICES]):
        yield merged(*(CHOICES[n][index] for n, index in enumerate(chosen)))


MATRIX = list(matrix())


def built_in(rendered: Rendered) -> list[Object]:
    """The objects of kinds that every Kubernetes has."""
    return [one for one in rendered.objects if api_group(one) not in CUSTOM]


def api_group(one: Object) -> str:
    return str(one["apiVersion"]).partition("/")[0]


@pytest.mark.parametrize("path", [None, *EXAMPLES], ids=lambda path: path.stem if path else "none")
def test_lint_has_nothing_to_say_but_that_there_is_no_icon(path: Path | None) -> None:
    report = helm.lint(CHART, values_of(path) if path else {}, strict=True)
    said = [one["error"] for one in report["messages"] if one["severity"] > 0]
    assert report["total_charts_linted"] == 1
    assert (said, report["errors"]) == (["icon is recommended"], [])


@pytest.mark.parametrize("version", NEWEST)
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_is_valid(chart: Chart, path: Path, version: str) -> None:
    rendered = chart.render(values_of(path))
    assert len(rendered.objects) > 5
    assert invalid(built_in(rendered), version) == []


@pytest.mark.parametrize("version", NEWEST)
def test_as_much_as_can_be_on_at_once_is_valid(chart: Chart, version: str) -> None:
    assert invalid(built_in(chart.render(FULL)), version) == []
    assert invalid(built_in(chart.render(PLANS)), version) == []


def test_a_field_that_does_not_exist_is_seen(full: Rendered) -> None:
    broken = merged(full.one("Deployment", "gateway"), {"spec": {"replicaz": 1}})
    assert "replicaz" in invalid([broken], NEWEST[-1])[0]


def test_the_three_newest_versions_are_three() -> None:
    minors = [int(one.split(".")[1]) for one in NEWEST]
    assert minors == [minors[-1] - 2, minors[-1] - 1, minors[-1]]


@pytest.mark.parametrize("version", NEWEST)
@pytest.mark.parametrize("values", MATRIX, ids=range(len(MATRIX)))
def test_all_pairs_of_choices_are_valid(chart: Chart, values: dict[str, Any], version: str) -> None:
    assert invalid(built_in(chart.render(values)), version) == []


def test_the_matrix_has_every_pair_of_choices() -> None:
    pairs = {
        (a, i, b, j)
        for a, first in enumerate(CHOICES) for b, second in enumerate(CHOICES) if a < b
        for i in range(len(first)) for j in range(len(second))
    }  # fmt: skip
    for chosen in AllPairs([list(range(len(one))) for one in CHOICES]):
        for a, i in enumerate(chosen):
            pairs -= {(a, i, b, j) for b, j in enumerate(chosen)}
    assert pairs == set()


def test_the_chart_asks_for_no_kubernetes_older_than_what_it_uses(chart: Chart) -> None:
    # `preStop.sleep` is stable since 1.34; before, clusters may have it turned off.
    assert helm.Chart.load(CHART).metadata["kubeVersion"] == ">=1.34.0-0"


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (
            {"triton": {"workload": "Deployment", "autoscaling": {"kind": "hpa"}}},
            "triton.workload: a Deployment cannot scale, because releases are loaded on each pod",
        ),
        (
            {"triton": {"workload": "Deployment", "replicas": 2}},
            "triton.workload: a Deployment has one pod, because releases are loaded on each pod",
        ),
        ({"triton": {"replicas": 0}}, "triton.replicas: a gateway needs at least one Triton"),
        ({"store": {"kind": "bucket"}}, "store.kind bucket needs store.url"),
        ({"store": {"url": "s3://a/b"}}, "store.url is for store.kind bucket."),
        ({"store": {"kind": "init"}}, "store.kind init needs store.init.image and store.init"),
        (
            merged({"store": {"kind": "init"}}, {"builder": FULL["builder"]}),
            "builder.cronJobs need a store that lasts",
        ),
        (merged(PLANS, {"plans": {"command": []}}), "plans.enabled needs plans.command"),
        (merged(PLANS, {"triton": {"gpu": {"count": 0}}}), "plans.enabled needs triton.gpu.count"),
        (
            merged(PLANS, {"triton": {"modelConfigName": "onnx-cuda"}}),
            "plans.enabled needs triton.modelConfigName: tensorrt",
        ),
        (
            merged(PLANS, {"store": {"pvc": {"existingClaim": ""}}}),
            "plans.enabled needs store.pvc.existingClaim",
        ),
        (
            {"gateway": {"autoscaling": {"kind": "hpa", "minReplicas": 5, "maxReplicas": 4}}},
            "gateway.autoscaling: minReplicas is greater than maxReplicas.",
        ),
        (
            {"triton": {"autoscaling": {"kind": "keda"}}},
            "triton.autoscaling.kind keda needs monitoring.prometheusUrl.",
        ),
        (
            {"gateway": {"autoscaling": {"kind": "hpa", "targetCpuPercent": 0}}},
            "gateway.autoscaling needs a target: targetCpuPercent or targetCallsPerPod.",
        ),
        (
            {"gateway": {"autoscaling": {"kind": "hpa"}, "resources": {"requests": {"cpu": None}}}},
            "gateway.autoscaling.targetCpuPercent needs gateway.resources.requests.cpu",
        ),
        (
            {"gateway": {"settings": {"require_signed": True}}},
            "gateway.settings.require_signed needs gateway.publicKeySecret",
        ),
        (
            {"collector": {"enabled": True, "exportTo": "a:1", "existing": "b:4317"}},
            "collector: give enabled or existing, not both.",
        ),
        ({"collector": {"enabled": True}}, "collector.enabled needs collector.exportTo"),
        ({"gateway": {"metricsPort": 50051}}, "gateway.metricsPort is gateway.port"),
        ({"ingress": {"enabled": True, "tlsSecretName": "a"}}, "ingress.enabled needs ingress"),
        (
            {"ingress": {"enabled": True, "host": "a.example.com"}},
            "ingress controllers speak HTTP/2, and so gRPC, over TLS only.",
        ),
        (
            {"grpcRoute": {"enabled": True, "host": "a.example.com"}},
            "grpcRoute.enabled needs grpcRoute.gatewayName and grpcRoute.host.",
        ),
        (
            {"certificate": {"enabled": True, "issuerName": "a"}},
            "the gateways' own is gateway.tls.certificate",
        ),
        (
            {"ingress": FULL["ingress"], "certificate": {"enabled": True}},
            "certificate.enabled needs certificate.issuerName.",
        ),
        (
            {"gateway": {"tls": {"certificate": {"enabled": True, "issuerName": "a"}}}},
            "gateway.tls.certificate.enabled needs gateway.tls.secretName",
        ),
        (
            {"gateway": {"tls": {"clientCaSecret": "a"}}},
            "gateway.tls.clientCaSecret needs gateway.tls.secretName",
        ),
        (
            {
                "gateway": {"tls": {"secretName": "a"}},
                "ingress": {"enabled": True, "host": "a.example.com", "tlsSecretName": "b"},
            },
            "nginx.ingress.kubernetes.io/backend-protocol: GRPCS",
        ),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused_with_a_sentence(
    chart: Chart, values: dict[str, Any], sentence: str
) -> None:
    assert sentence in chart.refusal(values)


def test_every_sentence_of_the_requirements_is_tested() -> None:
    text = (CHART / "templates" / "requirements.yaml").read_text()
    cases = test_what_cannot_work_is_refused_with_a_sentence.pytestmark[0].args[1]
    assert text.count("$wrong = append") == len(cases)


def test_all_that_is_wrong_is_said_at_once(chart: Chart) -> None:
    said = chart.refusal({"store": {"kind": "bucket"}, "collector": {"enabled": True}})
    assert "store.kind bucket needs" in said
    assert "collector.enabled needs" in said


@pytest.mark.parametrize(
    ("values", "part"),
    [
        ({"gatewya": {}}, "'gatewya' not allowed"),
        ({"gateway": {"replica": 3}}, "'replica' not allowed"),
        ({"gateway": {"settings": {"max_inflight": 3}}}, "'max_inflight' not allowed"),
        ({"gateway": {"settings": {"max_in_flight": "many"}}}, "want integer"),
        ({"gateway": {"settings": {"shared_memory_bytes": 1}}}, "not allowed"),
        ({"gateway": {"replicas": -1}}, "minimum"),
        ({"gateway": {"secretEnv": {"A": {"value": "hush"}}}}, "'value' not allowed"),
        ({"gateway": {"settings": {"insecure": True}}}, "'insecure' not allowed"),
        ({"gateway": {"tls": {"key": "hush"}}}, "'key' not allowed"),
        ({"triton": {"gpu": {"resource": "amd.com/gpu"}}}, "does not match pattern"),
        ({"triton": {"workload": "DaemonSet"}}, "must be one of"),
        ({"collector": {"existing": "otel:14317"}}, "does not match pattern"),
        ({"collector": {"exportTo": "tempo"}}, "does not match pattern"),
        ({"store": {"kind": "nfs"}}, "must be one of"),
        ({"monitoring": {"latencyMilliseconds": 123}}, "must be one of"),
        ({"builder": {"cronJobs": {"a": {"task": "recsys"}}}}, "missing property 'schedule'"),
    ],
)
def test_what_is_mistyped_is_refused_by_the_schema(
    chart: Chart, values: dict[str, Any], part: str
) -> None:
    said = chart.refusal(values)
    assert "don't meet the specifications of the schema" in said
    assert part in said


def test_schema_readme_and_dashboard_are_what_the_sources_give() -> None:
    script = CHART.parent / "write_chart.py"
    done = subprocess.run(
        [sys.executable, script, "--check"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_notes_are_five_lines_that_name_what_there_is(chart: Chart) -> None:
    notes = chart.render({"fullnameOverride": "t"}).notes.strip().splitlines()
    assert len(notes) == 5
    assert "t-gateway.ml.svc:50051" in notes[0]
    assert "t-gateway-headless" in notes[0]
    assert "claim t-store" in notes[1]
    assert "helm test demo -n ml" in notes[3]


def test_the_notes_remind_of_what_a_route_to_tls_needs(chart: Chart, full: Rendered) -> None:
    notes = full.notes.strip().splitlines()
    assert len(notes) == 6
    assert "BackendTLSPolicy for the Service demo-trident-gateway" in notes[4]
    plain = chart.render({"grpcRoute": FULL["grpcRoute"]}).notes
    assert "BackendTLSPolicy" not in plain
