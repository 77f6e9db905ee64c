"""Custom resources, by the types that packages carry: for Python, else for Node."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cloudcoil.models.cert_manager.v1 as cert_manager
import cloudcoil.models.keda.v1alpha1 as keda
import cloudcoil.models.prometheus_operator.v1 as prometheus
import pytest
from rendered import FULL, Chart, Object, merged

TYPES: dict[str, Any] = {
    "ServiceMonitor": prometheus.ServiceMonitor,
    "PrometheusRule": prometheus.PrometheusRule,
    "ScaledObject": keda.ScaledObject,
    "Certificate": cert_manager.Certificate,
}
# These know the types of fields, and not that a field does not exist: that is by assertion.
NODE_TYPES = {
    "GRPCRoute": "@kubernetes-models/gateway-api/gateway.networking.k8s.io/v1",
    "ExternalSecret": "@kubernetes-models/external-secrets/external-secrets.io/v1",
}
NODE_PACKAGES = Path(sys.prefix) / "custom-resources"
VALIDATE = """
const [, kind, module, text] = process.argv;
const types = await import(module);
try {
  new types[kind](JSON.parse(text)).validate();
} catch (error) {
  console.error(String(error));
  process.exit(1);
}
"""
KEDA = merged(FULL, {"gateway": {"autoscaling": {"kind": "keda"}}})


def custom(chart: Chart) -> list[Object]:
    return [one for one in chart.render(KEDA).objects if ("." in one["apiVersion"].partition("/")[0]
            and not one["apiVersion"].partition("/")[0].endswith("k8s.io"))
            or one["kind"] == "GRPCRoute"]  # fmt: skip


def lost(given: Any, understood: Any, path: str = "") -> list[str]:
    """Paths of what was given and is not in what a type understood."""
    if isinstance(given, dict):
        if not isinstance(understood, dict):
            return [path]
        return [
            one
            for name, value in given.items()
            for one in (
                lost(value, understood[name], f"{path}.{name}")
                if name in understood
                else [f"{path}.{name}"]
            )
        ]
    if isinstance(given, list):
        pairs = enumerate(zip(given, understood, strict=True))
        return [one for n, (a, b) in pairs for one in lost(a, b, f"{path}[{n}]")]
    return []


def faults(one: Object) -> list[str]:
    """What the type of an object does not know of it; it raises where a value is wrong."""
    understood = TYPES[one["kind"]].model_validate(one)
    return lost(dict(one), understood.model_dump(by_alias=True, exclude_unset=True))


def test_every_custom_resource_has_a_type_to_be_checked_by(chart: Chart) -> None:
    assert {one["kind"] for one in custom(chart)} == set(TYPES) | set(NODE_TYPES)


@pytest.mark.parametrize("kind", sorted(TYPES))
def test_every_field_is_one_that_its_type_has(chart: Chart, kind: str) -> None:
    found = [one for one in custom(chart) if one["kind"] == kind]
    assert found
    assert [faults(one) for one in found] == [[]] * len(found)


def test_a_field_that_a_type_does_not_have_is_seen(chart: Chart) -> None:
    monitor = next(one for one in custom(chart) if one["kind"] == "ServiceMonitor")
    broken = merged(monitor, {"spec": {"selektor": {}}})
    assert faults(broken) == [".spec.selektor"]


@pytest.fixture
def node_fault(missing_tool: Callable[[str], None]) -> Callable[[Mapping[str, Any]], str]:
    """What the type of an object says against it, or nothing."""
    if not (NODE_PACKAGES / "node_modules" / "@kubernetes-models" / "gateway-api").exists():
        missing_tool("@kubernetes-models/… are not installed; .ci/run says how")

    def fault(one: Mapping[str, Any]) -> str:
        kind = one["kind"]
        given = (kind, NODE_TYPES[kind], json.dumps(one))
        done = subprocess.run(
            ["node", "--input-type=module", "-e", VALIDATE, *given],
            cwd=NODE_PACKAGES, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        return done.stderr if done.returncode else ""

    return fault


@pytest.mark.parametrize("kind", sorted(NODE_TYPES))
def test_every_value_is_of_the_type_that_node_knows(
    chart: Chart, node_fault: Callable[[Mapping[str, Any]], str], kind: str
) -> None:
    found = [one for one in custom(chart) if one["kind"] == kind]
    assert found
    assert [node_fault(one) for one in found] == [""] * len(found)


def test_a_value_of_another_type_is_seen(
    chart: Chart, node_fault: Callable[[Mapping[str, Any]], str]
) -> None:
    route = next(one for one in custom(chart) if one["kind"] == "GRPCRoute")
    broken = merged(route, {"spec": {"rules": [{"backendRefs": [{"name": "x", "port": "grpc"}]}]}})
    assert "port must be integer" in node_fault(broken)


def test_the_route_is_as_the_gateway_api_has_it(chart: Chart) -> None:
    route = next(one for one in custom(chart) if one["kind"] == "GRPCRoute")
    assert route["apiVersion"] == "gateway.networking.k8s.io/v1"
    assert set(route["spec"]) == {"parentRefs", "hostnames", "rules"}
    assert route["spec"]["parentRefs"] == [{"name": "edge"}]
    assert [set(rule) for rule in route["spec"]["rules"]] == [{"backendRefs"}]


def test_secrets_are_asked_for_as_external_secrets_has_it(chart: Chart) -> None:
    secret = next(one for one in custom(chart) if one["kind"] == "ExternalSecret")
    assert secret["apiVersion"] == "external-secrets.io/v1"
    assert secret["spec"] == {
        "refreshInterval": "1h",
        "secretStoreRef": {"name": "vault", "kind": "ClusterSecretStore"},
        "target": {"name": "bucket", "creationPolicy": "Owner"},
        "data": [{"secretKey": "secret", "remoteRef": {"key": "ml/s3"}}],
    }
