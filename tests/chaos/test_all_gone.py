"""All Tritons are gone for half a minute, and come back."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from served import serving
from steady_load import METHOD, asking
from three_tritons import all_serve
from waiting import wait_for

from triton_models.server import EmbeddedTriton
from triton_models.store import ReleaseStore

pytestmark = pytest.mark.chaos

SECONDS = float(os.environ.get("CHAOS_GONE_SECONDS", "30"))
AT_ONCE_S = 0.5
FOUND_S = {"killed": AT_ONCE_S, "hung": 5.0}
"""Until it is known: the last one that does not say that it lives may just be busy."""


@dataclass(frozen=True)
class Failed:
    """A call that failed: when it began and how long it took, in seconds."""

    begun_s: float
    took_s: float
    code: str
    retry_ms: int


@contextmanager
def hung(tritons: list[EmbeddedTriton]) -> Iterator[None]:
    pids = [one.pid for one in tritons]
    for pid in pids:
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            assert pid is not None
            os.kill(pid, signal.SIGCONT)


@contextmanager
def killed(tritons: list[EmbeddedTriton]) -> Iterator[None]:
    """Kill each, and again as soon as it is started again."""
    enough = threading.Event()

    def kill() -> None:
        while not enough.is_set():
            for pid in filter(None, (one.pid for one in tritons)):
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.005)

    killing = threading.Thread(target=kill, daemon=True)
    for pid in filter(None, (one.pid for one in tritons)):
        os.kill(pid, signal.SIGKILL)
    killing.start()
    try:
        yield
    finally:
        enough.set()
        killing.join()


FAULTS: dict[str, Callable[[list[EmbeddedTriton]], object]] = {"killed": killed, "hung": hung}


@pytest.mark.parametrize("fault", list(FAULTS))
def test_all_tritons_gone_is_said_at_once_and_service_returns(
    fault: str,
    transport: str,
    store: ReleaseStore,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with ExitStack() as stack:
        tritons = [stack.enter_context(EmbeddedTriton(Path(store.models_path))) for _ in range(2)]
        for triton in tritons:
            triton.wait_ready(60)
        how = [word for one in tritons for word in ("--triton", one.target)]
        gateway = stack.enter_context(serving(store, tmp_path, "--transport", transport, *how))
        wait_for(lambda: all_serve(gateway.target))
        with FAULTS[fault](tritons):  # type: ignore[attr-defined]
            failed = list(failures(gateway.target, SECONDS))
        back = time.monotonic()
        for triton in tritons:
            triton.wait_ready(60)
        ready = time.monotonic()
        wait_for(lambda: answers(gateway.target))
        # A Triton that was killed has to load the releases anew, which is not the gateway's time.
        returned_s = time.monotonic() - (ready if fault == "killed" else back)
    known = [one for one in failed if one.begun_s >= FOUND_S[fault]]
    at_first = [one for one in failed if one.begun_s < FOUND_S[fault]]
    with capsys.disabled():
        print(
            f"\n{transport}, all of two Tritons {fault} for {SECONDS:g} s: of {len(failed)} calls "
            f"{dict(Counter(one.code for one in failed))}; once it is known, after "
            f"{1e3 * max(one.took_s for one in known):.1f} ms at most, before that "
            f"({len(at_first)} calls) after {max(one.took_s for one in at_first):.2f} s; service "
            f"is back after {returned_s:.2f} s"
        )
    assert {one.code for one in failed} == {"UNAVAILABLE"}
    assert min(one.retry_ms for one in failed) > 0
    assert max(one.took_s for one in known) < AT_ONCE_S
    assert max(one.begun_s + one.took_s for one in at_first) < FOUND_S[fault] + AT_ONCE_S
    assert returned_s <= 3


def failures(target: str, seconds: float) -> Iterator[Failed]:
    """How calls fail for so long, from now on."""
    start = time.monotonic()
    with grpc.insecure_channel(target) as channel:
        rpc = channel.unary_unary(METHOD)
        while (begun := time.monotonic()) < start + seconds:
            with pytest.raises(grpc.RpcError) as caught:
                rpc(asking(0), timeout=10)
            took_s = time.monotonic() - begun
            yield Failed(begun - start, took_s, caught.value.code().name, retry_ms(caught.value))
            time.sleep(0.1)


def answers(target: str) -> bool:
    with grpc.insecure_channel(target) as channel:
        try:
            channel.unary_unary(METHOD)(asking(0), timeout=5)
        except grpc.RpcError:
            return False
        return True


def retry_ms(error: grpc.RpcError) -> int:
    status = rpc_status.from_call(error)
    assert status is not None
    for packed in status.details:
        if packed.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
            return int(
                error_details_pb2.RetryInfo.FromString(packed.value).retry_delay.ToMilliseconds()
            )
    return 0
