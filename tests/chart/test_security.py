"""What the chart promises of rights, secrets and who reaches whom, a sentence each."""

from __future__ import annotations

from typing import Any

import pytest
from admission import assert_restricted, selects
from rendered import EVERYTHING, IDS, Chart, Object, Rendered, containers, gateway_container

from gateway.settings import Settings, load_settings

every_rendering = pytest.mark.parametrize("values", EVERYTHING, ids=IDS)


@every_rendering
def test_no_container_is_privileged_in_any_way(chart: Chart, values: dict[str, Any]) -> None:
    for name, template in chart.render(values).pods():
        assert_restricted(name, template)


@every_rendering
def test_no_pod_has_a_token_of_kubernetes(chart: Chart, values: dict[str, Any]) -> None:
    rendered = chart.render(values)
    assert all(
        one["automountServiceAccountToken"] is False for one in rendered.of("ServiceAccount")
    )
    for _, template in rendered.pods():
        assert template["spec"]["automountServiceAccountToken"] is False
    assert not rendered.of("Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")


@every_rendering
def test_service_accounts_that_are_named_exist(chart: Chart, values: dict[str, Any]) -> None:
    rendered = chart.render(values)
    there = {one["metadata"]["name"] for one in rendered.of("ServiceAccount")}
    named = {template["spec"].get("serviceAccountName") for _, template in rendered.pods()}
    assert named - {None} <= there


@every_rendering
def test_no_secret_is_in_the_chart_but_by_its_name(chart: Chart, values: dict[str, Any]) -> None:
    rendered = chart.render(values)
    assert not rendered.of("Secret")
    for _, template in rendered.pods():
        for container in containers(template):
            for one in container.get("env", ()):
                words = {"KEY", "SECRET", "TOKEN", "PASSWORD"} & set(one["name"].split("_"))
                named = "valueFrom" in one or one["value"].startswith("/trident/")
                assert not words or named, one


def test_a_secret_that_is_named_is_the_one_that_external_secrets_makes(full: Rendered) -> None:
    made = {one["spec"]["target"]["name"] for one in full.of("ExternalSecret")}
    container = gateway_container(full)
    named = {
        one["valueFrom"]["secretKeyRef"]["name"] for one in container["env"] if "valueFrom" in one
    }
    assert named == made == {"bucket"}


@every_rendering
def test_every_container_says_what_it_needs(chart: Chart, values: dict[str, Any]) -> None:
    for name, template in chart.render(values).pods():
        for container in containers(template):
            assert "memory" in container["resources"]["limits"], name
            assert {"cpu", "memory"} <= set(container["resources"]["requests"]), name


# Who reaches whom


def ingress_of(rendered: Rendered, component: str) -> list[Object]:
    return list(rendered.one("NetworkPolicy", component)["spec"]["ingress"])


@every_rendering
def test_triton_is_reached_by_gateways_and_its_metrics_by_prometheus(
    chart: Chart, values: dict[str, Any]
) -> None:
    rendered = chart.render(values)
    # Policies add up: what any of them lets in, is let in.
    labels = triton_labels(rendered)
    assert [
        one["metadata"]["name"] for one in rendered.of("NetworkPolicy")
        if selects(one["spec"]["podSelector"], labels)
    ] == [rendered.one("NetworkPolicy", "triton")["metadata"]["name"]]  # fmt: skip
    calls, metrics = ingress_of(rendered, "triton")
    assert [port["port"] for port in calls["ports"]] == [8001]
    ((kind, selector),) = calls["from"][0].items()
    gateway = rendered.one("Deployment", "gateway")["spec"]["selector"]
    assert (kind, selector, len(calls["from"])) == ("podSelector", gateway, 1)
    assert [port["port"] for port in metrics["ports"]] == [8002]
    assert list(metrics["from"][0]) == ["namespaceSelector"]
    # And by HTTP, which loads and unloads as well, by nobody.
    assert "Ingress" in rendered.one("NetworkPolicy", "triton")["spec"]["policyTypes"]


def triton_labels(rendered: Rendered) -> Object:
    (workload,) = [
        one for one in rendered.of("StatefulSet", "Deployment")
        if one["metadata"]["labels"]["app.kubernetes.io/component"] == "triton"
    ]  # fmt: skip
    return dict(workload["spec"]["template"]["metadata"]["labels"])


@every_rendering
def test_every_pod_is_under_a_policy(chart: Chart, values: dict[str, Any]) -> None:
    rendered = chart.render(values)
    for name, template in rendered.pods():
        labels = template["metadata"]["labels"]
        assert any(
            selects(one["spec"]["podSelector"], labels) for one in rendered.of("NetworkPolicy")
        ), name


def test_only_the_namespaces_that_are_named_call_the_gateway(chart: Chart) -> None:
    policy = {"networkPolicy": {"clientNamespaceLabels": {"team": "shop"}}}
    calls = ingress_of(chart.render(policy), "gateway")[0]
    assert {"namespaceSelector": {"matchLabels": {"team": "shop"}}} in calls["from"]
    # `helm test` is not locked out.
    test = chart.render(policy).one("Pod", "test")["metadata"]["labels"]
    assert any(selects(one["podSelector"], test) for one in calls["from"] if "podSelector" in one)


def test_a_gateway_that_reads_a_claim_reaches_nothing_outside(plain: Rendered) -> None:
    egress = plain.one("NetworkPolicy", "gateway")["spec"]["egress"]
    assert all("ipBlock" not in peer for rule in egress for peer in rule.get("to", ()))


# Who may call


def variables(rendered: Rendered) -> dict[str, str]:
    return {
        one["name"]: one["value"] for one in gateway_container(rendered)["env"] if "value" in one
    }


def mounted(template: Object) -> dict[str, str]:
    """Secrets by the folder that they are in."""
    (container, *_) = template["spec"]["containers"]
    volumes = {one["name"]: one for one in template["spec"].get("volumes", ())}
    return {
        one["mountPath"]: volumes[one["name"]]["secret"]["secretName"]
        for one in container.get("volumeMounts", ())
        if "secret" in volumes[one["name"]] and "subPath" not in one
    }


def test_without_a_certificate_gateways_say_that_something_else_protects_them(
    plain: Rendered,
) -> None:
    assert variables(plain)["TRIDENT_INSECURE"] == "true"
    assert not [name for name in variables(plain) if "TLS" in name]


def test_with_one_they_speak_tls_and_read_what_they_need_from_secrets(full: Rendered) -> None:
    found = variables(full)
    assert "TRIDENT_INSECURE" not in found
    assert found["TRIDENT_TLS_CERTIFICATE"] == "/trident/tls/tls.crt"
    assert found["TRIDENT_TLS_KEY"] == "/trident/tls/tls.key"
    assert found["TRIDENT_TLS_CLIENT_CA"] == "/trident/client-ca/ca.crt"
    assert found["TRIDENT_KEYS_FILE"] == "/trident/keys/keys.yaml"
    assert found["TRIDENT_PERMISSIONS_FILE"] == "/trident/permissions/permissions.yaml"
    secrets = mounted(full.one("Deployment", "gateway")["spec"]["template"])
    assert secrets == {
        "/trident/tls": "gateway-tls",
        "/trident/client-ca": "clients",
        "/trident/keys": "keys",
        "/trident/permissions": "permissions",
        "/trident/key": "signing",
    }
    service = full.one("Service", "gateway", "-gateway")
    assert service["spec"]["ports"][0]["appProtocol"] == "https"


def test_probes_speak_what_the_gateway_does(plain: Rendered, full: Rendered) -> None:
    for name, path in (("startup", "livez"), ("liveness", "livez"), ("readiness", "readyz")):
        assert "grpc" in gateway_container(plain)[f"{name}Probe"]
        probe = gateway_container(full)[f"{name}Probe"]
        assert probe["httpGet"] == {"path": f"/{path}", "port": "metrics"}
        assert "grpc" not in probe


def test_the_certificate_is_for_every_name_of_the_gateways(full: Rendered) -> None:
    (certificate,) = [
        one for one in full.of("Certificate") if one["spec"]["secretName"] == "gateway-tls"
    ]
    names = set(certificate["spec"]["dnsNames"])
    for kind in ("-gateway", "-gateway-headless"):
        service = full.one("Service", "gateway", kind)["metadata"]["name"]
        assert {service, f"{service}.ml", f"{service}.ml.svc"} <= names
    assert certificate["spec"]["issuerRef"]["name"] == "inside"


def test_helm_test_trusts_the_gateway_shows_who_it_is_and_never_sees_the_key(
    full: Rendered,
) -> None:
    pod = full.one("Pod", "test")
    for container in pod["spec"]["containers"]:
        assert "--tls-ca=/trident/tls/ca.crt" in container["args"]
        assert "--tls-cert=/trident/client-tls/tls.crt" in container["args"]
        (variable,) = container["env"]
        assert variable["valueFrom"]["secretKeyRef"] == {"name": "client", "key": "key"}
    tls, _ = sorted(pod["spec"]["volumes"], key=lambda one: one["name"] != "tls")
    assert tls["secret"] == {
        "secretName": "gateway-tls",
        "items": [{"key": "ca.crt", "path": "ca.crt"}],
    }


LIMITS: dict[str, Any] = {
    "client_limit": {"rate": 50, "burst": 100},
    "client_limits": {
        "key:billing": {"rate": 1000, "quota": 2_000_000, "quota_period_s": 0.5},
        "token:nightly-job": {"priority": "low", "concurrent": 2},
    },
    "domain_limits": {"diagnose": 8},
}


def test_the_gateway_understands_the_settings_that_it_is_given(
    chart: Chart, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = LIMITS | {
        "max_in_flight": 128, "call_timeout_s": 2.5, "hedging": True, "jwt_issuer": "i",
        "jwt_keys": "https://issuer.example/keys", "jwt_audience": "trident,other",
    }  # fmt: skip
    found = variables(chart.render({"gateway": {"settings": given}}))
    for name in Settings.model_fields:
        monkeypatch.delenv(f"TRIDENT_{name.upper()}", raising=False)
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    settings = load_settings(None, {}).model_dump(mode="json", exclude_defaults=True)
    assert settings.items() >= (given | {"jwt_audience": ["trident", "other"]}).items()


@pytest.mark.parametrize(
    "settings",
    [
        {"client_limit": {"rate": 0}},
        {"client_limits": {"key:billing": {"rats": 1}}},
        {"client_limits": "{}"},
        {"domain_limits": {"diagnosis": 8}},
        {"domain_limits": {"diagnose": 0}},
    ],
)
def test_limits_that_the_gateway_would_refuse_are_refused_by_the_schema(
    chart: Chart, settings: dict[str, Any]
) -> None:
    said = chart.refusal({"gateway": {"settings": settings}})
    assert "don't meet the specifications of the schema" in said


def test_keys_of_tokens_can_be_fetched_where_they_are_at_a_url(chart: Chart) -> None:
    settings = {"jwt_keys": "https://issuer.example/keys", "jwt_audience": "trident"}
    rendered = chart.render({"gateway": {"settings": settings}})
    egress = rendered.one("NetworkPolicy", "gateway")["spec"]["egress"]
    assert any("ipBlock" in peer for rule in egress for peer in rule.get("to", ()))
