"""The options of ``build`` and ``import`` that say how a release is made."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from model_builder.option_groups import Command, gathered

if TYPE_CHECKING:
    from rich.console import Console

    from model_builder.releasing import Releasing
    from triton_models.signing import Signer

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)

PASSWORD = "TRIDENT_SIGN_KEY_PASSWORD"
"""The variable with the password of an encrypted key; a command line would show it to everybody."""


sign_option = click.option(
    "--sign-key",
    type=_FILE,
    envvar="TRIDENT_SIGN_KEY",
    help="Sign the manifest with this private key (PEM, on an elliptic curve); also "
    f"TRIDENT_SIGN_KEY. {PASSWORD} has its password.",
)


def releasing_options(command: Command) -> Command:
    """Add the options; ``command`` gets them as one mapping, ``releasing``."""
    options = [
        sign_option,
        click.option(
            "--gate",
            type=_FILE,
            envvar="TRIDENT_GATE",
            help="The rules that decide whether it is good enough; also TRIDENT_GATE. By default "
            "those in model_builder/evaluation/gate.yaml.",
        ),
        click.option(
            "--publish-refused",
            is_flag=True,
            help="Keep what the gate refuses, marked: it cannot be promoted.",
        ),
        click.option(
            "--unproven",
            is_flag=True,
            envvar="TRIDENT_UNPROVEN",
            help="Do not ask a real Triton and a gateway whether they answer as the network did; "
            "also TRIDENT_UNPROVEN=1. `promote` wants to be told so again.",
        ),
        click.option(
            "--outgoing",
            type=click.Path(file_okay=False, path_type=Path),
            default="outgoing",
            envvar="TRIDENT_OUTGOING",
            show_default=True,
            help="Where a release for a bucket is kept until it is there; also TRIDENT_OUTGOING.",
        ),
    ]
    names = ("sign_key", "gate", "publish_refused", "unproven", "outgoing")
    return gathered(command, "releasing", names, options)


def how_to_release(releasing: dict[str, Any]) -> Releasing:
    """Return what the options say.

    Raises:
        click.BadParameter: If the key cannot be used; better now than after the training.
        ConfigInvalid: If the gate cannot be read.
        ProofFailed: If there is no Triton to prove it on.
    """
    from model_builder.evaluation.gate import read_gate
    from model_builder.releasing import Releasing

    if not releasing["unproven"]:
        check_triton()
    return Releasing(
        sign=signer(releasing["sign_key"]),
        proven=not releasing["unproven"],
        gate=read_gate(releasing["gate"]),
        publish_refused=releasing["publish_refused"],
        outgoing=releasing["outgoing"],
    )


def signer(key: Path | None) -> Signer | None:
    """Return what signs with a key.

    Raises:
        click.BadParameter: If it cannot be used.
    """
    import os

    from triton_models.signing import Signer, SigningImpossible

    if key is None:
        return None
    try:
        return Signer(key, os.environ.get(PASSWORD))
    except SigningImpossible as error:
        raise click.BadParameter(str(error), param_hint="--sign-key") from error


def check_triton() -> None:
    """Refuse where no Triton can be started.

    Raises:
        ProofFailed: Says what is missing.
    """
    from model_builder.errors import ProofFailed
    from triton_models.embedded.errors import EmbeddedTritonError
    from triton_models.embedded.installation import find_installation

    try:
        find_installation()
    except EmbeddedTritonError as error:
        raise ProofFailed(f"{error} (--unproven builds without)") from error


@contextmanager
def showing_refusals(console: Console, as_json: bool) -> Iterator[None]:
    """Show all that the gate looked at where it refuses, and let the refusal through."""
    from model_builder.errors import GateRefused
    from model_builder.terminal import checks_table

    try:
        yield
    except GateRefused as refused:
        console.print(checks_table(refused.checks))
        console.print()
        if as_json:
            line, _, release = refused.name.partition("/")
            checks = [check.model_dump(mode="json") for check in refused.checks]
            verdict = {"line": line, "release": release, "verdict": "refused", "checks": checks}
            click.echo(json.dumps(verdict))
        raise
