"""What security costs a call: in the process, and over the wire on each transport.

    .venv/bin/python benchmarks/security_cost.py

In the process, the table of RPCs answers an echo, in turns within one run: as it is; guarded, with
a key, with a token that is known, with a certificate; with a token that nobody has seen; and
written down. Processor time of the thread, so other processes matter little.

Over the wire, h2load (Debian: ``nghttp2-client``) loads an echo over one connection, in turns:
plain, over TLS, and over TLS with a key or a token. The ratio to plain is what can be compared
between machines. h2load takes an error of gRPC for a success, so the size of all answers is
compared.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import grpc
from rich import box
from rich.console import Console
from rich.table import Table

sys.path.append(str(Path(__file__).parents[1] / "tests" / "support"))

import transport_echo
from certificates import authority, of_client, of_server
from issuers import AUDIENCE, ISSUER, Issuer
from transport_echo import PATH, Echo, NoHealth, load, rate_of, request

from gateway.auditing import writing_down
from gateway.connecting import protection_of
from gateway.process_tuning import new_event_loop
from gateway.protecting import guarding
from gateway.security.keys import KeyFile, new_key, write_keys
from gateway.settings import Settings, load_settings
from gateway.telemetry.tracing import Tracing
from gateway.transport.call import Call, Pair
from gateway.transport.rpcs import Rpcs
from gateway.transport.services import Services
from trident.diagnose.v1 import diagnose_service_pb2 as pb

TRANSPORTS = ("grpc", "envoy")
SETTINGS = "SECURITY_COST_SETTINGS"
START_S = 30


@dataclass(frozen=True)
class Way:
    """One way to protect a gateway.

    Attributes:
        settings: Of the gateway.
        metadata: Of each call.
        certificate: Of each call's connection, in the process.
        fresh: Gives other metadata for each call.
    """

    settings: dict[str, Any]
    metadata: tuple[Pair, ...] = ()
    certificate: bytes | None = None
    fresh: Callable[[int], tuple[Pair, ...]] | None = None


@dataclass(frozen=True)
class InProcess:
    """What a call takes in the process, in µs of the processor."""

    way: str
    us: float
    more_us: float
    """Than the same call without."""


@dataclass(frozen=True)
class OverTheWire:
    """What a server answers."""

    transport: str
    way: str
    calls_per_s: float
    cpu_us: float
    """Of the server, a call."""
    ratio: float
    """Of calls a second, to plain."""


class PlayedCall(Call):
    """A call that no transport made."""

    def __init__(self, pairs: Sequence[Pair], certificate: bytes | None) -> None:
        super().__init__(PATH[1:], time.time_ns())
        self._pairs = pairs
        self._certificate = certificate

    def pairs(self) -> Sequence[Pair]:
        """Return its metadata."""
        return self._pairs

    def peer(self) -> str:
        """Return an address."""
        return "ipv4:127.0.0.1:1"

    def time_remaining(self) -> float | None:
        """Return that it has all the time there is."""
        return None

    def certificate(self) -> bytes | None:
        """Return the certificate that it was given."""
        return self._certificate


def ways(folder: Path) -> dict[str, Way]:
    """Return all of them; what they need is in files."""
    ca, issuer = authority(), Issuer()
    client = of_client(ca)
    certificate, key = of_server(ca).write(folder, "tls")
    ca_file, _ = ca.write(folder, "ca")
    (folder / "jwks.json").write_text(issuer.jwks())
    api_key, entry = new_key("billing", ["*"])
    write_keys(folder / "keys.yaml", KeyFile(keys=(entry,)))
    tls = {"tls_certificate": str(certificate), "tls_key": str(key)}
    keys = {"keys_file": str(folder / "keys.yaml")}
    tokens = {
        "jwt_keys": str(folder / "jwks.json"), "jwt_issuer": ISSUER, "jwt_audience": AUDIENCE,
    }  # fmt: skip
    token = ("authorization", f"Bearer {issuer.token(scope='trident:*')}")

    def unseen(key: str) -> Callable[[int], tuple[Pair, ...]]:
        made = [issuer.token(key, scope="trident:*", jti=str(number)) for number in range(200)]
        return lambda number: (("authorization", f"Bearer {made[number % 200]}"),)

    return {
        "plain": Way({}),
        "TLS": Way(tls),
        "TLS, key": Way(tls | keys, (("x-api-key", api_key),)),
        "TLS, token": Way(tls | tokens, (token,)),
        "key": Way(keys, (("x-api-key", api_key),)),
        "token": Way(tokens, (token,)),
        "certificate": Way(tls | {"tls_client_ca": str(ca_file)}, certificate=client.pem),
        "unseen token, ES256": Way(tokens, fresh=unseen("ec")),
        "unseen token, RS256": Way(tokens, fresh=unseen("rsa")),
        "access log": Way({"access_log": str(folder / "access.jsonl")}),
    }


IN_PROCESS = ("key", "token", "certificate", "unseen token, ES256", "unseen token, RS256",
              "access log")  # fmt: skip
OVER_THE_WIRE = ("plain", "TLS", "TLS, key", "TLS, token")


def settings_of(given: Mapping[str, Any]) -> Settings:
    """Return the settings of a gateway, with those that are given."""
    return load_settings(None, {"embedded": True, "traces_file": "", **given})


@contextmanager
def opened(settings: Settings) -> Iterator[Services]:
    """Give an echo that is protected as the settings say."""
    with guarding(settings) as guarded, writing_down(settings, "echo") as audit:
        rpcs = Rpcs(
            Tracing(always_noted=audit is not None),
            guarded.guard if guarded is not None else None,
            audit.auditing if audit is not None else None,
        )
        rpcs.add_service(pb.DESCRIPTOR.services_by_name["DiagnoseService"], Echo())
        yield Services(rpcs, NoHealth())  # type: ignore[arg-type]


def in_process(all_ways: dict[str, Way], calls: int, rounds: int) -> list[InProcess]:
    """Return what each way costs, medians of the rounds."""
    names = ("plain", *IN_PROCESS)
    message = request().SerializeToString()
    took: dict[str, list[float]] = {name: [] for name in names}

    async def run(services: Services, way: Way) -> float:
        answer = services.rpcs.table[PATH].answer
        count = 200 if way.fresh else calls
        pairs = [way.fresh(number) if way.fresh else way.metadata for number in range(count)]
        start = time.thread_time()
        for one in pairs:
            if await answer(message, PlayedCall(one, way.certificate)) != message:
                raise AssertionError("a wrong answer")
        return 1e6 * (time.thread_time() - start) / count

    for number in range(rounds + 1):
        for name in names:
            with opened(settings_of(all_ways[name].settings)) as services:  # nothing is known yet
                us = asyncio.run(run(services, all_ways[name]))
            if number:  # the first round only warms up
                took[name].append(us)
    plain = statistics.median(took["plain"])
    return [
        InProcess(name, us := statistics.median(took[name]), us - plain) for name in names
    ]  # fmt: skip


@dataclass
class Server(transport_echo.Server):
    """An echo in a process of its own, that is protected in one way."""

    way: str


@contextmanager
def serving(transport: str, name: str, way: Way, ca: bytes) -> Iterator[Server]:
    """Run an echo while the context lasts."""
    with socket.socket() as held, tempfile.TemporaryDirectory() as folder:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
        given = way.settings | {"listen": f"127.0.0.1:{port}"}
        process = subprocess.Popen(
            [sys.executable, __file__, "--serve", transport, folder],
            env=os.environ | {SETTINGS: json.dumps(given)},
        )  # fmt: skip
        target = f"localhost:{port}"
        credentials = grpc.ssl_channel_credentials(ca)
        try:
            with (
                grpc.secure_channel(target, credentials)
                if "tls_key" in way.settings
                else grpc.insecure_channel(target)
            ) as channel:
                grpc.channel_ready_future(channel).result(START_S)
            yield Server(transport, f"127.0.0.1:{port}", process, name)
        finally:
            process.terminate()
            process.wait(START_S)


def over_the_wire(
    all_ways: dict[str, Way], ca: bytes, rounds: int, seconds: int, in_flight: int
) -> list[OverTheWire]:
    """Return what each transport answers each way, medians of the rounds."""
    message = request().SerializeToString()
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"\0" + len(message).to_bytes(4, "big") + message)
        file.flush()
        for transport in TRANSPORTS:
            with ExitStack() as stack:
                servers = [
                    stack.enter_context(serving(transport, name, all_ways[name], ca))
                    for name in OVER_THE_WIRE
                ]
                for number in range(rounds + 1):
                    for server in servers if number % 2 else servers[::-1]:
                        way = all_ways[server.way]
                        scheme = "https" if "tls_key" in way.settings else "http"
                        before_us = server.cpu_us()
                        calls, said = load(
                            f"{scheme}://{server.target}", in_flight, seconds, Path(file.name),
                            way.metadata,
                        )  # fmt: skip
                        one = rate_of(said), (server.cpu_us() - before_us) / calls
                        if number:
                            found.setdefault((transport, server.way), []).append(one)
    medians = {
        key: tuple(statistics.median(column) for column in zip(*runs, strict=True))
        for key, runs in found.items()
    }
    return [
        OverTheWire(transport, way, rate, cpu, rate / medians[transport, "plain"][0])
        for (transport, way), (rate, cpu) in medians.items()
    ]


def _serve(transport: str, folder: str) -> None:
    settings = settings_of(json.loads(os.environ[SETTINGS]))
    if transport == "envoy":
        from gateway.transport.envoy_process import become_envoy

        become_envoy(
            app="security_cost:app", listen=settings.listen, folder=Path(folder),
            protection=protection_of(settings), environment=os.environ,
        )  # fmt: skip

    async def serve() -> None:
        from gateway.transport.grpc_aio import GrpcServer

        with opened(settings) as services:
            protection = protection_of(settings)
            server = GrpcServer(services, settings.listen, protection=protection, reuse_port=True)
            await server.start()
            await asyncio.Event().wait()

    with asyncio.Runner(loop_factory=new_event_loop) as runner:  # as its worker does
        runner.run(serve())


@asynccontextmanager
async def opening() -> AsyncIterator[Any]:
    """Open what Envoy serves."""
    from gateway.transport.envoy_app import Served

    settings = settings_of(json.loads(os.environ[SETTINGS]))
    port = int(settings.listen.rpartition(":")[2])
    with opened(settings) as services:
        yield Served(services, protection_of(settings), port, 0, lambda: None)


@click.command()
@click.option("--calls", default=20_000, show_default=True, help="Of each run in the process.")
@click.option("--rounds", default=5, show_default=True)
@click.option("--seconds", default=1, show_default=True, help="Of each run over the wire.")
@click.option("--in-flight", default=32, show_default=True, help="Over the wire.")
@click.option("--wire/--no-wire", default=True, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
@click.option("--serve", nargs=2, hidden=True)
def main(
    calls: int,
    rounds: int,
    seconds: int,
    in_flight: int,
    wire: bool,
    as_json: bool,
    serve: tuple[str, str] | None,
) -> None:
    """Measure what security costs."""
    if serve is not None:
        _serve(*serve)
        return
    if wire and shutil.which("h2load") is None:
        raise click.ClickException("h2load is missing (Debian: apt-get install nghttp2-client)")
    with tempfile.TemporaryDirectory() as folder:
        all_ways = ways(Path(folder))
        inside = in_process(all_ways, calls, rounds)
        ca = (Path(folder) / "ca.pem").read_bytes()
        outside = over_the_wire(all_ways, ca, rounds, seconds, in_flight) if wire else []
    if as_json:
        click.echo(
            json.dumps(
                {
                    "in_process": [asdict(one) for one in inside],
                    "over_the_wire": [asdict(one) for one in outside],
                }
            )
        )
        return
    table = Table("in the process", "µs", "more than plain", box=box.SIMPLE_HEAD)
    for one in inside:
        table.add_row(one.way, f"{one.us:.2f}", f"{one.more_us:+.2f}")
    Console().print(table)
    table = Table("transport", "over the wire", "calls/s", "ratio", "CPU µs", box=box.SIMPLE_HEAD)
    for run in outside:
        table.add_row(
            run.transport, run.way, f"{run.calls_per_s:,.0f}", f"{run.ratio:.2f}",
            f"{run.cpu_us:.0f}",
        )  # fmt: skip
    Console().print(table)


if __name__ == "__main__":
    main()
elif SETTINGS in os.environ:
    from gateway.transport.envoy_app import build_app

    app = build_app(opening)
