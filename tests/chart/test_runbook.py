"""What the runbook has people type, and the pod that they type it in."""

from __future__ import annotations

import re
import shlex
from typing import Any

import click
import pytest
import yaml
from admission import assert_restricted, selects
from kubernetes_schemas import NEWEST, invalid
from rendered import CHART, Chart, Object, containers, values_of

from gateway.cli import cli as gateway_cli
from model_builder.cli import cli as builder_cli

ROOT = CHART.parents[2]
GUIDE = (ROOT / "docs" / "operating.md").read_text()
PROGRAMS: dict[str, click.Group] = {"gateway": gateway_cli, "model-builder": builder_cli}
LINES = [
    line.partition("#")[0].strip()
    for block in re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL)
    for line in block.replace("\\\n", " ").splitlines()
]


def typed() -> list[list[str]]:
    """The words of every line that runs a program of ours, here or in a pod."""
    words = [shlex.split(re.sub(r"^kubectl .* exec .* -- ", "", line)) for line in LINES]
    return [one for one in words if one and one[0] in PROGRAMS]


def understand(group: click.Group, words: list[str], parent: click.Context | None = None) -> None:
    """Read arguments down to the last command; it raises what click has against them."""
    name, *rest = words
    context = group.make_context(group.name or "", [name, *rest], parent, resilient_parsing=False)
    command = group.get_command(context, name)
    assert command is not None, name
    if isinstance(command, click.Group):
        understand(command, rest, context)
    else:
        command.make_context(name, rest, parent=context)


@pytest.fixture
def pod() -> Object:
    text = (ROOT / "deploy" / "k8s" / "examples" / "model-builder.yaml").read_text()
    return dict(yaml.safe_load(text))


@pytest.mark.parametrize("words", typed(), ids=" ".join)
def test_programs_take_what_the_runbook_has_people_type(words: list[str]) -> None:
    understand(PROGRAMS[words[0]], words[1:])


def test_lines_that_programs_do_not_take_are_seen() -> None:
    assert {words[0] for words in typed()} == set(PROGRAMS)
    with pytest.raises(click.UsageError):
        understand(builder_cli, ["rollback", "risk", "--fast"])


def test_the_pod_for_commands_is_one_that_restricted_admission_takes(pod: Object) -> None:
    assert_restricted("model-builder", pod)
    assert pod["spec"]["automountServiceAccountToken"] is False


@pytest.mark.parametrize("version", NEWEST)
def test_the_pod_for_commands_is_valid(pod: Object, version: str) -> None:
    assert invalid([pod], version) == []


def test_the_pod_for_commands_waits_in_the_image_that_is_built(pod: Object) -> None:
    (container,) = containers(pod)
    # Not its arguments: the image's entry point is a command of the builder.
    assert container["command"] == ["sleep", "infinity"]
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
    assert container["image"] == f"registry.example/trident-model-builder:{version}"


def test_the_pod_for_commands_has_the_store_the_account_and_the_policy_of_the_chart(
    chart: Chart, pod: Object
) -> None:
    rendered = chart.render(values_of(CHART / "examples" / "laptop.yaml"))
    claims = {one["metadata"]["name"] for one in rendered.of("PersistentVolumeClaim")}
    volumes: dict[str, Any] = {one["name"]: one for one in pod["spec"]["volumes"]}
    assert volumes["store"]["persistentVolumeClaim"]["claimName"] in claims
    accounts = {one["metadata"]["name"] for one in rendered.of("ServiceAccount")}
    assert pod["spec"]["serviceAccountName"] in accounts
    labels = pod["metadata"]["labels"] | {"app.kubernetes.io/instance": "demo"}
    assert selects(rendered.one("NetworkPolicy", "jobs")["spec"]["podSelector"], labels)
    # And none of the gateways' or Tritons': clients must not be sent to it.
    assert not any(one["spec"]["selector"].items() <= labels.items()
                   for one in rendered.of("Service"))  # fmt: skip


def test_the_runbook_types_in_the_pod_that_there_is(pod: Object) -> None:
    inside = {
        found[1] for line in LINES if (found := re.search(r" exec (?:-\S+ )*(\S+) -- ", line))
    }
    assert inside == {pod["metadata"]["name"]}
    for file in re.findall(r"kubectl -n ml apply -f (deploy/\S+)", GUIDE):
        assert (ROOT / file).exists()


def test_the_laptop_builds_what_helm_test_calls_with_what_a_laptop_has(chart: Chart) -> None:
    rendered = chart.render(values_of(CHART / "examples" / "laptop.yaml"))
    jobs = {one["metadata"]["name"]: one for one in rendered.of("CronJob")}
    assert set(jobs) == {f"trident-build-{task}" for task in ("recsys", "diagnosis", "risk")}
    for one in jobs.values():
        (container,) = containers(one["spec"]["jobTemplate"]["spec"]["template"])
        assert container["resources"]["requests"] == {"cpu": "500m", "memory": "1Gi"}


def test_rows_a_second_are_what_the_time_of_a_row_gives() -> None:
    table = GUIDE.partition("## Size a cluster")[2].partition("## ")[0]
    pairs = re.findall(r" ([\d,]+), ([\d,]+) (?=\|)", table)
    assert len(pairs) >= 14
    for time_us, rows in pairs:
        wanted = 1e6 / int(time_us.replace(",", ""))
        assert int(rows.replace(",", "")) == pytest.approx(wanted, rel=0.005)


def test_what_tracing_costs_is_said_once_in_two_ways() -> None:
    table = GUIDE.partition("## Size a cluster")[2]
    times = {
        name: int(re.findall(rf"{name} \| Envoy, fused \| (\d+),", table)[0])
        for name in ("the same", "every call traced")
    }
    factor = float(re.findall(r"every call traced the gateway takes ([\d.]+) times", table)[0])
    assert times["every call traced"] / times["the same"] == pytest.approx(factor, abs=0.01)
