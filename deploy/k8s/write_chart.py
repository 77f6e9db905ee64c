"""Writes what follows from other files into the chart; ``--check`` only says what would change.

``values.schema.json`` and the table in ``README.md`` come from ``values.yaml``: each value has a
comment ``# -- …``, before which a line ``# -- @schema {…}`` may say what its default cannot. Names
of ``gateway.settings`` come from the gateway's own settings, the rules for Triton's spans from
``deploy/otel``, the dashboard from ``dashboard.py`` beside this, ``appVersion`` from
``pyproject.toml``.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from dashboard import dashboard

from gateway.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "deploy" / "k8s" / "trident"

OWNED = {
    "listen": "the chart's, see gateway.port",
    "metrics_listen": "the chart's, see gateway.metricsPort",
    "store": "the chart's, see store",
    "triton": "the chart's, see triton",
    "otlp_endpoint": "the chart's, see collector",
    "trace_sample_ratio": "the chart's, see collector.sampleRatio",
    "grace_s": "the chart's, see gateway.gracePeriodSeconds",
    "load_timeout_s": "the chart's, see triton.loadSeconds",
    "embedded": "Triton has pods of its own",
    "triton_log_file": "for an embedded Triton",
    "triton_instances": "for an embedded Triton",
    "triton_profile": "the chart's, see triton.modelConfigName",
    "triton_gpu": "the chart's, see triton.gpu.architecture",
    "triton_tensorrt": "the chart's, see triton.gpu.tensorrtVersion",
    "ready_timeout_s": "for an embedded Triton",
    "public_key": "the chart's, see gateway.publicKeySecret",
    "tls_certificate": "the chart's, see gateway.tls.secretName",
    "tls_key": "the chart's, see gateway.tls.secretName",
    "tls_client_ca": "the chart's, see gateway.tls.clientCaSecret",
    "insecure": "the chart's: where gateway.tls.secretName is empty",
    "keys_file": "the chart's, see gateway.keysSecret",
    "permissions_file": "the chart's, see gateway.permissionsSecret",
    "triton_tls_ca": "the chart's Tritons speak plain gRPC, to gateways alone",
    "triton_tls_certificate": "the chart's Tritons speak plain gRPC, to gateways alone",
    "triton_tls_key": "the chart's Tritons speak plain gRPC, to gateways alone",
    "payload_log": "the root file system is read-only",
    "payload_log_ratio": "the root file system is read-only",
    "payload_log_redact": "the root file system is read-only",
    "payload_log_file_rows": "the root file system is read-only",
    "payload_log_files": "the root file system is read-only",
    "shared_memory_bytes": "Triton is in another pod",
    "traces_file": "the root file system is read-only",
}
"""Settings that ``gateway.settings`` must not give, and why."""

_QUANTITY = {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?$"}
_NAME = {"type": "string", "pattern": r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$"}
_TEXT = {"type": "string", "minLength": 1}


def _closed(properties: Mapping[str, Any], *required: str) -> dict[str, Any]:
    closed = {"type": "object", "additionalProperties": False, "properties": dict(properties)}
    return closed | ({"required": list(required)} if required else {})


def _resource_list() -> dict[str, Any]:
    either = {"anyOf": [_QUANTITY, {"type": "integer", "minimum": 0}]}
    return {
        "type": "object",
        "propertyNames": {"pattern": r"^(cpu|memory|ephemeral-storage|[a-z0-9.-]+/[a-z0-9.-]+)$"},
        "additionalProperties": either,
    }


DEFINITIONS: dict[str, Any] = {
    "quantity": _QUANTITY,
    "resources": _closed({"requests": _resource_list(), "limits": _resource_list()}),
    "secretKey": _closed({"secret": _NAME, "key": _TEXT}, "secret", "key"),
    "toleration": _closed(
        {
            "key": _TEXT,
            "operator": {"enum": ["Exists", "Equal"]},
            "value": {"type": "string"},
            "effect": {"enum": ["NoSchedule", "PreferNoSchedule", "NoExecute"]},
            "tolerationSeconds": {"type": "integer"},
        }
    ),
    "buildJob": _closed(
        {
            "task": {"enum": ["recsys", "diagnosis", "risk"]},
            "schedule": _TEXT,
            "data": _TEXT,
            "set": {
                "type": "object",
                "additionalProperties": {"type": ["string", "number", "boolean"]},
            },
        },
        "task",
        "schedule",
    ),
    "externalSecret": _closed(
        {
            "store": _NAME,
            "storeKind": {"enum": ["SecretStore", "ClusterSecretStore"]},
            "data": {
                "type": "object",
                "minProperties": 1,
                "additionalProperties": _closed({"remote": _TEXT, "property": _TEXT}, "remote"),
            },
        },
        "store",
        "data",
    ),
    "testCall": {"type": ["array", "null"], "minItems": 1, "items": _TEXT},
    # The bounds of the histogram, which gateway.telemetry.metrics.grid declares.
    "latencyBound": {"type": "integer", "enum": [5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000]},
}


@dataclass(frozen=True)
class Value:
    """One value that can be set, or a group of them.

    Attributes:
        path: As in ``--set``.
        default: What values.yaml says.
        text: Its comment.
        schema: What its comment says besides.
    """

    path: tuple[str, ...]
    default: Any
    text: str
    schema: dict[str, Any]


def read_values(text: str) -> tuple[dict[str, Any], list[Value]]:
    """Return the defaults, and every value that has a comment, in the order of the file."""
    defaults = yaml.safe_load(text)
    return defaults, list(_values(yaml.compose(text), defaults, text.splitlines(), ()))


def _values(node: Any, default: Any, lines: list[str], above: tuple[str, ...]) -> Iterator[Value]:
    for key, child in node.value:
        path = (*above, key.value)
        comment = _comment(lines, key.start_mark.line)
        value = default[key.value]
        if comment is not None:
            yield Value(path, value, *comment)
        elif isinstance(value, dict):
            yield from _values(child, value, lines, path)
        else:
            raise SystemExit(f"values.yaml: {'.'.join(path)} has no comment '# --'")


def _comment(lines: list[str], line: int) -> tuple[str, dict[str, Any]] | None:
    """Return text and schema of the comment above a line, if it begins with ``# --``."""
    found: list[str] = []
    while line > 0 and lines[line - 1].lstrip().startswith("#"):
        line -= 1
        found.insert(0, lines[line].strip().lstrip("#").strip())
        if found[0].startswith("--"):
            break
    else:
        return None
    found[0] = found[0].removeprefix("--").strip()
    schema = {}
    if found[0].startswith("@schema"):
        schema = json.loads(found.pop(0).removeprefix("@schema"))
    return " ".join(found), schema


def schema_of(defaults: Mapping[str, Any], values: list[Value]) -> dict[str, Any]:
    """Return the closed JSON schema of the values."""
    whole = _closed({"global": {"type": "object"}})
    for value in values:
        group = whole
        for name in value.path[:-1]:
            group = group["properties"].setdefault(name, _closed({}))
        if "$ref" in value.schema:
            one: dict[str, Any] = {"allOf": [value.schema]}
        else:
            one = {} if "enum" in value.schema else {"type": _type(value.default)}
            one |= value.schema
        group["properties"][value.path[-1]] = {"description": value.text} | one
    definitions = DEFINITIONS | _models() | {"gatewaySettings": _gateway_settings()}
    head = {"$schema": "http://json-schema.org/draft-07/schema#", "title": "Values of Trident"}
    return head | whole | {"definitions": definitions}


def _type(default: Any) -> str:
    if isinstance(default, bool):
        return "boolean"
    kinds = {str: "string", int: "integer", float: "number", dict: "object", list: "array"}
    return kinds[type(default)]


def _models() -> dict[str, Any]:
    """Return the schemas of those settings of the gateway that have fields of their own."""
    models: dict[str, Any] = Settings.model_json_schema()["$defs"]
    return models


def _gateway_settings() -> dict[str, Any]:
    """Return the schema of what a user may set of the gateway: in its environment, maps as JSON."""
    whole = Settings.model_json_schema(ref_template="#/definitions/{model}")
    full = whole["properties"]
    properties = {}
    for name, field in sorted(full.items()):
        if name not in OWNED:
            kept = {"type", "enum", "anyOf", "minimum", "maximum", "exclusiveMinimum", "const"}
            if field.get("type") == "object" or "$ref" in field:
                kept |= {"$ref", "additionalProperties", "propertyNames"}
            properties[name] = {key: field[key] for key in field if key in kept}
            if field.get("type") == "array":  # in the environment with commas
                properties[name] = {"type": "string"}
    return _closed(properties)


def readme_of(values: list[Value]) -> str:
    """Return the README: how to install, and a table of all values."""
    rows = []
    for value in values:
        default = json.dumps(value.default, ensure_ascii=False)
        default = f"`{default}`" if len(default) < 60 else "see values.yaml"
        text = value.text.replace("|", r"\|")
        rows.append(f"| `{'.'.join(value.path)}` | {default} | {text} |")
    return _README + "\n".join(rows) + "\n"


_README = """\
# Trident's chart

Gateways and Tritons on Kubernetes 1.34 and later, with or without GPUs, which scale apart.
[docs/operating.md](../../../docs/operating.md) is the runbook; it also says what of this has been
tried and what has not.

```sh
cd deploy/k8s
helm install trident trident --namespace ml --values trident/examples/laptop.yaml
helm test trident --namespace ml --logs
```

Examples: [laptop](examples/laptop.yaml) (kind, CPU), [single GPU](examples/single-gpu.yaml),
[production](examples/production.yaml). A combination of values that cannot work is refused with a
sentence (`templates/requirements.yaml`), and a name that does not exist by `values.schema.json`.

## Values

This table and the schema are written from the comments in `values.yaml` by `make generate`.

| Value | Default | What it is |
|---|---|---|
"""


def chart_yaml(text: str) -> str:
    """Return Chart.yaml with the version of the programs."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    return re.sub(r"(?m)^appVersion: .*$", f"appVersion: {version}", text)


def written() -> dict[Path, str]:
    """Return the content of every file that is written."""
    defaults, values = read_values((CHART / "values.yaml").read_text())
    schema = json.dumps(schema_of(defaults, values), indent=2, ensure_ascii=False)
    return {
        CHART / "values.schema.json": schema + "\n",
        CHART / "README.md": readme_of(values),
        CHART / "Chart.yaml": chart_yaml((CHART / "Chart.yaml").read_text()),
        CHART / "files" / "dashboard.json": json.dumps(dashboard(), indent=1) + "\n",
        CHART / "files" / "triton-spans.yaml": (
            ROOT / "deploy" / "otel" / "triton-spans.yaml"
        ).read_text(),
    }


def main() -> int:
    """Write, or with ``--check`` say what would change."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, fail if it would")
    check = parser.parse_args().check
    stale = {
        path: text
        for path, text in written().items()
        if not path.exists() or path.read_text() != text
    }
    for path, text in stale.items():
        if check:
            sys.stderr.write(f"{path.relative_to(ROOT)} is old: run 'make generate'\n")
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    return int(check and bool(stale))


if __name__ == "__main__":
    raise SystemExit(main())
