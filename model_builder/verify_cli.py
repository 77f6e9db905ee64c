"""``model-builder verify``: proves a release where it lies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from model_builder.releases_cli import JSON_OPTION, STORE_OPTION, line_and_release
from triton_models.plans import PROFILES

if TYPE_CHECKING:
    from triton_models.plan_check import RunsOn


@click.command()
@click.argument("name", metavar="LINE/RELEASE")
@click.option(
    "--triton",
    metavar="HOST:PORT",
    help="A Triton in explicit mode that reads the store, such as a newer version; by default "
    "one that is started on exactly this release.",
)
@click.option(
    "--profile",
    type=click.Choice(PROFILES),
    help="What that Triton was given as --model-config-name: a release without plans that fit is "
    "refused before it is asked for.",
)
@click.option(
    "--gpu",
    metavar="sm_90",
    help="The compute capability of that Triton's GPU; by default of this machine's, if it has "
    "one.",
)
@click.option(
    "--tensorrt",
    metavar="VERSION",
    help="That Triton's version of TensorRT; by default this machine's, if it has one.",
)
@click.option(
    "--public-key",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    envvar="TRIDENT_PUBLIC_KEY",
    help="Check the signature with this key (PEM), and refuse without one; also "
    "TRIDENT_PUBLIC_KEY.",
)
@STORE_OPTION
@JSON_OPTION
def verify(
    name: str,
    triton: str | None,
    profile: str | None,
    gpu: str | None,
    tensorrt: str | None,
    public_key: Path | None,
    store_url: str,
    as_json: bool,
) -> None:
    """Prove a release: signature, checksums, ONNX, and the answers of a real Triton and a gateway.

    For the golden inputs and the whole test split, one row at a time and in the largest batches,
    what is served must be what the trained network answered, within the recorded tolerance. Exits
    0 if all of it holds, else 1 with what does not.
    """
    from rich.console import Console

    console = Console(stderr=True)
    line, release = line_and_release(name)
    where = _where(profile, triton, gpu, tensorrt)
    with console.status("starting …"):
        from model_builder.proof.verifying import verify as prove
        from model_builder.terminal import TerminalProgress, plain_table
        from triton_models.signing import SigningImpossible, Verifier
        from triton_models.store import ReleaseStore
        from triton_models.trust import Trust
    try:
        trust = Trust() if public_key is None else Trust(Verifier(public_key), required=True)
    except SigningImpossible as error:
        raise click.BadParameter(str(error), param_hint="--public-key") from error
    progress = TerminalProgress(console)
    store = ReleaseStore(store_url)
    found = prove(store, line, release, progress, trust=trust, triton=triton, where=where)
    parity = found.proof.served_parity
    if as_json:
        shown = {
            "release": name,
            "signed": found.signed,
            "files": len(found.manifest.files),
            "parity": {
                who: {output: one.model_dump(mode="json") for output, one in outputs.items()}
                for who, outputs in parity.items()
            },
            "latency": {
                variant: one.model_dump(mode="json") for variant, one in found.proof.latency.items()
            },
        }
        click.echo(json.dumps(shown))
    rows = [
        [who, output, str(one.rows), f"{one.max_difference:.2g}", f"{one.tolerance:.2g}"]
        for who, outputs in parity.items()
        for output, one in outputs.items()
    ]
    console.print(plain_table(("asked", "output", "rows", "difference", "tolerance"), rows))
    signed = "signed, " if found.signed else ""
    console.print(
        f"{name} is proven: {signed}{len(found.manifest.files)} files as released, "
        f"{found.onnx_files} networks valid, every answer as recorded.",
        highlight=False,
    )


def _where(
    profile: str | None, triton: str | None, gpu: str | None, tensorrt: str | None
) -> RunsOn | None:
    """Return where the release is to run; ``None``: on any machine's CPU.

    Raises:
        click.UsageError: If no Triton is named that could have a GPU.
        click.BadParameter: If a version is none.
    """
    if profile is None:
        if gpu or tensorrt:
            raise click.UsageError("--gpu and --tensorrt are looked at with --profile")
        return None
    if triton is None:
        raise click.UsageError(
            f"--profile {profile} wants --triton: the one that comes along has no GPU"
        )
    from model_builder.tensorrt.machine import this_machine
    from triton_models.plan_check import RunsOn, capability_of, version_of

    here = this_machine(profile)
    try:
        return RunsOn(
            profile,
            capability_of(gpu) if gpu else here.compute_capability,
            version_of(tensorrt) if tensorrt else here.tensorrt,
        )
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--gpu or --tensorrt") from error
