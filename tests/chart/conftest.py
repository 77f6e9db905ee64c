"""The chart, rendered by real Helm; and what it renders, as processes on the embedded Triton."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator

import pytest
import tiny_releases as tiny
from cluster import TRITONS, Cluster
from containers import extra_triton_arguments, triton_container
from rendered import FULL, Chart, Rendered, triton_pod

from triton_models.store import ReleaseStore


@pytest.fixture(scope="session")
def chart() -> Chart:
    return Chart()


@pytest.fixture
def plain(chart: Chart) -> Rendered:
    """With the default values."""
    return chart.render()


@pytest.fixture
def full(chart: Chart) -> Rendered:
    """With as much as can be on at once."""
    return chart.render(FULL)


@pytest.fixture(scope="session")
def promtool(missing_tool: Callable[[str], None]) -> str:
    """Prometheus's own checker."""
    found = shutil.which("promtool")
    if found is None:
        missing_tool("promtool is not installed (Debian: prometheus)")
    return str(found)


@pytest.fixture(scope="session")
def cluster(
    chart: Chart, tmp_path_factory: pytest.TempPathFactory, embedded_triton_available: None
) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("cluster")
    store = ReleaseStore(folder / "store")
    for candidate in (tiny.recommender(), tiny.diagnoser(), tiny.scorer()):
        tiny.publish(store, candidate, "r1")
    tiny.route(store, "recommend/r1", "diagnose-measurements/r1", "score-risk/r1")
    rendered = chart.render({"triton": {"replicas": TRITONS}})
    spec = triton_pod(rendered)["containers"][0]
    triton = triton_container(spec, folder / "store", folder / "triton")
    cluster = Cluster(rendered, folder, triton, triton)
    cluster.gateway = cluster.new_gateway("gateway")
    try:
        triton.start(*extra_triton_arguments(triton))
        cluster.gateway.start()
        triton.wait(spec["startupProbe"])
        cluster.gateway.wait(cluster.gateway.spec["readinessProbe"])
        yield cluster
    finally:
        cluster.gateway.kill()
        triton.kill()
