"""What the chart promises of the objects it renders, a sentence each."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from rendered import (
    CHART,
    EVERYTHING,
    FULL,
    IDS,
    PLANS,
    Chart,
    Object,
    Rendered,
    containers,
    environment,
    gateway_container,
    merged,
    triton_pod,
)
from rendered import values_of as read

from gateway.settings import load_settings

every_rendering = pytest.mark.parametrize("values", EVERYTHING, ids=IDS)

SELECTED_BY = {
    "app.kubernetes.io/name",
    "app.kubernetes.io/instance",
    "app.kubernetes.io/component",
}


# Scaling


def test_replicas_are_absent_where_something_else_scales(chart: Chart) -> None:
    for kind in ("hpa", "keda"):
        scaling = {"autoscaling": {"kind": kind}}
        values = {
            "gateway": scaling,
            "triton": scaling,
            "monitoring": {"prometheusUrl": "http://p"},
        }
        rendered = chart.render(values)
        assert "replicas" not in rendered.one("Deployment", "gateway")["spec"]
        assert "replicas" not in rendered.one("StatefulSet", "triton")["spec"]


@pytest.mark.parametrize("count", [0, 3])
def test_replicas_are_what_was_asked_for_even_none(chart: Chart, count: int) -> None:
    rendered = chart.render({"gateway": {"replicas": count}})
    assert rendered.one("Deployment", "gateway")["spec"]["replicas"] == count


def test_gateways_scale_by_cpu_and_by_calls_in_flight(chart: Chart) -> None:
    scaling = {"kind": "hpa", "targetCpuPercent": 60, "targetCallsPerPod": 40}
    hpa = chart.render({"gateway": {"autoscaling": scaling}}).one(
        "HorizontalPodAutoscaler", "gateway"
    )
    cpu, calls = hpa["spec"]["metrics"]
    assert cpu["resource"]["target"]["averageUtilization"] == 60
    assert calls["pods"]["metric"]["name"] == "trident_calls_active"
    assert calls["pods"]["target"]["averageValue"] == "40"


def test_tritons_scale_by_the_time_in_their_queue(chart: Chart) -> None:
    rendered = chart.render({"triton": {"autoscaling": {"kind": "hpa"}}})
    hpa = rendered.one("HorizontalPodAutoscaler", "triton")
    assert hpa["spec"]["metrics"][0]["pods"]["metric"]["name"] == "trident_triton_queue_us"


@pytest.mark.parametrize("kind", ["hpa", "keda"])
def test_what_scales_names_what_there_is(chart: Chart, kind: str) -> None:
    scaling = {"autoscaling": {"kind": kind}}
    rendered = chart.render(
        {"gateway": scaling, "triton": scaling, "monitoring": {"prometheusUrl": "http://p"}}
    )
    there = {(one["kind"], one["metadata"]["name"]) for one in rendered.objects}
    scalers = rendered.of("HorizontalPodAutoscaler", "ScaledObject")
    assert len(scalers) == 2
    for one in scalers:
        target = one["spec"]["scaleTargetRef"]
        assert (target["kind"], target["name"]) in there


def test_gateways_know_every_triton_there_may_be_by_its_own_name(chart: Chart) -> None:
    rendered = chart.render({"triton": {"autoscaling": {"kind": "hpa", "maxReplicas": 3}}})
    triton = rendered.one("StatefulSet", "triton")
    headless = rendered.one("Service", "triton", "-headless")
    assert triton["spec"]["serviceName"] == headless["metadata"]["name"]
    assert headless["spec"]["publishNotReadyAddresses"] is True
    assert environment(gateway_container(rendered))["TRIDENT_TRITON"].split(",") == [
        f"{triton['metadata']['name']}-{number}.{headless['metadata']['name']}.ml.svc:8001"
        for number in range(3)
    ]


def test_the_one_pod_of_a_deployment_is_found_by_its_service(chart: Chart) -> None:
    rendered = chart.render({"triton": {"workload": "Deployment"}})
    services = {one["metadata"]["name"] for one in rendered.of("Service")}
    target = environment(gateway_container(rendered))["TRIDENT_TRITON"]
    assert target.partition(".")[0] in services


def test_no_gpu_is_needed_twice_where_they_are_scarce(chart: Chart) -> None:
    deployment = chart.render(read(CHART / "examples" / "single-gpu.yaml")).one(
        "Deployment", "triton"
    )
    assert deployment["spec"]["strategy"] == {"type": "Recreate"}


@pytest.mark.parametrize("resource", ["nvidia.com/gpu", "nvidia.com/mig-1g.10gb"])
def test_gpus_are_asked_for_by_the_name_that_is_given(chart: Chart, resource: str) -> None:
    rendered = chart.render({"triton": {"gpu": {"count": 2, "resource": resource}}})
    limits = triton_pod(rendered)["containers"][0]["resources"]["limits"]
    assert limits == {"memory": "8Gi", resource: "2"}


def test_no_gpu_is_asked_for_on_a_cpu(plain: Rendered) -> None:
    assert triton_pod(plain)["containers"][0]["resources"]["limits"] == {"memory": "8Gi"}
    assert "--allow-gpu-metrics=false" in triton_pod(plain)["containers"][0]["args"]


# Numbers


def test_large_numbers_are_written_out(chart: Chart) -> None:
    """Helm reads every number as a float, and would write 1e+08."""
    job = {"task": "risk", "schedule": "0 3 * * *", "set": {"steps": 10_000_000, "rate": 0.25}}
    rendered = chart.render(
        {
            "gateway": {"settings": {"cache_bytes": 268_435_456, "call_timeout_s": 2.5}},
            "triton": {"autoscaling": {"kind": "hpa", "targetQueueMicroseconds": 10_000_000}},
            "builder": {"deadlineSeconds": 100_000_000, "cronJobs": {"a": job}},
        }
    )
    given = environment(gateway_container(rendered))
    assert given["TRIDENT_CACHE_BYTES"] == "268435456"
    assert given["TRIDENT_CALL_TIMEOUT_S"] == "2.5"
    hpa = rendered.one("HorizontalPodAutoscaler", "triton")["spec"]["metrics"][0]["pods"]
    assert hpa["target"]["averageValue"] == "10000000"
    spec = rendered.one("CronJob", "builder")["spec"]["jobTemplate"]["spec"]
    assert spec["activeDeadlineSeconds"] == 100_000_000
    assert {"--set=steps=10000000", "--set=rate=0.25"} <= set(
        containers(spec["template"])[0]["args"]
    )


# Ends and beginnings


@pytest.mark.parametrize(("pre_stop", "grace"), [(5, 20), (0, 0), (15, 120)])
def test_the_grace_period_is_longer_than_drain_and_pre_stop(
    chart: Chart, pre_stop: int, grace: int
) -> None:
    values = {"preStopSeconds": pre_stop, "gracePeriodSeconds": grace}
    rendered = chart.render({"gateway": values})
    pod = rendered.one("Deployment", "gateway")["spec"]["template"]["spec"]
    container = pod["containers"][0]
    slept = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    drained = float(environment(container)["TRIDENT_GRACE_S"])
    assert (slept, drained) == (pre_stop, grace)
    # What a gateway has beyond the grace for its workers' ends.
    assert pod["terminationGracePeriodSeconds"] > slept + drained + 10


def test_triton_has_more_time_than_it_takes_to_exit(plain: Rendered) -> None:
    pod = triton_pod(plain)
    exit_s = next(
        int(one.partition("=")[2])
        for one in pod["containers"][0]["args"]
        if one.startswith("--exit-timeout-secs=")
    )
    assert pod["terminationGracePeriodSeconds"] > exit_s


@pytest.mark.parametrize("seconds", [10, 301, 1800])
def test_triton_is_given_the_time_to_start_that_was_asked_for(chart: Chart, seconds: int) -> None:
    probe = triton_pod(chart.render({"triton": {"startupSeconds": seconds}}))["containers"][0]
    startup = probe["startupProbe"]
    assert 0 <= startup["periodSeconds"] * startup["failureThreshold"] - seconds < 5


def test_a_gateway_waits_for_engines_as_long_as_they_take(chart: Chart) -> None:
    rendered = chart.render({"triton": {"loadSeconds": 900}})
    assert environment(gateway_container(rendered))["TRIDENT_LOAD_TIMEOUT_S"] == "900"


def test_a_rollout_takes_no_gateway_away_before_another_is_ready(plain: Rendered) -> None:
    update = plain.one("Deployment", "gateway")["spec"]["strategy"]["rollingUpdate"]
    assert update == {"maxUnavailable": 0, "maxSurge": 1}


def test_no_gateway_is_restarted_because_triton_is_away(plain: Rendered) -> None:
    container = gateway_container(plain)
    assert container["livenessProbe"]["grpc"]["service"] == "trident.model.v1.ModelService"
    assert "service" not in container["readinessProbe"]["grpc"]


# What never changes


@every_rendering
def test_selectors_hold_nothing_that_changes(chart: Chart, values: dict[str, Any]) -> None:
    rendered = chart.render(values)
    workloads = rendered.of("Deployment", "StatefulSet")
    assert len(workloads) >= 2
    for one in workloads:
        assert set(one["spec"]["selector"]["matchLabels"]) == SELECTED_BY
        # Nor the pods' labels, which would restart them with each version of the chart.
        assert set(one["spec"]["template"]["metadata"]["labels"]) == SELECTED_BY


@every_rendering
def test_every_service_monitor_and_budget_selects_pods(
    chart: Chart, values: dict[str, Any]
) -> None:
    rendered = chart.render(values)
    labels = [template["metadata"]["labels"] for _, template in rendered.pods()]
    for one in rendered.of("Service", "PodDisruptionBudget"):
        selector = one["spec"]["selector"]
        wanted = selector.get("matchLabels", selector)
        assert any(wanted.items() <= pod.items() for pod in labels), one["metadata"]["name"]


@every_rendering
def test_every_object_says_what_it_is_of(chart: Chart, values: dict[str, Any]) -> None:
    for one in chart.render(values).objects:
        labels = one["metadata"]["labels"]
        assert labels["app.kubernetes.io/part-of"] == "trident"
        assert labels["helm.sh/chart"] == "trident-0.1.0"
        assert one["metadata"]["namespace"] == "ml"


def test_the_number_of_an_image_is_its_digest_if_one_is_given(chart: Chart) -> None:
    digest = "sha256:" + "0" * 64
    values = {"image": {"registry": "r.example"}, "gateway": {"image": {"digest": digest}}}
    assert gateway_container(chart.render(values))["image"] == f"r.example/trident-gateway@{digest}"
    assert gateway_container(chart.render())["image"] == "registry.example/trident-gateway:0.1.0"


# The store


def test_gateways_and_tritons_cannot_write_to_the_store(plain: Rendered) -> None:
    for kind, component in (("Deployment", "gateway"), ("StatefulSet", "triton")):
        spec = plain.one(kind, component)["spec"]["template"]["spec"]
        mounts = {one["name"]: one for one in spec["containers"][0]["volumeMounts"]}
        assert mounts["store"]["readOnly"] is True


@pytest.mark.parametrize(
    ("store", "place"),
    [({}, "/trident/store"), ({"kind": "bucket", "url": "s3://a/b"}, "s3://a/b")],
)
def test_gateway_triton_and_builder_mean_one_store(
    chart: Chart, store: dict[str, Any], place: str
) -> None:
    rendered = chart.render({"store": store, "builder": FULL["builder"]})
    assert f"--store={place}" in gateway_container(rendered)["args"]
    assert f"--model-repository={place}/models" in triton_pod(rendered)["containers"][0]["args"]
    job = rendered.one("CronJob", "builder")["spec"]["jobTemplate"]["spec"]["template"]
    assert f"--store={place}" in containers(job)[0]["args"]


def test_releases_outlive_the_chart(plain: Rendered) -> None:
    claim = plain.one("PersistentVolumeClaim", "store")
    assert claim["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


def test_a_store_that_a_container_brings_is_filled_before_anything_reads_it(chart: Chart) -> None:
    init = {"image": "registry.example/releases:1", "command": ["cp", "-r", "/r/.", "/trident"]}
    rendered = chart.render({"store": {"kind": "init", "init": init}})
    for kind, component in (("Deployment", "gateway"), ("StatefulSet", "triton")):
        spec = rendered.one(kind, component)["spec"]["template"]["spec"]
        assert spec["initContainers"][0]["image"] == "registry.example/releases:1"
        assert {"name": "store", "emptyDir": {}} in spec["volumes"]


def test_plans_are_compiled_on_tritons_gpu_before_triton_is_touched(chart: Chart) -> None:
    rendered = chart.render(PLANS)
    job = rendered.one("Job", "plans")
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    container = job["spec"]["template"]["spec"]["containers"][0]
    triton = triton_pod(rendered)["containers"][0]
    assert container["resources"] == triton["resources"]
    assert container["image"].startswith("registry.example/trident-plans:")
    store = next(one for one in container["volumeMounts"] if one["name"] == "store")
    assert store["readOnly"] is False


def test_plans_for_what_is_built_later_are_compiled_when_somebody_says_so(chart: Chart) -> None:
    rendered = chart.render(PLANS)
    later = rendered.one("CronJob", "plans")["spec"]
    assert later["suspend"] is True
    assert later["jobTemplate"]["spec"] == rendered.one("Job", "plans")["spec"]


def test_gateways_know_what_plans_must_fit(chart: Chart) -> None:
    gpu = {"count": 1, "architecture": "sm_90", "tensorrtVersion": "10.13.3"}
    rendered = chart.render({"triton": {"modelConfigName": "tensorrt", "gpu": gpu}})
    values = {one["name"]: one.get("value") for one in gateway_container(rendered)["env"]}
    settings = load_settings(
        None,
        {
            name.removeprefix("TRIDENT_").lower(): value
            for name, value in values.items()
            if name.startswith("TRIDENT_TRITON")
        },
    )
    found = (settings.triton_profile, settings.triton_gpu, settings.triton_tensorrt)
    assert found == ("tensorrt", "9.0", "10.13.3")


def test_gateways_know_that_there_is_no_profile(plain: Rendered) -> None:
    values = {one["name"]: one.get("value") for one in gateway_container(plain)["env"]}
    assert values["TRIDENT_TRITON_PROFILE"] == ""
    assert "TRIDENT_TRITON_GPU" not in values


def test_builds_of_one_line_never_run_side_by_side(full: Rendered) -> None:
    assert full.one("CronJob", "builder")["spec"]["concurrencyPolicy"] == "Forbid"


# Traces


def collector(chart: Chart, **values: Any) -> Object:
    rendered = chart.render(merged(FULL, {"collector": values}))
    text = rendered.one("ConfigMap", "collector")["data"]["collector.yaml"]
    return dict(yaml.safe_load(text))


def test_the_collector_keeps_failed_and_slow_traces_and_some(chart: Chart) -> None:
    config = collector(chart, keepSlowerMilliseconds=321, keepPercent=7)
    policies = config["processors"]["tail_sampling"]["policies"]
    # What Triton traces without a call of a gateway is no trace of a call.
    ours = {"key": "service.name", "values": ["trident-gateway"]}
    kept = {}
    for policy in policies:
        assert policy["type"] == "and"
        of_gateway, one = policy["and"]["and_sub_policy"]
        assert (of_gateway["type"], of_gateway["string_attribute"]) == ("string_attribute", ours)
        kept[one["type"]] = one[one["type"]]
    assert kept == {
        "status_code": {"status_codes": ["ERROR"]},
        "latency": {"threshold_ms": 321},
        "probabilistic": {"sampling_percentage": 7},
    }


@pytest.mark.parametrize(("ratio", "rate"), [(1.0, 1), (0.5, 1), (0.1, 0), (0, 0)])
def test_triton_traces_by_itself_only_where_most_calls_are_traced(
    chart: Chart, ratio: float, rate: int
) -> None:
    values = {"collector": {"existing": "otel.ops:4317", "sampleRatio": ratio}}
    container = triton_pod(chart.render(values))["containers"][0]
    assert f"--trace-config=rate={rate}" in container["args"]


def test_every_part_of_the_collector_is_declared(chart: Chart) -> None:
    config = collector(chart)
    for pipeline in config["service"]["pipelines"].values():
        for part, names in pipeline.items():
            assert set(names) <= set(config[part])
    assert set(config["service"]["extensions"]) <= set(config["extensions"])


def test_the_collector_sees_whole_traces_before_it_decides(chart: Chart) -> None:
    order = collector(chart)["service"]["pipelines"]["traces"]["processors"]
    assert order.index("transform/triton") < order.index("tail_sampling") < order.index("batch")
    deployment = chart.render(FULL).one("Deployment", "collector")
    assert deployment["spec"]["replicas"] == 1
    assert deployment["spec"]["strategy"] == {"type": "Recreate"}


def test_tritons_spans_get_the_same_rules_as_outside_of_kubernetes(chart: Chart) -> None:
    rules = yaml.safe_load((CHART.parents[1] / "otel" / "triton-spans.yaml").read_text())
    assert rules["processors"].items() <= collector(chart)["processors"].items()


@pytest.mark.parametrize(
    "values", [{"existing": "otel.ops:4317"}, {"enabled": True, "exportTo": "tempo:4317"}]
)
def test_gateway_and_triton_send_to_one_collector(chart: Chart, values: dict[str, Any]) -> None:
    rendered = chart.render({"collector": values})
    host = environment(gateway_container(rendered))["TRIDENT_OTLP_ENDPOINT"].removesuffix(":4317")
    argument = f"--trace-config=opentelemetry,url=http://{host}:4318/v1/traces"
    assert argument in triton_pod(rendered)["containers"][0]["args"]


# The edge


def test_the_certificate_is_that_of_the_ingress(full: Rendered) -> None:
    ingress = full.one("Ingress", "gateway")["spec"]
    certificate = full.one("Certificate", "gateway", "-gateway")["spec"]
    assert certificate["secretName"] == ingress["tls"][0]["secretName"]
    assert certificate["dnsNames"] == ingress["tls"][0]["hosts"] == [ingress["rules"][0]["host"]]


def test_both_kinds_of_edge_lead_to_the_gateway(full: Rendered) -> None:
    services = {one["metadata"]["name"]: one for one in full.of("Service")}
    path = full.one("Ingress", "gateway")["spec"]["rules"][0]["http"]["paths"][0]
    route = full.one("GRPCRoute", "gateway")["spec"]["rules"][0]["backendRefs"][0]
    named = path["backend"]["service"]["name"]
    assert named == route["name"]
    port = services[named]["spec"]["ports"][0]
    assert (port["name"], port["port"]) == (
        path["backend"]["service"]["port"]["name"],
        route["port"],
    )
    assert port["appProtocol"] == "https"


def test_a_gateway_knows_that_it_is_http_2_without_tls(plain: Rendered) -> None:
    (port,) = plain.one("Service", "gateway", "-gateway")["spec"]["ports"]
    assert port["appProtocol"] == "kubernetes.io/h2c"


def test_clients_that_balance_find_every_pod(plain: Rendered) -> None:
    assert plain.one("Service", "gateway", "-headless")["spec"]["clusterIP"] == "None"
    assert "clusterIP" not in plain.one("Service", "gateway", "-gateway")["spec"]


def test_pods_are_spread_over_zones_and_nodes(plain: Rendered) -> None:
    deployment = plain.one("Deployment", "gateway")
    spread = deployment["spec"]["template"]["spec"]["topologySpreadConstraints"]
    keys = ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
    assert [one["topologyKey"] for one in spread] == keys
    assert all(one["labelSelector"] == deployment["spec"]["selector"] for one in spread)


def test_helm_test_calls_every_domain(plain: Rendered) -> None:
    calls = {one["name"]: one["args"][0] for one in plain.one("Pod", "test")["spec"]["containers"]}
    assert set(calls.values()) == {"models", "recommend", "diagnose", "score-risk"}


def test_helm_test_leaves_out_what_it_is_told_to(chart: Chart) -> None:
    rendered = chart.render({"tests": {"calls": {"diagnose": None}}})
    names = {one["name"] for one in rendered.one("Pod", "test")["spec"]["containers"]}
    assert names == {"models", "recommend", "score-risk"}
