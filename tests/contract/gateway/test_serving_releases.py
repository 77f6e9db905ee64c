"""The gateway's way to Triton, on a real one: lifecycle, runner and what they make of faults."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_releases as tiny
from fake_runner import RecordingInference
from fake_triton import Changes
from tritonclient.grpc import service_pb2

from gateway.errors import DeadlineExceeded, GatewayError, ModelUnavailable
from gateway.triton.client import TritonClient
from gateway.triton.lifecycle import Lifecycle
from model_builder.export.chain import run_steps
from triton_models.embedded.instances import config_with_instances
from triton_models.release import fused_name, step_name
from triton_models.server import EmbeddedTriton
from triton_models.store import ReleaseStore

pytestmark = pytest.mark.contract

Serve = Callable[..., AbstractAsyncContextManager[Any]]

RECOMMEND, DIAGNOSE = "recommend", "diagnose-measurements"
SLOW = 600_000.0
"""Rounds that take a second or so."""


def texts(*rows: list[str]) -> np.ndarray[Any, Any]:
    return np.array(rows, dtype=object)


def as_bytes(array: np.ndarray[Any, Any]) -> Any:
    """An array as Triton gives it: strings in UTF-8."""
    return np.vectorize(str.encode, otypes=[object])(array) if array.dtype == object else array


def recommend_tensors() -> dict[str, np.ndarray[Any, Any]]:
    return {
        "history_item_ids": texts(["m1", "?"], ["", "ü"]),
        "candidate_item_ids": texts(["ü", "m2", "nobody"], ["m1", "m1", "m2"]),
        "excluded_item_ids": texts([""], ["m2"]),
        "history_allowed": np.array([[True], [False]]),
        "item_count": np.array([[3], [7]], np.int32),
    }


def numbers(*rows: tuple[float, float]) -> dict[str, np.ndarray[Any, Any]]:
    return {"numbers": np.array(rows, np.float32)}


async def ask(
    served: Any, line: str, tensors: dict[str, Any], timeout_s: float | None = None
) -> dict[str, Any]:
    release = served.runner.choose(line, "")
    tensors = {name: as_bytes(array) for name, array in tensors.items()}
    answer: dict[str, Any] = await served.runner.run(
        release, tensors, timeout_s=timeout_s, trace=RecordingInference()
    )
    return answer


async def inferences(served: Any, step: str) -> int:
    """How many requests a step of ``diagnose-measurements/r1`` has answered."""
    request = service_pb2.ModelStatisticsRequest(name=step_name(DIAGNOSE, "r1", step))
    (model,) = (await served.client._stub.ModelStatistics(request)).model_stats
    return int(model.inference_count)


@pytest.mark.parametrize(
    ("variant", "used"), [("auto", "fused"), ("fused", "fused"), ("ensemble", "ensemble")]
)
async def test_an_answer_is_what_the_onnx_steps_gave(variant: str, used: str, serve: Serve) -> None:
    async with serve("recommend/r1", "diagnose-measurements/r1", variant=variant) as served:
        await served.until_serving("recommend/r1", "diagnose-measurements/r1")
        for line, candidate, tensors in (
            (RECOMMEND, tiny.recommender(), recommend_tensors()),
            (DIAGNOSE, tiny.diagnoser(), numbers((3, 1.5), (0, -2.25))),
        ):
            assert served.runner.choose(line, "").variant == used
            answer = await ask(served, line, tensors)
            expected = run_steps(candidate.steps, tensors)
            assert answer.keys() == {t.name for t in served.states[f"{line}/r1"].manifest.outputs}
            for name, array in answer.items():
                assert array.dtype == expected[name].dtype
                if array.dtype == np.float32:
                    np.testing.assert_allclose(array, expected[name], rtol=1e-6, err_msg=name)
                else:
                    assert array.tolist() == as_bytes(expected[name]).tolist(), name


@pytest.mark.parametrize("variant", ["fused", "ensemble"])
async def test_a_release_that_does_not_fit_says_how_and_another_line_answers(
    variant: str, serve: Serve
) -> None:
    both = ("diagnose-measurements/misfit", "recommend/r1")
    async with serve(*both, variant=variant) as served:
        misfit = f"{DIAGNOSE}/misfit"
        async with asyncio.timeout(30):
            await served.changes.until(lambda: "Triton serves" in served.states[misfit].detail)
        assert served.states[misfit].detail == (
            "output 'probabilities': the release says FP32 [3], Triton serves FP32 [2]; "
            "output 'contributions': the release says FP32 [2, 3], Triton serves FP32 [2, 2]"
        )
        await served.until_serving("recommend/r1")
        assert (await ask(served, RECOMMEND, recommend_tensors()))["item_ids"][0, 1] == b"m2"
        with pytest.raises(ModelUnavailable, match=r"Triton serves FP32 \[2\]"):
            await ask(served, DIAGNOSE, numbers((0, 1)))


async def test_a_slow_call_ends_at_its_deadline_and_not_when_triton_is_done(serve: Serve) -> None:
    async with serve("diagnose-measurements/r1", variant="ensemble") as served:
        await served.until_serving("diagnose-measurements/r1")
        before = await inferences(served, "work")
        with pytest.raises(DeadlineExceeded):
            await ask(served, DIAGNOSE, numbers((SLOW, 1)), timeout_s=0.1)
        assert await inferences(served, "work") == before, "the error came after the work"
        # Triton goes on with the step; it may or may not drop the ones that follow.
        await ask(served, DIAGNOSE, numbers((0, 1)))
        assert await inferences(served, "work") == before + 2


@pytest.mark.parametrize("variant", ["fused", "ensemble"])
async def test_each_model_has_as_many_instances_as_are_asked_for(
    variant: str, store: ReleaseStore
) -> None:
    tiny.route(store, "diagnose-measurements/r1")
    models = Path(store.models_path)
    with EmbeddedTriton(models) as triton:
        await asyncio.to_thread(triton.wait_ready)
        client, changes = TritonClient(triton.target), Changes()
        lifecycle = Lifecycle(
            store, [client], variant=variant, poll_s=0.05, on_change=changes,
            config_of=partial(config_with_instances, models, count=2),
        )  # fmt: skip
        await lifecycle.start()
        async with asyncio.timeout(30):
            await changes.until(lambda: lifecycle.states[0].clients)
        names = [step_name(DIAGNOSE, "r1", one) for one in ("work", "answer")]
        for name in [fused_name(DIAGNOSE, "r1")] if variant == "fused" else names:
            (group,) = (await client.config(name)).instance_group
            assert group.count == 2, name
        await lifecycle.stop()


async def test_a_route_file_that_is_added_is_picked_up(serve: Serve, store: ReleaseStore) -> None:
    async with serve("recommend/r1") as served:
        await served.until_serving("recommend/r1")
        tiny.route(store, "recommend/r2", "diagnose-measurements/r1")
        await served.until_serving("recommend/r2", "diagnose-measurements/r1")
        assert served.states.keys() == {"recommend/r2", "diagnose-measurements/r1"}
        assert served.runner.choose(RECOMMEND, "").release == "r2"
        await ask(served, RECOMMEND, recommend_tensors())


async def test_calls_of_the_old_release_are_answered_until_the_new_one_serves(
    serve: Serve, store: ReleaseStore
) -> None:
    async with serve("diagnose-measurements/r1") as served:
        await served.until_serving("diagnose-measurements/r1")
        tiny.route(store, "diagnose-measurements/r2")
        answered = set()
        async with asyncio.timeout(30):
            while "r2" not in answered:
                release = served.runner.choose(DIAGNOSE, "").release
                await ask(served, DIAGNOSE, numbers((0, 1)))
                answered.add(release)
        assert answered == {"r1", "r2"}


async def test_when_triton_is_killed_calls_are_unavailable_and_service_returns_by_itself(
    serve: Serve, tiny_triton: EmbeddedTriton
) -> None:
    async with serve("recommend/r1", "diagnose-measurements/r1") as served:
        await served.until_serving("recommend/r1", "diagnose-measurements/r1")
        errors: list[GatewayError] = []
        killed, back = asyncio.Event(), asyncio.Event()

        async def call(line: str, tensors: dict[str, Any]) -> None:
            answered_since = 0
            while not (back.is_set() and answered_since):
                try:
                    await ask(served, line, tensors, timeout_s=20)
                    answered_since += killed.is_set()
                except GatewayError as error:
                    errors.append(error)
                    answered_since = 0
                    await asyncio.sleep(0.01)

        async with asyncio.timeout(60), asyncio.TaskGroup() as calls:
            calls.create_task(call(RECOMMEND, recommend_tensors()))
            calls.create_task(call(DIAGNOSE, numbers((50_000, 1))))
            calls.create_task(call(DIAGNOSE, numbers((0, 1))))
            pid = tiny_triton.pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            killed.set()
            await served.until_serving()
            await served.until_serving("recommend/r1", "diagnose-measurements/r1")
            back.set()
        assert tiny_triton.pid != pid
        assert errors
        assert {type(error) for error in errors} == {ModelUnavailable}
        assert all(error.retry_after_s for error in errors)
