"""``model-builder import``: a release of a network that was trained elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from model_builder.releases_cli import STORE_OPTION
from model_builder.releasing_cli import how_to_release, releasing_options, showing_refusals

if TYPE_CHECKING:
    from model_builder.importing.foreign import Framework

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command("import")
@click.option("--onnx", type=_FILE, help="An ONNX model.")
@click.option("--keras", type=_FILE, help="A Keras 3 model, saved as .keras.")
@click.option("--savedmodel", type=_FOLDER, help="A TensorFlow SavedModel.")
@click.option(
    "--line",
    required=True,
    type=click.Choice(["score-risk", "diagnose-measurements"]),
    help="What the release answers.",
)
@click.option(
    "--data",
    "data_name",
    metavar="PATH|NAME",
    help="What it is measured and calibrated on; by default the task's own.",
)
@click.option("--label", metavar="COLUMN", help="The column to predict; by default the last.")
@click.option(
    "--takes",
    type=click.Choice(["prepared", "features"]),
    default="prepared",
    show_default=True,
    help="Columns as `data prepare` writes them, or each feature "
    "cleaned: `numbers` in raw units and `categories` as places in their lists.",
)
@click.option(
    "--gives",
    type=click.Choice(["logits", "probabilities"]),
    default="probabilities",
    show_default=True,
    help="What its output is.",
)
@click.option(
    "--map",
    "pairs",
    metavar="PLACE=NAME",
    multiple=True,
    help="The network's name of the tensor that takes a place; repeatable.",
)
@click.option("--map-file", type=_FILE, help="YAML with a mapping of places to names.")
@click.option(
    "--framework-python",
    metavar="PATH",
    envvar="TRIDENT_FRAMEWORK_PYTHON",
    help="The Python that has Keras or TensorFlow; by default this one. Also "
    "TRIDENT_FRAMEWORK_PYTHON.",
)
@STORE_OPTION
@click.option(
    "--config",
    "config_file",
    type=_FILE,
    help="YAML or JSON: test_share, split and what scores and reviews.",
)
@click.option(
    "--set", "settings", metavar="KEY=VALUE", multiple=True, help="One of these; repeatable."
)
@click.option(
    "--seed", type=int, help="Of the split; as in the `data prepare` that it learnt from."
)
@click.option("--release", metavar="NAME", help="Its name; by default the time.")
@releasing_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on standard output.")
def import_model(
    onnx: Path | None,
    keras: Path | None,
    savedmodel: Path | None,
    line: str,
    data_name: str | None,
    label: str | None,
    takes: Any,
    gives: Any,
    pairs: tuple[str, ...],
    map_file: Path | None,
    framework_python: str | None,
    store_url: str,
    config_file: Path | None,
    settings: tuple[str, ...],
    seed: int | None,
    release: str | None,
    as_json: bool,
    releasing: dict[str, Any],
) -> None:
    """Make a release of a network from ONNX, Keras 3 or TensorFlow.

    It gets our preparation before it and our calibration behind it, is measured beside baselines,
    compared with its framework's own answers, and published like any other release.
    """
    from model_builder.cli import check_release, console_of, show, summary_of

    chosen: dict[Framework, Path | None] = {"onnx": onnx, "keras": keras, "savedmodel": savedmodel}
    given = [(framework, path) for framework, path in chosen.items() if path is not None]
    if len(given) != 1:
        raise click.UsageError("give one of --onnx, --keras and --savedmodel")
    ((framework, path),) = given
    check_release(release)
    how = how_to_release(releasing)
    console = console_of()
    with console.status("starting …"):
        from model_builder.build import build_release
        from model_builder.datasets import resolve
        from model_builder.importing.foreign import opened
        from model_builder.importing.mapping import read_names
        from model_builder.importing.release import LINES, import_task, read_import_config
        from model_builder.terminal import TerminalProgress
        from triton_models.store import ReleaseStore

    names = read_names(pairs, map_file)
    config = read_import_config(line, config_file, settings, seed)
    progress = TerminalProgress(console)
    data = resolve(data_name or LINES[line].default_data, label=label, progress=progress)
    with opened(framework, path, framework_python) as foreign:
        task, facts = import_task(
            line,
            foreign,
            framework=framework,
            path=path,
            takes=takes,
            gives=gives,
            names=names,
            config=config,
        )
        with showing_refusals(console, as_json):
            built = build_release(
                task, data, facts, ReleaseStore(store_url), progress, release, how
            )
    show(console, built, store_url)
    if as_json:
        click.echo(json.dumps(summary_of(built), allow_nan=False))
