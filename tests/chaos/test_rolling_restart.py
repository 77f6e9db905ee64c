"""Gateways are restarted one after the other under load, as an upgrade does it."""

from __future__ import annotations

import itertools
import json
import os
import threading
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import grpc
import pytest
from served import serving
from steady_load import METHOD, asking
from three_tritons import Tritons

from triton_models.store import ReleaseStore

pytestmark = pytest.mark.chaos

RESTARTS = int(os.environ.get("CHAOS_RESTARTS", "20"))

# What a client has in its configuration that follows GOAWAY to another gateway, and asks that one
# what the first refused because it is stopping. grpc's core cancels what comes after it has begun
# to close, and before its GOAWAY has come to the client; every RPC may be asked again.
SERVICE_CONFIG = {
    "loadBalancingConfig": [{"round_robin": {}}],
    "methodConfig": [
        {
            "name": [{}],
            "retryPolicy": {
                "maxAttempts": 4,
                "initialBackoff": "0.05s",
                "maxBackoff": "0.5s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
            },
        }
    ],
}


class Client(threading.Thread):
    """Asks all gateways in turns, until it is told to stop."""

    def __init__(self, targets: list[str]) -> None:
        super().__init__(daemon=True)
        self._address = "ipv4:" + ",".join(targets)
        self.codes: Counter[str] = Counter()
        self.done = threading.Event()

    def run(self) -> None:
        options = (
            ("grpc.service_config", json.dumps(SERVICE_CONFIG)),
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 300),
        )
        with grpc.insecure_channel(self._address, options=options) as channel:
            rpc = channel.unary_unary(METHOD)
            while not self.done.is_set():
                try:
                    rpc(asking(0), timeout=10)
                    self.codes["OK"] += 1
                except grpc.RpcError as error:
                    self.codes[f"{error.code().name}: {error.details()}"] += 1
                time.sleep(0.01)


def test_no_call_fails_while_gateways_are_restarted(
    transport: str,
    store: ReleaseStore,
    tritons: Tritons,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    how = ("--transport", transport, "--triton", tritons.bare.target)
    with ExitStack() as stack:
        gateways = []
        for number in range(2):
            folder = tmp_path / str(number)
            folder.mkdir()
            gateways.append(stack.enter_context(serving(store, folder, *how)))
        clients = [Client([one.target for one in gateways]) for _ in range(3)]
        for client in clients:
            client.start()
        time.sleep(1)
        for gateway, _ in zip(itertools.cycle(gateways), range(RESTARTS), strict=False):
            assert gateway.stop() == 0
            gateway.start(*how, listen=gateway.target)
            time.sleep(0.5)  # until clients have found it
        for client in clients:
            client.done.set()
            client.join()
    codes = sum((client.codes for client in clients), Counter[str]())
    with capsys.disabled():
        print(f"\n{transport}, {RESTARTS} restarts, one of two gateways at a time: {dict(codes)}")
    assert codes.keys() == {"OK"}
