"""A report as one HTML page that needs nothing else: styles, plots and script are in it."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib.resources import files

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from gateway.telemetry.analysis import charts
from gateway.telemetry.analysis.report import Report
from gateway.telemetry.analysis.stages import Kind
from gateway.telemetry.analysis.terminal import said_of_input
from gateway.telemetry.analysis.writing import milliseconds

_FILES = files("gateway.telemetry.analysis") / "page_files"


def render_page(report: Report) -> str:
    """Return the page.

    Args:
        report: Of any number of groups, also of none.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True,
                              lstrip_blocks=True)  # fmt: skip
    environment.filters["ms"] = milliseconds
    environment.filters["marked"] = _marked
    environment.filters["percent"] = lambda share: f"{100 * share:.1f} %"
    environment.globals |= {"charts": charts, "kinds": [kind.value for kind in Kind]}
    template = environment.from_string(_read("page.html.j2"))
    return template.render(
        report=report,
        inputs=list(said_of_input(report)),
        when=_when(report),
        style=Markup(_read("page.css")),
        script=Markup(_read("page.js")),
    )


def _read(name: str) -> str:
    return (_FILES / name).read_text(encoding="utf-8")


def _marked(text: str) -> Markup:
    """Return a text with its `names` set apart."""
    parts = str(Markup.escape(text)).split("`")
    return Markup("".join(f"<code>{part}</code>" if place % 2 else part
                          for place, part in enumerate(parts)))  # fmt: skip


def _when(report: Report) -> str:
    begins = [group.summary.begin_ns for group in report.groups]
    if not begins:
        return ""
    ends = [group.summary.begin_ns + 1e9 * group.summary.seconds for group in report.groups]
    begin, end = (datetime.fromtimestamp(ns / 1e9, UTC) for ns in (min(begins), max(ends)))
    return f"{begin:%Y-%m-%d %H:%M:%S} to {end:%H:%M:%S} UTC"
