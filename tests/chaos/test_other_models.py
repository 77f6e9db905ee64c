"""A Triton is restarted with other models under load: it is found, left out, and taken back."""

from __future__ import annotations

import os
import shutil
import signal
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
import tiny_releases as tiny
from served import free_port, serving
from three_tritons import Fault, hold, play
from waiting import wait_for

from trident.model.v1 import model_service_pb2
from trident.model.v1.model_service_pb2_grpc import ModelServiceStub
from triton_models.server import EmbeddedTriton
from triton_models.store import ReleaseStore

pytestmark = pytest.mark.chaos

SECONDS = 8.0
"""It takes a few until the Triton is there again, and has loaded what it has."""


def another_of_its_name(folder: Path) -> Path:
    """A repository with the same names, whose model knows a label more."""
    store = ReleaseStore(folder)
    tiny.publish(store, tiny.diagnoser(labels=("big", "small", "odd")), "r1")
    return Path(store.models_path)


def none_of_them(folder: Path) -> Path:
    """A repository with another line's release only."""
    store = ReleaseStore(folder)
    tiny.publish(store, tiny.scorer(), "r1")
    return Path(store.models_path)


class Restarted:
    """A Triton with a repository of its own.

    Args:
        models: What it has at first.
        folder: Where its repository lies.
    """

    def __init__(self, models: Path, folder: Path) -> None:
        shutil.copytree(models, folder)
        self.triton = EmbeddedTriton(folder)
        self._folder = folder

    def restart(self, models: Path) -> None:
        """Have it killed, and come back at the same address with other models."""
        shutil.rmtree(self._folder)
        shutil.copytree(models, self._folder)
        assert self.triton.pid is not None
        os.kill(self.triton.pid, signal.SIGKILL)


def serving_detail(target: str) -> str:
    """What the gateway says of its one release."""
    with grpc.insecure_channel(target) as channel:
        request = model_service_pb2.ListModelsRequest()
        (model,) = ModelServiceStub(channel).ListModels(request, timeout=5).models
        return str(model.serving_detail)


def metrics(port: int, target: str) -> dict[str, float]:
    """What the metrics say of a Triton: whether it serves, how often it was left out, and why."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        lines = [line for line in answer.read().decode().splitlines() if f'"{target}"' in line]
    said = {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}
    found = {}
    for name, value in said.items():
        if name.startswith("trident_triton_serving{"):
            found["serving"] = value
        if name.startswith("trident_triton_left_out_total{"):
            found[name.partition('trident_reason="')[2].partition('"')[0]] = value
    return found


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (another_of_its_name, "the release says FP32 [2], Triton serves FP32 [3]"),
        (none_of_them, "cannot load it: "),
    ],
)
def test_a_triton_that_comes_back_with_other_models_is_left_out_and_it_is_said_why(
    other: Callable[[Path], Path],
    why: str,
    transport: str,
    store: ReleaseStore,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    models, others = Path(store.models_path), other(tmp_path / "others")
    restarted = Restarted(models, tmp_path / "models")
    port = free_port()
    said: dict[str, Any] = {}

    def heal(_: object) -> None:
        wait_for(lambda: why in serving_detail(gateway.target))
        said["detail"] = serving_detail(gateway.target)
        said["metrics"] = metrics(port, restarted.triton.target)
        restarted.restart(models)

    fault = Fault(
        "restarted",
        lambda _: restarted.restart(others),
        heal,
        ("is left out", "is gone", "has lost it"),
    )
    with restarted.triton, EmbeddedTriton(models) as well:
        tritons = (restarted.triton, well)
        for triton in tritons:
            triton.wait_ready(60)
        how = [word for one in tritons for word in ("--triton", one.target)]
        how += ["--transport", transport, "--metrics-listen", f"127.0.0.1:{port}"]
        with serving(store, tmp_path, *how) as gateway:
            outcome = play(gateway, tritons, fault, SECONDS)  # type: ignore[arg-type]
    with capsys.disabled():
        print(
            f"\n{transport}, one of two restarted with other models: {outcome}; wrong answers: "
            f"{outcome.wrong}; said: {said['detail']}; metrics: {said['metrics']}"
        )
    hold(outcome)
    assert restarted.triton.target in said["detail"]
    assert said["metrics"]["serving"] == 0
    assert said["metrics"]["misfit"] == 1
