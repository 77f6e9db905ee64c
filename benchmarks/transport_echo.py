"""What a call costs on each transport before anything is done for it: an echo, on both.

    .venv/bin/python benchmarks/transport_echo.py

Both serve the same RPC table in a process of its own: a request of ``Diagnose`` with 30
measurements comes back as it is. The load comes from h2load (Debian: ``nghttp2-client``), over
one connection, in turns within one run; machines are noisy, so the ratio is what can be compared
between runs. h2load takes an error of gRPC for a success, so the size of all answers is compared,
and a second client compares the answers themselves before and during the load.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import grpc
from rich.console import Console
from rich.table import Table

from gateway.process_tuning import new_event_loop
from gateway.telemetry.tracing import Tracing
from gateway.transport.call import Call
from gateway.transport.protection import Protection
from gateway.transport.rpcs import Rpcs, in_bytes
from gateway.transport.services import Services
from trident.diagnose.v1 import diagnose_service_pb2 as pb

PATH = "/trident.diagnose.v1.DiagnoseService/Diagnose"
TRANSPORTS = ("grpc", "envoy")
MAX_BYTES = 64 * 1024 * 1024
LISTEN = "TRANSPORT_ECHO_LISTEN"
TICK_US = 1e6 / os.sysconf("SC_CLK_TCK")
START_S = 30


class Echo:
    """Gives requests back."""

    @in_bytes
    async def Diagnose(self, data: bytes, call: Call) -> bytes:  # noqa: N802
        """Give a request back."""
        return data

    BatchDiagnose = StreamDiagnose = Diagnose


class NoHealth:
    """Nothing is followed: only calls are measured."""

    async def start(self) -> None:
        """Start nothing."""

    async def stop(self) -> None:
        """Stop nothing."""


def services() -> Services:
    """Return what both transports serve."""
    rpcs = Rpcs(Tracing())
    rpcs.add_service(pb.DESCRIPTOR.services_by_name["DiagnoseService"], Echo())
    return Services(rpcs, NoHealth())  # type: ignore[arg-type]


async def serve_grpc(listen: str) -> None:
    """Serve on grpc.aio."""
    from gateway.transport.grpc_aio import GrpcServer

    server = GrpcServer(services(), listen, reuse_port=True)
    await server.start()
    await asyncio.Event().wait()


@asynccontextmanager
async def opening() -> AsyncIterator[Any]:
    """Open what Envoy serves."""
    from gateway.transport.envoy_app import Served

    port = int(os.environ[LISTEN].rpartition(":")[2])
    yield Served(services(), Protection(max_message_bytes=MAX_BYTES), port, 0, lambda: None)


@dataclass(frozen=True)
class Measured:
    """One run of h2load."""

    transport: str
    in_flight: int
    calls_per_s: float
    cpu_us: float
    """CPU time of the server for each call, in µs."""
    mean_ms: float
    resident_mb: float


@dataclass
class Server:
    """An echo in a process of its own."""

    transport: str
    target: str
    process: subprocess.Popen[bytes]

    def cpu_us(self) -> float:
        """Return the CPU time used so far, in µs."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) * TICK_US

    def resident_mb(self) -> float:
        """Return what is in memory, in MB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.findall(r"VmRSS:\s+(\d+) kB", status)[0]) / 1024


@contextmanager
def serving(transport: str) -> Iterator[Server]:
    """Run an echo while the context lasts."""
    with socket.socket() as held, tempfile.TemporaryDirectory() as folder:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind(("127.0.0.1", 0))
        target = f"127.0.0.1:{held.getsockname()[1]}"
        process = subprocess.Popen(
            [sys.executable, __file__, "--serve", transport, target, folder],
            env=os.environ | {LISTEN: target},
        )
        try:
            with grpc.insecure_channel(target) as channel:
                grpc.channel_ready_future(channel).result(START_S)
            yield Server(transport, target, process)
        finally:
            process.terminate()
            process.wait(START_S)


def request() -> pb.DiagnoseRequest:
    """Return the message that goes there and back."""
    made = pb.DiagnoseRequest(request_id="01J0000000000000000000000")
    for place in range(30):
        made.measurements.values[f"measurement number {place}"] = place / 7
    return made


class Checker(threading.Thread):
    """Compares answers while others load the server."""

    def __init__(self, target: str, message: bytes) -> None:
        super().__init__(daemon=True)
        self._target, self._message = target, message
        self._stop_asked = threading.Event()
        self.wrong = self.right = 0

    def run(self) -> None:
        """Ask ten times a second."""
        with grpc.insecure_channel(self._target) as channel:
            call = channel.unary_unary(PATH)
            while not self._stop_asked.wait(0.1):
                message = self._message + b"\x0a\x01" + bytes([97 + self.right % 26])
                if call(message, timeout=10) == message:
                    self.right += 1
                else:
                    self.wrong += 1

    def stop(self) -> None:
        """Stop, and fail if an answer was wrong or none came."""
        self._stop_asked.set()
        self.join()
        assert self.right, "no answer was compared"
        assert not self.wrong, f"{self.wrong} answers were wrong"


def load(
    address: str,
    in_flight: int,
    seconds: int,
    frame: Path,
    metadata: Iterable[tuple[str, str | bytes]] = (),
) -> tuple[int, str]:
    """Load a server once; return how many calls it has answered rightly, and what h2load says.

    Args:
        address: A URL without a path.
        in_flight: Calls at a time, over one connection.
        seconds: How long.
        frame: What is sent and must come back, as gRPC frames it.
        metadata: Of each call.

    Raises:
        AssertionError: If there is no answer, or a wrong one.
    """
    headers = [("content-type", "application/grpc"), ("te", "trailers"), *metadata]
    done = subprocess.run(
        ["h2load", f"--duration={seconds}", "-c1", f"-m{in_flight}", "-t1", "-d", frame,
         *(word for name, value in headers for word in ("-H", f"{name}: {value!s}")),
         f"{address}{PATH}"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    calls, failed = (
        int(re.findall(rf"(\d+) {word}", done.stdout)[0]) for word in ("succeeded", "failed")
    )
    assert calls, done.stdout
    assert not failed, done.stdout
    # Unfinished calls may have got their data; none may have got less or more.
    data = int(re.findall(r"\((\d+)\) data", done.stdout)[0])
    expected = frame.stat().st_size
    assert calls * expected <= data <= (calls + in_flight) * expected, done.stdout
    return calls, done.stdout


def rate_of(said: str) -> float:
    """Return the calls a second in what h2load says."""
    return float(re.findall(r"([\d.]+) req/s", said)[0])


def measure(server: Server, in_flight: int, seconds: int, frame: Path) -> Measured:
    """Load a server once."""
    before_us = server.cpu_us()
    calls, said = load(f"http://{server.target}", in_flight, seconds, frame)
    used_us = server.cpu_us() - before_us
    mean = re.findall(r"time for request:\s+\S+\s+\S+\s+([\d.]+)(us|ms|s)", said)[0]
    return Measured(
        server.transport, in_flight, rate_of(said), used_us / calls,
        float(mean[0]) * {"us": 1e-3, "ms": 1, "s": 1e3}[mean[1]], server.resident_mb(),
    )  # fmt: skip


@click.command()
@click.option("--rounds", default=5, show_default=True)
@click.option("--seconds", default=2, show_default=True, help="Of each run.")
@click.option("--in-flight", "levels", default=[1, 16, 64], multiple=True, show_default=True)
@click.option("--json", "output", type=click.Path(path_type=Path), help="Where to write it.")
@click.option("--serve", nargs=3, hidden=True)
def main(
    rounds: int,
    seconds: int,
    levels: tuple[int, ...],
    output: Path | None,
    serve: tuple[str, str, str] | None,
) -> None:
    """Measure an echo on both transports."""
    if serve is not None:
        _serve(*serve)
        return
    if shutil.which("h2load") is None:
        raise click.ClickException("h2load is missing (Debian: apt-get install nghttp2-client)")
    message = request().SerializeToString()
    runs: list[Measured] = []
    with (
        serving("grpc") as grpc_server,
        serving("envoy") as envoy_server,
        tempfile.NamedTemporaryFile() as file,
    ):
        file.write(b"\0" + len(message).to_bytes(4, "big") + message)
        file.flush()
        servers = (grpc_server, envoy_server)
        for number in range(rounds + 1):
            for level in levels:
                for server in servers if number % 2 else servers[::-1]:
                    checker = Checker(server.target, message)
                    checker.start()
                    measured = measure(server, level, seconds, Path(file.name))
                    checker.stop()
                    if number:  # the first round only warms up
                        runs.append(measured)
    _show(runs, levels, len(message))
    if output is not None:
        output.write_text(json.dumps([asdict(run) for run in runs], indent=1))


def _serve(transport: str, listen: str, folder: str) -> None:
    if transport == "grpc":
        with asyncio.Runner(loop_factory=new_event_loop) as runner:  # as its worker does
            runner.run(serve_grpc(listen))
    else:
        from gateway.transport.envoy_process import become_envoy

        become_envoy(
            app="transport_echo:app", listen=listen, folder=Path(folder),
            protection=Protection(max_message_bytes=MAX_BYTES), environment=os.environ,
        )  # fmt: skip


def _show(runs: list[Measured], levels: tuple[int, ...], size: int) -> None:
    table = Table(title=f"Echo of {size} bytes, medians of {len(runs) // len(levels) // 2} rounds")
    for column in ("in flight", "transport", "calls/s", "ratio", "CPU µs/call", "mean ms", "MB"):
        table.add_column(column, justify="left" if column == "transport" else "right")
    for level in levels:
        base = _median(runs, level, "grpc", "calls_per_s")
        for transport in TRANSPORTS:
            rate, cpu, mean, memory = (
                _median(runs, level, transport, name)
                for name in ("calls_per_s", "cpu_us", "mean_ms", "resident_mb")
            )
            table.add_row(
                str(level), transport, f"{rate:,.0f}", f"{rate / base:.2f}", f"{cpu:.0f}",
                f"{mean:.2f}", f"{memory:.0f}",
            )  # fmt: skip
    Console().print(table)


def _median(runs: list[Measured], level: int, transport: str, name: str) -> float:
    ours = [run for run in runs if (run.transport, run.in_flight) == (transport, level)]
    return statistics.median(getattr(run, name) for run in ours)


if __name__ == "__main__":
    main()
elif LISTEN in os.environ:  # in Envoy
    from gateway.transport.envoy_app import build_app

    app = build_app(opening)
