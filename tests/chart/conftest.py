"""The chart, rendered by real Helm."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import pytest
from rendered import FULL, Chart, Rendered


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
