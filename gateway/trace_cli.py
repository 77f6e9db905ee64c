"""``gateway trace``: where the time of a call went."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gateway.trace_check_cli import check
from gateway.trace_export_cli import export
from gateway.trace_report_cli import diff, report

if TYPE_CHECKING:
    from gateway.telemetry.analysis.tree import Node

DEFAULT_FILE = Path("traces/trident.jsonl")


@click.group("trace")
def trace() -> None:
    """Look at traces."""


trace.add_command(report)
trace.add_command(diff)
trace.add_command(check)
trace.add_command(export)


@trace.command()
@click.argument("trace_id", required=False)
@click.option("--last", is_flag=True, help="The newest trace of a served call (the default).")
@click.option(
    "--file",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    default=DEFAULT_FILE,
    envvar="TRIDENT_TRACES_FILE",
    show_default=True,
    show_envvar=True,
    help="The file that the gateway and its clients write spans to.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the tree for programs.")
def show(trace_id: str | None, last: bool, path: Path, as_json: bool) -> None:
    """Print one trace as a waterfall.

    TRACE_ID is what `gateway call` printed, or its first digits.
    """
    if trace_id and last:
        raise click.UsageError("give a TRACE_ID or --last, not both")
    from gateway.telemetry.analysis.reading import (
        TraceNotFound,
        complete_id,
        newest_trace,
        read_trace,
    )
    from gateway.telemetry.analysis.tree import build_tree

    try:
        whole_id = complete_id(path, trace_id) if trace_id else newest_trace(path)
        roots = build_tree(read_trace(path, whole_id), whole_id)
        if not roots:
            raise TraceNotFound(f"the spans of trace '{whole_id}' in {path} cannot be read")
    except TraceNotFound as error:
        raise click.ClickException(f"{error}.") from error
    if as_json:
        start_ns = min(root.start_ns for root in roots)
        spans = [_content(root, start_ns) for root in roots]
        content = {"trace_id": whole_id, "start_ns": start_ns, "spans": spans}
        click.echo(json.dumps(content, indent=2))
        return
    from rich.console import Console

    from gateway.telemetry.analysis.waterfall import render

    render(roots, Console(file=sys.stdout, highlight=False))


def _content(node: Node, trace_start_ns: int) -> dict[str, Any]:
    return {
        "name": node.name,
        "service": node.service,
        "kind": node.kind,
        "trace_id": node.trace_id,
        "span_id": node.span_id,
        "parent_span_id": node.parent_span_id or None,
        "start_ns": node.start_ns,
        "start_ms": (node.start_ns - trace_start_ns) / 1e6,
        "duration_ms": (node.end_ns - node.start_ns) / 1e6,
        "status": node.status,
        "error": node.error or None,
        "links": [{"trace_id": trace, "span_id": span} for trace, span in node.links],
        "orphan": node.orphan,
        "derived": node.derived,
        "attributes": node.attributes,
        "events": node.events,
        "children": [_content(child, trace_start_ns) for child in node.children],
    }
