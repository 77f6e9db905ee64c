"""Where a call's time goes: samples the gateway under load, and adds them up by part.

py-spy samples the stacks of Python, so a part with frames of its own has its time from them. What
the thread of the event loop took besides, by the kernel's count, went into what has no frames:
the loop itself (uvloop) and the transport's server (grpc.aio's is Cython).
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.serving import h2load, processes
from benchmarks.serving.checking import Checker
from benchmarks.serving.contenders import Contender
from benchmarks.serving.servers import BIN, Running, Servers
from benchmarks.serving.workloads import Workload

RATE_HZ = 250
_WARM_UP_S = 2.0

OTHER = "event loop and the transport's server"
THREADS = "threads of gRPC or Envoy"
TRITON = "Triton, beside it"

PARTS: tuple[tuple[str, str], ...] = (
    (r"opentelemetry|gateway/telemetry", "tracing"),
    (r"gateway/triton/(client\.py|http2)|grpc/aio/_(call|channel|base_call)", "client of Triton"),
    (r"gateway/triton/tensors\.py", "tensors to and from Triton's messages"),
    (r"(check|plain|sticky|read|line)\w* \(gateway/domains|gateway/domains/validation", "check"),
    (r"(\w+_to_tensors|row|width|_padded) \(gateway/domains", "request to tensors"),
    (r"gateway/domains", "tensors to response"),
    (r"gateway/inference", "route, admit, batch"),
    (r"parse \(gateway/transport", "parse the message"),
    (r"gateway/transport", "transport: call, errors, serialise"),
)  # fmt: skip
"""The innermost frame that one of these fits tells the part; frames are ``function (file)``."""


_WAITS = re.compile(r"(wait|sigwait|select|_worker) \(")


@dataclass(frozen=True)
class Profile:
    """µs of CPU a call by part, and what they add up to."""

    parts: Mapping[str, float]
    calls_per_s: float

    @property
    def total_us(self) -> float:
        """CPU time of the gateway a call; Triton's is not in it."""
        return sum(time for part, time in self.parts.items() if part != TRITON)


def profile(
    contender: Contender,
    workload: Workload,
    servers: Servers,
    triton_pid: int | None,
    in_flight: int,
    seconds: float,
    folder: Path,
) -> Profile:
    """Load a gateway for some seconds; leave a flame graph and the samples in a folder."""
    running = servers.start(contender.server, workload)
    exchange = contender.exchange(workload)
    with Checker(running.address, exchange) as checker:
        checker.wait_right()
    h2load.closed_loop(running.address, exchange, 0, in_flight, _WARM_UP_S)
    pid = _busiest(running)
    folder.mkdir(parents=True, exist_ok=True)
    # Times without py-spy, which stops the gateway for each sample; samples in a second run.
    before, behind = threads_cpu(pid), processes.usage(triton_pid).cpu_s
    load = h2load.closed_loop(running.address, exchange, 0, in_flight, seconds)
    after, ahead = threads_cpu(pid), processes.usage(triton_pid).cpu_s
    samples = folder / f"{workload.task.name}-{contender.name}.folded"
    with _sampling(pid, seconds, samples):
        sampled = h2load.closed_loop(running.address, exchange, 0, in_flight, seconds + 1)
    calls = sampled.calls_per_s * round(seconds)
    parts = {
        part: 1e6 * count / RATE_HZ / calls
        for part, count in counts(samples.read_text().splitlines()).items()
    }
    taken = {one: after[one] - before.get(one, 0) for one in after}
    loop = max(taken, key=taken.__getitem__)  # under load, the thread of the event loop
    parts[OTHER] = max(0.0, 1e6 * taken.pop(loop) / load.calls - sum(parts.values()))
    parts[THREADS] = 1e6 * sum(taken.values()) / load.calls
    parts[TRITON] = 1e6 * (ahead - behind) / load.calls
    return Profile(parts, load.calls_per_s)


class _sampling:  # noqa: N801 - used as a with-statement's word
    def __init__(self, pid: int, seconds: float, file: Path) -> None:
        self._command = [
            BIN / "py-spy", "record", "--pid", str(pid), "--rate", str(RATE_HZ), "--format", "raw",
            "--full-filenames", "--duration", str(round(seconds)), "--output", file,
        ]  # fmt: skip

    def __enter__(self) -> None:
        self._process = subprocess.Popen(
            [str(word) for word in self._command],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def __exit__(self, *_: object) -> None:
        output, _error = self._process.communicate(timeout=60)
        if self._process.returncode:
            sys.exit(f"py-spy cannot sample here:\n{output}")


def _busiest(running: Running) -> int:
    """Return the process that answers: of a gateway with workers, a worker."""
    assert running.pid is not None
    family = processes.family(running.pid)
    return max(family, key=lambda one: sum(one.cpu_times()[:2])).pid


def threads_cpu(pid: int) -> dict[int, float]:
    """Return the CPU time of each thread, in seconds."""
    return {one.id: one.user_time + one.system_time for one in psutil.Process(pid).threads()}


def counts(folded: Iterable[str]) -> dict[str, int]:
    """Return how many samples each part has, from lines ``frame;frame;… count``, root first."""
    found: Counter[str] = Counter()
    for line in folded:
        stack, _, count = line.rpartition(" ")
        if part := part_of(stack.split(";")):
            found[part] += int(count)
    return dict(found.most_common())


def part_of(stack: list[str]) -> str | None:
    """Return the part that a stack belongs to, root first; None if no frame tells.

    A stack without such a frame may be at work or wait: py-spy cannot tell everywhere.
    """
    if _WAITS.match(stack[-1]):
        return None
    for frame in reversed(stack):
        for pattern, part in PARTS:
            if re.search(pattern, _short(frame)):
                return part
    return None


def _short(frame: str) -> str:
    """Return a frame with its file from the package on."""
    return re.sub(r"\((?:[^)]*/)?((?:gateway|grpc|opentelemetry|triton_models)/)", r"(\1", frame)
