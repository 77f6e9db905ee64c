"""``model-builder data check`` and ``data schema``: a look at data before a build."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from model_builder.data_report.report import DataReport
    from model_builder.tabular.loading import TargetRule
    from model_builder.tabular.table import Table
    from model_builder.tabular.training import TabularConfig
    from model_builder.task import ResolvedData
    from triton_models.release import FeatureSpec

_MOST_DRIFTED = 10


def _options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add what says which data is meant and how it is split."""
    for option in reversed(
        (
            click.argument("name", metavar="PATH|NAME"),
            click.option("--label", metavar="COLUMN",
                         help="The column to predict; by default the last."),
            click.option("--task", type=click.Choice(["recsys", "diagnosis", "risk"]),
                         help="What it is for; by default told from its columns."),
            click.option("--split", type=click.Choice(["stratified", "grouped", "time"]),
                         default="stratified", show_default=True, help="How a table is split."),
            click.option("--split-column", metavar="COLUMN",
                         help="What a grouped or a time split goes by."),
            click.option("--test-share", type=click.FloatRange(0, 0.5, True, True), default=0.2,
                         show_default=True, help="Of the rows of a table."),
            click.option("--seed", type=int, default=0, help="Of the split."),
            click.option("--json", "as_json", is_flag=True,
                         help="Print one JSON object on standard output."),
        )
    ):  # fmt: skip
        command = option(command)
    return command


@click.command("check")
@_options
@click.option("--strict", is_flag=True, help="End with 1 for a warning, too.")
@click.pass_context
def check_data(ctx: click.Context, as_json: bool, strict: bool, **asked: Any) -> None:
    """Say what is in a data set: schema, classes, duplicates, drift, and what is wrong.

    Exits 0 if it can be built from, 1 if not (or if anything is to be warned of, with --strict).
    """
    data, task, config = _found(**asked)
    report = _report(data, task, config)
    if as_json:
        click.echo(json.dumps(report.as_json()))
    else:
        _show(report)
    if not report.usable or (strict and report.findings):
        ctx.exit(1)


@click.command("schema")
@_options
@click.option(
    "--write",
    "write",
    is_flag=True,
    help="Write it as a file beside the data, to be reviewed and edited.",
)
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), help="Write it there instead."
)
def data_schema(as_json: bool, write: bool, out: Path | None, **asked: Any) -> None:
    """Show the features that a build on a table would have, as a request must send them.

    A file beside the data, NAME.schema.yaml, is read by every build on it.
    """
    from model_builder.errors import ConfigInvalid
    from model_builder.progress import SilentProgress
    from model_builder.tabular.fitting import split_table
    from model_builder.tabular.loading import load_table
    from model_builder.tabular.schema import infer_features
    from model_builder.tabular.schema_file import beside

    data, task, config = _found(**asked)
    if task == "recsys":
        raise ConfigInvalid([f"{data.name}: a log of interactions has no features"])
    table = load_table(data, _rule(task), SilentProgress(), config.split_by)
    features = infer_features(table, split_table(table, config).training)
    if write or out is not None:
        _write_schema(out or beside(data.path), data, table, features)
        return
    if as_json:
        rows = [feature.model_dump(mode="json") for feature in features]
        click.echo(json.dumps({"features": rows, "labels": table.labels}))
        return
    header = ("feature", "kind", "unit", "values", "typical")
    _print_tables([(header, [
        (
            feature.name,
            "code" if feature.codes else feature.kind,
            feature.unit,
            ", ".join(feature.categories) or ", ".join(f"{code:g}" for code in feature.codes)
            or f"{feature.minimum:g} to {feature.maximum:g}",
            str(feature.typical),
        )
        for feature in features
    ])])  # fmt: skip


def _write_schema(
    path: Path, data: ResolvedData, table: Table, features: Sequence[FeatureSpec]
) -> None:
    from model_builder.errors import ConfigInvalid
    from model_builder.tabular.schema_file import written

    if path.exists():
        raise ConfigInvalid([f"{path}: exists, and may have been edited; it is left as it is"])
    path.write_text(written(table.label, table.columns, features), encoding="utf-8")
    for line in table.findings:
        click.echo(line, err=True)
    click.echo(f"Wrote {path}: {len(features)} features of {data.name}.", err=True)


def _found(
    name: str,
    label: str | None,
    task: str | None,
    split: str,
    split_column: str | None,
    test_share: float,
    seed: int,
) -> tuple[ResolvedData, str | None, TabularConfig]:
    from model_builder.config import read_config
    from model_builder.data_report.kinds import is_log
    from model_builder.datasets import resolve
    from model_builder.tabular.training import TabularConfig

    settings = [f"split={split}", f"test_share={test_share}"]
    settings += [f"split_column={split_column}"] if split_column else []
    config = read_config(TabularConfig, settings=settings, seed=seed)
    data = resolve(name, label=label)
    return data, task or ("recsys" if is_log(data.path) else None), config


def _rule(task: str | None) -> TargetRule:
    from model_builder.tabular.targets import finding_target, outcome_target

    return outcome_target if task == "risk" else finding_target


def _report(data: ResolvedData, task: str | None, config: TabularConfig) -> DataReport:
    from model_builder.data_report import logs, tables

    return logs.check(data) if task == "recsys" else tables.check(data, _rule(task), config)


def _show(report: DataReport) -> None:
    splits = ", ".join(f"{count} {name}" for name, count in report.split.items())
    click.echo(
        f"{report.name}: {report.kind} of {report.rows} rows" + f" ({splits})" * bool(splits)
    )
    click.echo(f"data sha256   {report.sha256}")
    if report.split_sha256:
        click.echo(f"split sha256  {report.split_sha256}")
    tables: list[tuple[Sequence[str], list[Sequence[str]]]] = []
    if report.columns:
        header = ("column", "kind", "missing", "different", "values")
        tables.append((header, [
            (c.name, c.kind, str(c.missing), str(c.different), c.values) for c in report.columns
        ]))  # fmt: skip
    if report.facts:
        facts = [(name.replace("_", " "), f"{value:g}") for name, value in report.facts.items()]
        tables.append((("fact", "value"), facts))
    if report.classes:
        names = list(next(iter(report.classes.values())))
        rows = [(label, *(str(each[name]) for name in names))
                for label, each in report.classes.items()]  # fmt: skip
        tables.append((("class", *names), rows))
    if report.drift:
        most = sorted(report.drift, key=lambda each: -each.psi)[:_MOST_DRIFTED]
        tables.append((("most different", "between", "PSI", "KS", "drift"), [
            (d.column, d.between, f"{d.psi:.3f}", "" if d.ks is None else f"{d.ks:.3f}",
             "yes" if d.drifted else "no") for d in most
        ]))  # fmt: skip
    if report.duplicates:
        found = report.duplicates
        tables.append((("duplicates", "rows"), [
            ("of an earlier row", str(found.rows)),
            ("with another label", str(found.conflicting)),
            ("in test and train", str(found.across_splits)),
        ]))  # fmt: skip
    if report.findings:
        tables.append((("finding", "about", "column", "what"), [
            (f.level, f.subject, f.column or "", f.text) for f in report.findings
        ]))  # fmt: skip
    _print_tables(tables)
    if not report.findings:
        click.echo("\nNothing to warn of.")


def _print_tables(tables: Sequence[tuple[Sequence[str], Sequence[Sequence[str]]]]) -> None:
    from rich.console import Console

    from model_builder.terminal import plain_table

    console = Console(highlight=False, markup=False)
    for header, rows in tables:
        console.print()
        console.print(plain_table(header, rows))
