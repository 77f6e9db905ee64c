"""``gateway trace check``: whether calls keep a budget of latency."""

from __future__ import annotations

import json
from pathlib import Path

import click

from gateway.trace_report_cli import TRACES, analysing, output_options, read_traces

WITHIN, CANNOT_SAY, BROKEN = 0, 1, 3


@click.command()
@click.argument("traces", nargs=-1, required=True, type=TRACES)
@click.option("--budget", "budget_file", required=True, metavar="FILE",
              type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="YAML; docs/traces.md describes it.")  # fmt: skip
@output_options
def check(traces: tuple[Path, ...], budget_file: Path, as_json: bool) -> None:
    """Hold the calls in TRACES against a budget.

    Ends with 0 if all is within the budget, with 3 if something is not (the stages to blame are
    named), and with 1 if that cannot be said: too few calls, or none of such an RPC or stage.
    """
    with analysing():
        from gateway.telemetry.analysis.budget import InvalidBudget, read_budget
        from gateway.telemetry.analysis.checking import Verdict
        from gateway.telemetry.analysis.checking import check as held
        from gateway.telemetry.analysis.report import as_json as content_of

        try:
            budget = read_budget(budget_file)
        except InvalidBudget as error:
            raise click.UsageError(str(error)) from error
        checks = held(budget, read_traces(traces).calls)
    verdicts = {one.verdict for one in checks}
    if as_json:
        click.echo(json.dumps(content_of(checks), indent=2))
    else:
        for one in checks:
            click.echo(f"{one.verdict.value:8}{one.text}")
    if Verdict.BROKEN in verdicts:
        raise SystemExit(BROKEN)
    raise SystemExit(CANNOT_SAY if Verdict.UNKNOWN in verdicts else WITHIN)
