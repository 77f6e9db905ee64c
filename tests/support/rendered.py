"""The chart as real Helm renders it: each set of values once."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import helm_python as helm
import yaml

CHART = Path(__file__).parents[2] / "deploy" / "k8s" / "trident"
EXAMPLES = sorted((CHART / "examples").glob("*.yaml"))
RELEASE, NAMESPACE = "demo", "ml"

Object = Mapping[str, Any]


class Rendered:
    """The objects that some values give."""

    def __init__(self, files: Mapping[str, str]) -> None:
        self.notes = next(text for name, text in files.items() if name.endswith("NOTES.txt"))
        self.objects: list[Object] = [
            one
            for name, text in files.items()
            if name.endswith(".yaml")
            for one in yaml.safe_load_all(text)
            if one
        ]

    def of(self, *kinds: str) -> list[Object]:
        return [one for one in self.objects if one["kind"] in kinds]

    def one(self, kind: str, component: str, suffix: str = "") -> Object:
        """The object of a kind and component; of several the one whose name ends so."""
        found = [
            one
            for one in self.of(kind)
            if one["metadata"]["labels"]["app.kubernetes.io/component"] == component
            and one["metadata"]["name"].endswith(suffix)
        ]
        assert len(found) == 1, [one["metadata"]["name"] for one in found]
        return found[0]

    def pods(self) -> Iterator[tuple[str, Object]]:
        """Name of the owner and template of every pod there can be."""
        for one in self.objects:
            spec = one.get("spec", {})
            if one["kind"] == "Pod":
                yield one["metadata"]["name"], one
            elif one["kind"] == "CronJob":
                yield one["metadata"]["name"], spec["jobTemplate"]["spec"]["template"]
            elif one["kind"] in ("Deployment", "StatefulSet", "Job"):
                yield one["metadata"]["name"], spec["template"]


class Chart:
    """Renders, and remembers."""

    def __init__(self) -> None:
        self._chart = helm.Chart.load(CHART)
        self._rendered: dict[str, Rendered] = {}

    def render(
        self, values: Mapping[str, Any] | None = None, namespace: str = NAMESPACE
    ) -> Rendered:
        key = f"{namespace} {json.dumps(values or {}, sort_keys=True)}"
        if key not in self._rendered:
            self._rendered[key] = Rendered(
                self._chart.render(dict(values or {}), name=RELEASE, namespace=namespace)
            )
        return self._rendered[key]

    def refusal(self, values: Mapping[str, Any]) -> str:
        """What is said against values that must not be rendered."""
        try:
            self.render(values)
        except helm.HelmError as error:
            return str(error)
        raise AssertionError(f"rendered: {values}")


def values_of(path: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(path.read_text()))


def merged(*many: Mapping[str, Any]) -> dict[str, Any]:
    """Values as Helm lays one file over another."""
    result: dict[str, Any] = {}
    for one in many:
        for name, value in one.items():
            old = result.get(name)
            both = isinstance(old, dict) and isinstance(value, Mapping)
            result[name] = merged(old, value) if both else value
    return result


def containers(template: Object) -> Sequence[Object]:
    """All containers of a pod, those that come first included."""
    spec = template["spec"]
    return [*spec.get("initContainers", ()), *spec["containers"]]


FULL: dict[str, Any] = {
    "gateway": {
        "autoscaling": {"kind": "hpa", "targetCallsPerPod": 40},
        "settings": {"max_in_flight": 12, "transport": "grpc", "require_signed": True},
        "publicKeySecret": "signing",
        "tls": {
            "secretName": "gateway-tls",
            "clientCaSecret": "clients",
            "certificate": {"enabled": True, "issuerName": "inside"},
        },
        "keysSecret": "keys",
        "permissionsSecret": "permissions",
        "secretEnv": {"AWS_SECRET_ACCESS_KEY": {"secret": "bucket", "key": "secret"}},
    },
    "triton": {"autoscaling": {"kind": "keda"}, "gpu": {"count": 1}, "modelConfigName": "h100"},
    "store": {"kind": "bucket", "url": "s3://models/trident"},
    "builder": {
        "signKeySecret": "signing",
        "cronJobs": {"nightly": {"task": "risk", "schedule": "0 3 * * *", "set": {"epochs": 2}}},
    },
    "ingress": {
        "enabled": True,
        "host": "a.example.com",
        "tlsSecretName": "edge",
        "annotations": {"nginx.ingress.kubernetes.io/backend-protocol": "GRPCS"},
    },
    "certificate": {"enabled": True, "issuerName": "letsencrypt"},
    "grpcRoute": {"enabled": True, "host": "a.example.com", "gatewayName": "edge"},
    "externalSecrets": {"bucket": {"store": "vault", "data": {"secret": {"remote": "ml/s3"}}}},
    "collector": {"enabled": True, "exportTo": "tempo:4317"},
    "monitoring": {
        "serviceMonitor": True,
        "prometheusRule": True,
        "dashboard": True,
        "prometheusUrl": "http://prometheus:9090",
    },
    "tests": {
        "clientTlsSecret": "client",
        "secretEnv": {"TRIDENT_API_KEY": {"secret": "client", "key": "key"}},
    },
}
"""As much as can be on at once."""

PLANS: dict[str, Any] = {
    "triton": {"gpu": {"count": 1}, "modelConfigName": "tensorrt"},
    "store": {"pvc": {"existingClaim": "models"}},
    "plans": {"enabled": True},
    "builder": {"signKeySecret": "signing"},
}


def gateway_container(rendered: Rendered) -> Object:
    deployment = rendered.one("Deployment", "gateway")
    return dict(deployment["spec"]["template"]["spec"]["containers"][0])


def triton_pod(rendered: Rendered) -> Object:
    return dict(rendered.one("StatefulSet", "triton")["spec"]["template"]["spec"])


def environment(container: Object) -> dict[str, Any]:
    return {one["name"]: one.get("value") for one in container["env"]}


EVERYTHING = [{}, FULL, PLANS, *(values_of(path) for path in EXAMPLES)]
IDS = ["none", "full", "plans", *(path.stem for path in EXAMPLES)]
