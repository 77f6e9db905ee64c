"""Under constant load: promote, canary, raise, roll back, prune. No call fails or goes astray."""

from __future__ import annotations

import json
import math
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pyarrow.parquet as pq
import pytest
import toy_release
from served import Gateway, run

from trident.common.v1.feature_value_pb2 import FeatureValue
from trident.risk.v1 import risk_service_pb2 as pb
from trident.risk.v1.risk_service_pb2_grpc import RiskServiceStub
from triton_models.store import ReleaseStore

pytestmark = pytest.mark.e2e

LINE = toy_release.LINE
CALLERS = 6
ROWS = 40
WITHIN = 4.0
"""Standard deviations that a share may be off: 1 in 16,000 by chance."""


def value(given: float | str) -> FeatureValue:
    return FeatureValue(category=given) if isinstance(given, str) else FeatureValue(number=given)


@dataclass(frozen=True)
class Answered:
    """One call: when it was sent, who asked what, and who answered what."""

    sent_s: float
    key: str
    row: int
    release: str
    probability: float


@dataclass
class Load:
    """Callers who never stop asking, each call under a key of its own or one of a few."""

    target: str
    rows: list[dict[str, Any]]
    answers: list[Answered] = field(default_factory=list)
    errors: list[grpc.RpcError] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Load:
        self.threads = [
            threading.Thread(target=self._ask, args=(number,), daemon=True)
            for number in range(CALLERS)
        ]
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.over.set()
        for thread in self.threads:
            thread.join()

    def _ask(self, caller: int) -> None:
        with grpc.insecure_channel(self.target) as channel:
            stub = RiskServiceStub(channel)
            call = 0
            while not self.over.is_set():
                place = (caller + call) % len(self.rows)
                key = f"{caller}-{call}"
                call += 1
                features = {
                    n: value(v) for n, v in json.loads(self.rows[place]["features"]).items()
                }
                request = pb.ScoreRiskRequest(request_id=key, features=features)
                sent_s = time.monotonic()
                try:
                    answer = stub.ScoreRisk(request, timeout=20)
                except grpc.RpcError as error:
                    self.errors.append(error)
                    continue
                found = Answered(
                    sent_s, key, place, answer.model.release, answer.default_probability
                )
                self.answers.append(found)

    def since(self, start_s: float, count: int) -> list[Answered]:
        """Wait for so many answers to calls that were sent later; return them."""
        deadline = time.monotonic() + 120
        while True:
            found = [one for one in list(self.answers) if one.sent_s >= start_s]
            if len(found) >= count:
                return found
            assert time.monotonic() < deadline, f"{len(found)} answers, {self.errors[:1]}"
            time.sleep(0.1)


@pytest.fixture(scope="module")
def store(
    tmp_path_factory: pytest.TempPathFactory, embedded_triton_available: None
) -> ReleaseStore:
    store = ReleaseStore(tmp_path_factory.mktemp("traffic") / "store")
    for seed, name in enumerate(("r1", "r2", "r3")):
        toy_release.publish(store, name, seed=seed)
    command(store, "promote", f"{LINE}/r1", "--unproven")
    return store


@pytest.fixture(scope="module")
def gateway(store: ReleaseStore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    server = Gateway(Path(store.models_path).parent, tmp_path_factory.mktemp("gateway"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRIDENT_UNLOAD_AFTER_S", "1")
        server.start()
    yield server
    server.stop()


def command(store: ReleaseStore, *words: str) -> None:
    done = run("model-builder", *words, "--store", Path(store.models_path).parent)
    assert done.returncode == 0, done.stderr


def test_calls_move_as_they_are_told_and_none_is_lost(
    store: ReleaseStore, gateway: Gateway
) -> None:
    rows, expected = {}, {}
    for name in ("r1", "r2"):
        table = pq.read_table(Path(store.report_path(LINE, name), "answers.parquet"))
        rows[name] = table.slice(0, ROWS).to_pylist()
        expected[name] = [row["default_probability"] for row in rows[name]]
    apart = np.abs(np.array(expected["r1"]) - np.array(expected["r2"]))
    assert (apart > 1e-4).all(), "the releases must be told apart by their answers"

    def step(load: Load, wait: tuple[str, ...], *words: str) -> float:
        """Run a command, wait until the gateway says that it is so, return when."""
        said = len(gateway.log)
        command(store, *words)
        deadline = time.monotonic() + 60
        while not all(any(part in line for line in gateway.log[said:]) for part in wait):
            assert time.monotonic() < deadline, "".join(gateway.log[said:])
            time.sleep(0.02)
        return time.monotonic()

    def shares(load: Load, start_s: float, count: int, **wanted: float) -> list[Answered]:
        found = load.since(start_s, count)
        counts = Counter(one.release for one in found)
        assert counts.keys() <= wanted.keys()
        for name, share in wanted.items():
            off = abs(counts[name] - share * len(found))
            bound = WITHIN * math.sqrt(len(found) * share * (1 - share))
            assert off <= bound, f"{name}: {counts[name]} of {len(found)}, wanted {share}"
        return found

    with Load(gateway.target, rows["r1"]) as load:
        shares(load, time.monotonic(), 300, r1=1)

        canary = step(load, ("r2: serving, weight 0.05",), "promote", f"{LINE}/r2", "--weight",
                      "5%", "--unproven")  # fmt: skip
        of_canary = shares(load, canary, 3000, r1=0.95, r2=0.05)

        half = step(load, ("r2: serving, weight 0.5",), "promote", f"{LINE}/r2", "--weight",
                    "50%", "--unproven")  # fmt: skip
        shares(load, half, 1500, r1=0.5, r2=0.5)
        with grpc.insecure_channel(gateway.target) as channel:
            stub = RiskServiceStub(channel)
            features = {n: value(v) for n, v in json.loads(rows["r1"][0]["features"]).items()}
            for one in [one for one in of_canary if one.release == "r2"][:50]:
                request = pb.ScoreRiskRequest(request_id=one.key, features=features)
                assert stub.ScoreRisk(request, timeout=20).model.release == "r2", "it moved"

        back = step(load, ("r1: serving, weight 0.95",), "rollback", "risk")
        shares(load, back, 1500, r1=0.95, r2=0.05)
        back = step(load, ("r2: no longer routed",), "rollback", "risk")
        shares(load, back, 300, r1=1)

        moved = step(load, ("r1: no longer routed", "r2: serving"), "promote", f"{LINE}/r2",
                     "--unproven")  # fmt: skip
        command(store, "releases", "prune", "--keep", "0")
        shares(load, moved, 600, r2=1)

    assert load.errors == []
    assert len({one.key for one in load.answers}) == len(load.answers)
    for one in load.answers:
        answer = expected[one.release][one.row]
        assert one.probability == pytest.approx(answer, rel=0, abs=1e-5), "another release's answer"
    assert store.releases() == [(LINE, "r1"), (LINE, "r2")], "r1 is what a rollback needs"
