"""Three real Tritons behind one gateway, each hurt in its own way while clients call."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
from faulty_relays import ConnectionRelay, InferenceRelay
from served import Gateway
from steady_load import Noted, SteadyLoad, codes, failed, p99_ms
from waiting import wait_for

from trident.model.v1 import model_service_pb2
from trident.model.v1.model_service_pb2_grpc import ModelServiceStub
from triton_models.server import EmbeddedTriton

DETECTED_S = 2.0
RATE = 80.0
"""Calls a second: a fraction of what the machine can, so that failures are those of the fault."""


@dataclass
class Tritons:
    """One that is killed or stopped, one behind a relay of calls, one behind one of bytes."""

    bare: EmbeddedTriton
    inferences: InferenceRelay
    connections: ConnectionRelay

    @property
    def targets(self) -> list[str]:
        return [self.bare.target, self.inferences.target, self.connections.target]

    @property
    def options(self) -> list[str]:
        """What a gateway in front of the three is started with."""
        return [word for target in self.targets for word in ("--triton", target)]


@contextmanager
def three_tritons(models: Path) -> Iterator[Tritons]:
    with ExitStack() as stack:
        servers = [stack.enter_context(EmbeddedTriton(models)) for _ in range(3)]
        for server in servers:
            server.wait_ready(60)
        yield Tritons(
            servers[0],
            stack.enter_context(InferenceRelay(servers[1].target)),
            stack.enter_context(ConnectionRelay(servers[2].target)),
        )


@dataclass
class Fault:
    """How to hurt one, and how to heal it; ``word`` is what the gateway's log says of it."""

    name: str
    hurt: Callable[[Tritons], None]
    heal: Callable[[Tritons], None]
    words: tuple[str, ...]


def _signal(number: signal.Signals) -> Callable[[Tritons], None]:
    def send(tritons: Tritons) -> None:
        assert tritons.bare.pid is not None
        os.kill(tritons.bare.pid, number)

    return send


def _calls(harm: str, delay_s: float = 0) -> Callable[[Tritons], None]:
    def hurt(tritons: Tritons) -> None:
        tritons.inferences.delay_s = delay_s
        tritons.inferences.harm = harm  # type: ignore[assignment]

    return hurt


def _bytes(harm: str) -> Callable[[Tritons], None]:
    def hurt(tritons: Tritons) -> None:
        tritons.connections.harm = harm

    return hurt


SLOWER_S = 0.1
"""More than ten times what an inference of the tiny model takes through the relay."""

FAULTS = {
    one.name: one
    for one in (
        # It is started again by itself.
        Fault(
            "killed",
            _signal(signal.SIGKILL),
            lambda tritons: None,
            ("is left out", "is gone", "has lost it"),
        ),
        Fault(
            "stopped", _signal(signal.SIGSTOP), _signal(signal.SIGCONT), ("is left out", "is gone")
        ),
        Fault("slow", _calls("slow", SLOWER_S), _calls("none"), ("its answers take",)),
        Fault("wrong", _calls("wrong"), _calls("none"), ("the release says", "is left out")),
        Fault("mute", _calls("mute"), _calls("none"), ("no answer for",)),
        Fault("garbage", _calls("garbage"), _calls("none"), ("is left out",)),
        Fault("resetting", _bytes("reset"), _bytes("none"), ("is left out", "is gone")),
        Fault("silent", _bytes("silent"), _bytes("none"), ("is left out", "is gone")),
    )
}


@dataclass(frozen=True)
class Outcome:
    """What clients saw of a fault."""

    before: list[Noted]
    at_first: list[Noted]
    """From the fault on, until it must have been found."""
    after: list[Noted]
    """From then on, while the fault lasts, and while it heals."""
    detected_s: float | None
    """When the log told of it."""

    def __str__(self) -> str:
        found = "not found" if self.detected_s is None else f"found after {self.detected_s:.2f} s"
        return (
            f"{found}; failed before that, of {len(self.at_first)}: {failed(self.at_first)}; "
            f"after, of {len(self.after)}: {failed(self.after)} {codes(self.after)}; p99 "
            f"{p99_ms(self.before):.0f} ms before, {p99_ms(self.at_first):.0f} ms at first, "
            f"{p99_ms(self.after):.0f} ms after"
        )

    @property
    def wrong(self) -> int:
        return sum(not one.right for one in (*self.before, *self.at_first, *self.after))


def all_serve(target: str) -> bool:
    """Whether every Triton is asked for every release."""
    with grpc.insecure_channel(target) as channel:
        request = model_service_pb2.ListModelsRequest()
        models = ModelServiceStub(channel).ListModels(request, timeout=5).models
        return bool(models) and all(one.serving and not one.serving_detail for one in models)


def play(
    gateway: Gateway, tritons: Tritons, fault: Fault, seconds: float, before_s: float = 1.5
) -> Outcome:
    """Hurt one of three under load for so long, heal it, and return what clients saw.

    Args:
        gateway: In front of them.
        tritons: The three.
        fault: What is done to one of them.
        seconds: For how long.
        before_s: For how long they are well before; those that have come back are asked little.
    """
    wait_for(lambda: all_serve(gateway.target))
    with SteadyLoad(gateway.target, rate=RATE) as load:
        time.sleep(before_s)
        said = len(gateway.log)
        hurt = time.monotonic()
        fault.hurt(tritons)
        detected_s = _heard(gateway, said, fault.words, hurt + seconds)
        time.sleep(max(0.0, hurt + seconds - time.monotonic()))
        fault.heal(tritons)
        wait_for(lambda: all_serve(gateway.target))
        time.sleep(0.5)
    found = hurt + DETECTED_S
    return Outcome(
        load.between(0, hurt),
        load.between(hurt, found),
        load.between(found),
        None if detected_s is None else detected_s - hurt,
    )


def _heard(gateway: Gateway, said: int, words: tuple[str, ...], until: float) -> float | None:
    while time.monotonic() < until:
        if any(word in line for line in gateway.log[said:] for word in words):
            return time.monotonic()
        time.sleep(0.02)
    return None


def hold(outcome: Outcome) -> None:
    """What must hold of every fault of one in three."""
    assert outcome.wrong == 0, outcome
    assert outcome.detected_s is not None, outcome
    assert outcome.detected_s <= DETECTED_S, outcome
    assert failed(outcome.before) == 0, outcome
    assert failed(outcome.after) <= len(outcome.after) / 1000, outcome
