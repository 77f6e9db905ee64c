"""What every call has: whom to ask, how long to wait, where the trace goes, how to print."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gateway.client.identity import NOBODY, Identity, identified
from gateway.trace_cli import DEFAULT_FILE

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from rich.console import Console

    from gateway.client.caller import Caller


@dataclass(frozen=True)
class Connection:
    """Whom to call, and how to print what comes back."""

    target: str
    deadline_s: float
    as_json: bool
    traces_file: Path | None
    identity: Identity = NOBODY

    @contextmanager
    def caller(self) -> Iterator[Caller]:
        """Give what makes calls; in the end, say where the trace is."""
        from gateway.client.caller import Caller

        caller = Caller(self.target, self.deadline_s, self.traces_file, self.identity)
        try:
            with caller:
                yield caller
        finally:
            if caller.trace_id:
                click.echo(f"trace {caller.trace_id} in {self.traces_file}", err=True)

    def print(self, message: Message, table: Callable[[Console], None]) -> None:
        """Print an answer: as JSON, and nothing else, or as a table."""
        if self.as_json:
            from google.protobuf.json_format import MessageToJson

            # The names of the .proto files: those that violations and the README use.
            click.echo(MessageToJson(message, preserving_proto_field_name=True, ensure_ascii=False))
            return
        from rich.console import Console

        table(Console(file=sys.stdout, highlight=False, markup=False, emoji=False))


def connected(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of every call, as one parameter ``connection``.

    Stands right above the function, so that these options come last in the help.
    """

    @wraps(command)
    def with_connection(
        *,
        target: str,
        deadline_s: float,
        as_json: bool,
        traces: Path,
        no_trace: bool,
        identity: Identity,
        **rest: Any,
    ) -> None:
        traces_file = None if no_trace else traces
        connection = Connection(target, deadline_s, as_json, traces_file, identity)
        command(connection=connection, **rest)

    run = identified(with_connection)
    options = (
        click.option("--target", default="127.0.0.1:50051", envvar="TRIDENT_TARGET",
                     show_default=True, metavar="HOST:PORT", help="Where the gateway listens."),
        click.option("--deadline", "deadline_s", type=click.FloatRange(min=0, min_open=True),
                     default=10.0, show_default=True, metavar="SECONDS", help="How long to wait."),
        click.option("--json", "as_json", is_flag=True, help="Print the response as JSON."),
        click.option("--traces", type=click.Path(dir_okay=False, path_type=Path),
                     default=DEFAULT_FILE, envvar="TRIDENT_TRACES_FILE", show_default=True,
                     help="The file that the client's span is written to."),
        click.option("--no-trace", is_flag=True, help="Do not trace this call."),
    )  # fmt: skip
    for option in reversed(options):
        run = option(run)
    return run
