"""The containers' commands, arguments, environment and probes, run as processes on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
import tiny_releases as tiny
from certificates import authority, of_server
from cluster import TRITONS, Cluster
from containers import STORE, Container, extra_triton_arguments, triton_container
from rendered import FULL, PLANS, Chart, containers, merged

from gateway.security.keys import KeyFile, new_key, write_keys
from model_builder.cli import cli
from trident.diagnose.v1 import diagnose_service_pb2 as diagnose
from trident.diagnose.v1.diagnose_service_pb2_grpc import DiagnoseServiceStub
from trident.model.v1 import model_service_pb2 as model
from trident.model.v1.model_service_pb2_grpc import ModelServiceStub
from triton_models.store import ReleaseStore

pytestmark = pytest.mark.contract

SLOW = 600_000.0
"""Rounds that take a second or so."""


@pytest.fixture
def another(cluster: Cluster) -> Iterator[Container]:
    """One more gateway, which a test may end."""
    gateway = cluster.new_gateway("another")
    try:
        yield gateway
    finally:
        gateway.kill()


@pytest.mark.parametrize("probe", ["startupProbe", "livenessProbe", "readinessProbe"])
def test_every_probe_of_gateway_and_triton_succeeds(cluster: Cluster, probe: str) -> None:
    for one in (cluster.gateway, cluster.triton):
        assert one.probe(one.spec[probe]), one.log.read_text()


def test_a_probe_of_a_service_that_there_is_not_fails(cluster: Cluster) -> None:
    probe = merged(cluster.gateway.spec["livenessProbe"], {"grpc": {"service": "trident.Nothing"}})
    assert not cluster.gateway.probe(probe)


def test_the_commands_of_helm_test_pass(cluster: Cluster) -> None:
    pod = cluster.rendered.one("Pod", "test")
    target = cluster.gateway.places[":50051"]
    places = {"demo-trident-gateway.ml.svc:50051": f"127.0.0.1{target}"}
    for spec in containers(pod):
        call = Container(spec, cluster.folder / f"test-{spec['name']}", places)
        said = call.run()
        assert len(said.splitlines()) > 1, said
        assert call.written() == []


def test_a_gateway_with_tls_and_keys_is_probed_and_called_as_the_chart_says(
    cluster: Cluster, chart: Chart, tmp_path: Path
) -> None:
    rendered = chart.render(
        {
            "triton": {"replicas": TRITONS},
            "gateway": {"tls": {"secretName": "gateway-tls"}, "keysSecret": "keys"},
            "tests": {"secretEnv": {"TRIDENT_API_KEY": {"secret": "client", "key": "key"}}},
        }
    )
    ca = authority()
    for pair, name in ((ca, "ca"), (of_server(ca), "tls")):
        pair.write(tmp_path, name)
    for old, new in (("ca.pem", "ca.crt"), ("tls.pem", "tls.crt")):
        (tmp_path / old).rename(tmp_path / new)
    key, entry = new_key("test", ["*"])
    write_keys(tmp_path / "keys.yaml", KeyFile(keys=(entry,)))
    gateway = cluster.new_gateway("secured", rendered, tls=str(tmp_path), keys=str(tmp_path))
    try:
        gateway.start()
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            gateway.wait(gateway.spec[probe])
        places = {
            "demo-trident-gateway.ml.svc:50051": f"localhost{gateway.places[':50051']}",
            "/trident/tls": str(tmp_path),
        }
        for spec in containers(rendered.one("Pod", "test")):
            plain = {**spec, "env": [{"name": "TRIDENT_API_KEY", "value": key}]}
            assert Container(plain, tmp_path / spec["name"], places).run()
            stranger = Container({**spec, "env": []}, tmp_path / "stranger", places)
            with pytest.raises(AssertionError, match="UNAUTHENTICATED"):
                stranger.run()
        assert gateway.end(60) == 0
    finally:
        gateway.kill()


def test_helm_test_fails_where_nobody_answers(cluster: Cluster) -> None:
    spec = containers(cluster.rendered.one("Pod", "test"))[0]
    places = {"demo-trident-gateway.ml.svc:50051": "127.0.0.1:9"}
    call = Container(spec, cluster.folder / "nobody", places)
    with pytest.raises(AssertionError, match="nothing answers"):
        call.run()


def test_sigterm_answers_what_is_in_flight_within_the_grace_period(
    cluster: Cluster, another: Container
) -> None:
    another.start()
    another.wait(another.spec["readinessProbe"])
    pod = cluster.rendered.one("Deployment", "gateway")["spec"]["template"]["spec"]
    slept = another.spec["lifecycle"]["preStop"]["sleep"]["seconds"]
    with grpc.insecure_channel(f"127.0.0.1{another.places[':50051']}") as channel:
        request = diagnose.DiagnoseRequest()
        request.measurements.values.update({tiny.WORK: SLOW, tiny.SIZE: 1.0})
        call = DiagnoseServiceStub(channel).Diagnose.future(request, timeout=30)
        # On one connection calls are taken in their order.
        ModelServiceStub(channel).ListModels(model.ListModelsRequest(), timeout=20)
        assert not call.done()
        code = another.end(pod["terminationGracePeriodSeconds"] - slept)
        assert call.result().findings[0].label == "big"
    assert code == 0, another.log.read_text()
    # Its root file system is read-only there.
    assert another.written() == []


def test_triton_takes_every_flag_there_can_be(
    chart: Chart, tmp_path: Path, embedded_triton_available: None
) -> None:
    values = merged(FULL, {"store": {"kind": "pvc", "url": ""}})
    values["triton"] = {"modelConfigName": "h100", "gpu": {"count": 1}}
    rendered = chart.render(values)
    spec = containers(rendered.one("StatefulSet", "triton")["spec"]["template"])[0]
    (tmp_path / "store" / "models").mkdir(parents=True)
    triton = triton_container(spec, tmp_path / "store", tmp_path / "triton")
    try:
        triton.start(*extra_triton_arguments(triton))
        triton.wait(spec["readinessProbe"])
        assert any("opentelemetry,url=" in one for one in triton.command())
        pod = rendered.one("StatefulSet", "triton")["spec"]["template"]["spec"]
        assert triton.end(pod["terminationGracePeriodSeconds"]) == 0
    finally:
        triton.kill()


def test_the_builders_arguments_are_understood(chart: Chart) -> None:
    job = {"task": "recsys", "schedule": "0 3 * * *", "data": "/data/log.csv", "set": {"a": 2}}
    rendered = chart.render({"builder": {"cronJobs": {"nightly": job}}})
    template = rendered.one("CronJob", "builder")["spec"]["jobTemplate"]["spec"]["template"]
    name, *arguments = containers(template)[0]["args"]
    whole = cli.make_context("model-builder", [name])
    given = cli.commands[name].make_context(name, arguments, parent=whole).params
    assert {key: given[key] for key in ("task_name", "data_name", "store_url", "as_json")} == {
        "task_name": "recsys",
        "data_name": "/data/log.csv",
        "store_url": STORE,
        "as_json": True,
    }


def test_the_arguments_of_the_plans_are_understood(chart: Chart) -> None:
    template = chart.render(PLANS).one("Job", "plans")["spec"]["template"]
    program, name, *arguments = containers(template)[0]["command"]
    assert program == "model-builder"
    whole = cli.make_context("model-builder", [name])
    given = cli.commands[name].make_context(name, arguments, parent=whole).params
    assert {key: given[key] for key in ("name", "routed", "profile", "store_url")} == {
        "name": None,
        "routed": True,
        "profile": "tensorrt",
        "store_url": STORE,
    }


def test_a_cronjob_builds_a_release_and_writes_nowhere_else(
    chart: Chart, tmp_path: Path, embedded_triton_available: None
) -> None:
    job = {"task": "diagnosis", "schedule": "0 3 * * *", "data": "breast-cancer"}
    rendered = chart.render({"builder": {"cronJobs": {"nightly": job}}})
    template = rendered.one("CronJob", "builder")["spec"]["jobTemplate"]["spec"]["template"]
    places = {STORE: str(tmp_path / "store"), "/tmp": str(tmp_path / "build" / "tmp")}
    build = Container(containers(template)[0], tmp_path / "build", places)
    build.run()
    store = ReleaseStore(tmp_path / "store")
    _, routes = store.routes()
    (target,) = routes.lines["diagnose-measurements"]
    assert store.manifest("diagnose-measurements", target.release).verdict == "accepted"
    assert build.written() == []


def test_the_job_of_plans_reaches_the_store_and_misses_only_tensorrt(
    chart: Chart, cluster: Cluster, tmp_path: Path
) -> None:
    values = {**PLANS, "builder": {}}
    template = chart.render(values).one("Job", "plans")["spec"]["template"]
    places = {STORE: cluster.triton.places[STORE], "/tmp": str(tmp_path / "plans" / "tmp")}
    plans = Container(containers(template)[0], tmp_path / "plans", places)
    with pytest.raises(AssertionError, match="TensorRT"):
        plans.run()
    assert "Usage:" not in plans.log.read_text()
    assert plans.written() == []


def test_an_argument_that_the_builder_does_not_know_is_seen(chart: Chart, tmp_path: Path) -> None:
    rendered = chart.render({"builder": FULL["builder"]})
    template = rendered.one("CronJob", "builder")["spec"]["jobTemplate"]["spec"]["template"]
    spec = containers(template)[0]
    build = Container(merged(spec, {"args": [*spec["args"], "--fast"]}), tmp_path, {})
    with pytest.raises(AssertionError, match="No such option"):
        build.run()
    assert build.process is not None
    assert build.process.returncode == 2
