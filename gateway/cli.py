"""The command line: which commands there are. Each is imported when it is run."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click


class LazyGroup(click.Group):
    """Imports a command when it is asked for; its help needs none of them.

    Args:
        lazy: By the command's name: where it is, as ``module:attribute``, and its summary.
        options: Of :class:`click.Group`.
    """

    def __init__(
        self, *args: Any, lazy: Mapping[str, tuple[str, str]] | None = None, **options: Any
    ) -> None:
        super().__init__(*args, **options)
        self._lazy = dict(lazy or {})

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return sorted({*super().list_commands(ctx), *self._lazy})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, imported if need be."""
        if cmd_name not in self._lazy:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = self._lazy[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands with their summaries."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in self._lazy.items()])


@click.group(
    cls=LazyGroup,
    lazy={
        "serve": ("gateway.serve_cli:serve", "Serve the routed releases."),
        "call": ("gateway.call_cli:call", "Call a running gateway."),
        "bench": ("gateway.bench_cli:bench", "Put a running gateway under load."),
        "keys": ("gateway.keys_cli:keys", "Make and revoke API keys."),
        "check-config": ("gateway.check_config_cli:check_config", "Check a file of settings."),
        "trace": ("gateway.trace_cli:trace", "Look at traces."),
    },
)
@click.version_option(package_name="trident", prog_name="gateway")
def cli() -> None:
    """Serve typed RPCs from the models of a release store, on NVIDIA Triton."""


def main() -> None:
    """Run ``gateway``."""
    cli(prog_name="gateway")
