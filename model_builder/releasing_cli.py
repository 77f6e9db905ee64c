"""The options of ``build`` and ``import`` that say how a release is made."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from model_builder.releasing import Releasing

Command = TypeVar("Command", bound=Callable[..., Any])

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)

PASSWORD = "TRIDENT_SIGN_KEY_PASSWORD"
"""The variable with the password of an encrypted key; a command line would show it to everybody."""


def releasing_options(command: Command) -> Command:
    """Add the options; ``command`` gets them as one mapping, ``releasing``."""
    options = [
        click.option(
            "--sign-key",
            type=_FILE,
            envvar="TRIDENT_SIGN_KEY",
            help="Sign the manifest with this private key (PEM, on an elliptic curve); also "
            f"TRIDENT_SIGN_KEY. {PASSWORD} has its password.",
        ),
    ]
    names = ("sign_key",)

    @functools.wraps(command)
    def with_options(*args: Any, **given: Any) -> Any:
        return command(*args, releasing={name: given.pop(name) for name in names}, **given)

    return functools.reduce(lambda wrapped, add: add(wrapped), reversed(options), with_options)  # type: ignore[return-value]


def how_to_release(releasing: dict[str, Any]) -> Releasing:
    """Return what the options say.

    Raises:
        click.BadParameter: If the key cannot be used; better now than after the training.
    """
    import os

    from model_builder.releasing import Releasing

    key = releasing["sign_key"]
    if key is None:
        return Releasing()
    from triton_models.signing import KeyUnusable, Signer

    try:
        return Releasing(sign=Signer(key, os.environ.get(PASSWORD)))
    except KeyUnusable as error:
        raise click.BadParameter(str(error), param_hint="--sign-key") from error
