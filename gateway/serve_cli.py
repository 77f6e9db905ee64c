"""``gateway serve``: parses, and shows on standard error what is served."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gateway.process_logging import log_to_stderr

if TYPE_CHECKING:
    from gateway.settings import Settings


@click.command()
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="YAML with any of the settings; see gateway/settings.py.",
)
@click.option("--embedded", is_flag=True, default=None, help="Start the Triton that comes along.")
@click.option(
    "--triton",
    multiple=True,
    metavar="HOST:PORT",
    help="A Triton that reads the same store, in explicit mode; repeatable.",
)
@click.option(
    "--store", metavar="DIR", help="Where the releases lie; by default triton_models/store."
)
@click.option("--listen", metavar="HOST:PORT", help="By default 127.0.0.1:50051.")
@click.option(
    "--insecure",
    is_flag=True,
    default=None,
    help="Listen without TLS even where other machines reach it: something else protects it.",
)
@click.option(
    "--workers",
    metavar="N|auto",
    help="Processes that answer, on one port; by default one.",
)
@click.option(
    "--transport",
    type=click.Choice(["auto", "grpc", "envoy"]),
    help="What takes calls: grpc.aio, or Envoy with the gateway inside; by default Envoy if it is "
    "installed.",
)
@click.option(
    "--metrics-listen",
    metavar="HOST:PORT",
    help="Where Prometheus finds the metrics of all workers; by default nowhere.",
)
@click.option(
    "--triton-instances",
    metavar="N|auto",
    help="Processes of the embedded Triton that run each model; by default auto.",
)
@click.option(
    "--variant",
    type=click.Choice(["auto", "ensemble", "fused"]),
    help="The layout of the releases that answers; auto, the default: fused on a CPU, "
    "ensemble on a GPU.",
)
def serve(config: Path | None, triton: tuple[str, ...], **options: Any) -> None:
    """Serve the routed releases of a store, on the embedded Triton or on others.

    Every setting can also come from the environment as TRIDENT_<NAME>, or from --config. Ends
    with 0 when it was told to stop (SIGTERM, Ctrl-C) and everything in flight was answered. Reads
    the settings anew on SIGHUP; docs/operating.md says which may change.
    """
    from gateway.settings import InvalidSettings, load_settings

    def read() -> Settings:
        return load_settings(config, options | {"triton": triton or None})

    try:
        settings = read()
    except InvalidSettings as error:
        raise click.UsageError(str(error)) from error
    log_to_stderr()
    from gateway.serving import run
    from gateway.starting import StartFailed

    try:
        exit_code = run(settings, say=lambda text: click.echo(text, err=True), reread=read)
    except StartFailed as error:
        raise click.ClickException(str(error)) from error
    raise SystemExit(exit_code)
