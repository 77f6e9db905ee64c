"""Load from h2load, which is native: a client in Python would be the limit.

h2load posts one file again and again. It takes a gRPC error for a success, since the status is in
the trailers; so the bytes that came back are compared with what right answers would have been.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.serving.exchanges import Exchange

INSTALL = "h2load is not on PATH; Debian: apt-get install nghttp2-client"

CONNECTIONS = {1: 1, 4: 4, 16: 8, 64: 16}
"""Connections for so many in flight. A client library has one a channel, so a service with 64
calls in flight is called over several; workers that share a port get their calls by connection."""

OPEN_CONNECTIONS = 4
_OPEN_STREAMS = 1000

_HEADERS = {
    "http": ("content-type: application/json",),
    "grpc": ("content-type: application/grpc", "te: trailers"),
}
_REQUESTS = re.compile(
    r"requests: \d+ total, (\d+) started, (\d+) done, (\d+) succeeded, (\d+) failed"
)
_DATA = re.compile(r"\((\d+)\) data$", re.MULTILINE)


class LoadFailed(Exception):
    """h2load could not do its work; the message has what it printed."""


@dataclass(frozen=True)
class Load:
    """What came of one run of h2load."""

    calls: int
    failed: int
    data_bytes: int
    """Bytes of the bodies that came back."""
    seconds: float
    """From the start of the first call to the end of the last."""
    latencies_us: tuple[int, ...]
    """In the order of their ends."""
    client_cpu_s: float

    @property
    def calls_per_s(self) -> float:
        """Calls answered in a second."""
        return self.calls / self.seconds


def find() -> str:
    """Return h2load's path.

    Raises:
        LoadFailed: If it is not installed.
    """
    path = shutil.which("h2load")
    if path is None:
        raise LoadFailed(INSTALL)
    return path


def closed_loop(
    address: str, exchange: Exchange, turn: int, in_flight: int, seconds: float
) -> Load:
    """Keep so many calls in flight for so long."""
    connections = in_flight if exchange.wire == "http" else CONNECTIONS[in_flight]
    arguments = [
        f"--clients={connections}",
        f"--max-concurrent-streams={in_flight // connections}",
        f"--duration={round(seconds * 1000)}ms",
        f"http://{address}{exchange.path}",
    ]
    return _run(exchange, turn, [arguments])


def counted(address: str, exchange: Exchange, turn: int, in_flight: int, calls: int) -> Load:
    """Keep so many calls in flight until so many are answered."""
    connections = in_flight if exchange.wire == "http" else CONNECTIONS[in_flight]
    arguments = [
        f"--clients={connections}",
        f"--max-concurrent-streams={in_flight // connections}",
        f"--requests={calls}",
        f"http://{address}{exchange.path}",
    ]
    return _run(exchange, turn, [arguments])


def open_loop(
    address: str, exchange: Exchange, turn: int, calls_per_s: float, seconds: float
) -> Load:
    """Send calls at random moments (Poisson), whether or not earlier ones are answered.

    By scripts of moments, one for each connection: ``--rps`` sends in bunches, every 10 ms.
    """
    with ExitStack() as stack:
        commands = []
        for number in range(OPEN_CONNECTIONS):
            script = stack.enter_context(tempfile.NamedTemporaryFile("w", suffix=".moments"))
            moments = poisson_moments(calls_per_s / OPEN_CONNECTIONS, seconds, seed=number + turn)
            url = f"http://{address}{exchange.path}"
            script.writelines(f"{1000 * moment:.3f}\t{url}\n" for moment in moments)
            script.flush()
            commands.append([
                f"--timing-script-file={script.name}",
                f"--max-concurrent-streams={_OPEN_STREAMS}",
                f"--base-uri=http://{address}",
            ])  # fmt: skip
        return _run(exchange, turn, commands)


def poisson_moments(per_s: float, seconds: float, seed: int) -> list[float]:
    """Return random moments in ``[0, seconds)``, in seconds, ``per_s`` of them a second."""
    generator = random.Random(seed)
    moments, now = [], generator.expovariate(per_s)
    while now < seconds:
        moments.append(now)
        now += generator.expovariate(per_s)
    return moments


def _run(exchange: Exchange, turn: int, commands: Sequence[Sequence[str]]) -> Load:
    """Run one or more h2load at once, and add up what they say."""
    program = find()
    with tempfile.TemporaryDirectory(prefix="h2load-") as name:
        folder = Path(name)
        body = folder / "body"
        body.write_bytes(exchange.bodies[turn])
        kind = "http" if exchange.wire == "http" else "grpc"
        common = [program, f"--data={body}", *(f"--header={text}" for text in _HEADERS[kind])]
        if kind == "http":
            common.append("--h1")
        running = [
            subprocess.Popen(
                [*common, f"--log-file={folder / str(number)}", *arguments],
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            )
            for number, arguments in enumerate(commands)
        ]  # fmt: skip
        try:
            outputs = [one.stdout.read() if one.stdout else "" for one in running]
            cpu_s = sum(_reap(one) for one in running)
        finally:
            for one in running:
                if one.poll() is None:
                    one.kill()
                    one.wait()
        logs = [(folder / str(number)).read_text() for number in range(len(commands))]
    return parse(outputs, logs, cpu_s)


def _reap(process: subprocess.Popen[str]) -> float:
    """Wait for the end of a process; return the CPU time that it took, in seconds."""
    _, status, taken = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return taken.ru_utime + taken.ru_stime


def parse(outputs: Sequence[str], logs: Sequence[str], client_cpu_s: float) -> Load:
    """Return what runs of h2load that went on at once printed and logged.

    Raises:
        LoadFailed: If a run did not come to its end, or no call was answered.
    """
    done = failed = data = 0
    for output in outputs:
        requests, bodies = _REQUESTS.search(output), _DATA.search(output)
        if requests is None or bodies is None:
            raise LoadFailed(output.strip()[-2000:])
        done += int(requests[3])
        failed += max(int(requests[2]) - int(requests[3]), int(requests[4]))
        data += int(bodies[1])
    rows = sorted(
        ((int(start) + int(took), int(start), int(took))
         for log in logs
         for start, status, took in (line.split("\t")[:3] for line in log.splitlines())
         if status == "200")
    )  # fmt: skip
    if not rows:
        raise LoadFailed(f"no call was answered:\n{outputs[0].strip()[-2000:]}")
    seconds = (rows[-1][0] - min(start for _, start, _ in rows)) / 1e6
    return Load(done, failed, data, seconds, tuple(took for *_, took in rows), client_cpu_s)
