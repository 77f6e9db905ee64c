from __future__ import annotations

from typing import Any

import grpc
import pytest
from fake_triton import FakeTriton, rpc_error
from manifests import manifest
from tritonclient.grpc import model_config_pb2

from gateway.triton.loading import Loader
from gateway.triton.variants import choose_variant, lacks, runs_on_gpu

PROFILE = "score-risk__r1__core/configs/onnx-cuda.pbtxt"
ONLY_ENSEMBLE = manifest("score-risk")
BOTH = manifest("score-risk", variants=("ensemble", "fused"))
WITH_PROFILE = BOTH.model_copy(update={"files": {PROFILE: "0" * 64}})
ENSEMBLE, FUSED, CORE = "score-risk__r1", "score-risk__r1__fused", "score-risk__r1__core"


async def choose(triton: FakeTriton, release: Any, asked: Any = "auto") -> str:
    return await choose_variant(asked, release, Loader(triton, 5))  # type: ignore[arg-type]


@pytest.mark.parametrize("asked", ["ensemble", "fused"])
async def test_what_is_asked_for_is_taken_and_nothing_looked_at(asked: str) -> None:
    triton = FakeTriton(BOTH)
    assert await choose(triton, BOTH, asked) == asked
    assert triton.loads == []


async def test_a_release_of_one_variant_leaves_no_choice() -> None:
    triton = FakeTriton(ONLY_ENSEMBLE)
    assert await choose(triton, ONLY_ENSEMBLE) == "ensemble"
    assert triton.loads == []


async def test_on_a_cpu_it_is_fused_which_stays_loaded() -> None:
    triton = FakeTriton(BOTH)
    assert await choose(triton, BOTH) == "fused"
    assert triton.loads == [FUSED]
    assert triton.loaded == {FUSED}


async def test_if_the_fused_model_runs_on_a_gpu_it_is_the_ensemble() -> None:
    triton = FakeTriton(BOTH)
    triton.move_to_gpu(FUSED)
    assert await choose(triton, BOTH) == "ensemble"
    assert triton.loaded == set()


async def test_if_only_the_core_runs_on_a_gpu_it_is_the_ensemble_too() -> None:
    triton = FakeTriton(WITH_PROFILE)
    triton.move_to_gpu(CORE)
    assert await choose(triton, WITH_PROFILE) == "ensemble"
    assert triton.loads == [CORE]
    assert triton.loaded == {CORE}, "the ensemble needs it"


async def test_a_core_that_could_run_on_a_gpu_and_does_not_is_unloaded_again() -> None:
    triton = FakeTriton(WITH_PROFILE)
    assert await choose(triton, WITH_PROFILE) == "fused"
    assert triton.loads == [CORE, FUSED]
    assert triton.loaded == {FUSED}


async def test_what_was_loaded_before_is_not_unloaded() -> None:
    triton = FakeTriton(WITH_PROFILE)
    triton.loaded |= {CORE, ENSEMBLE}
    assert await choose(triton, WITH_PROFILE) == "fused"
    assert triton.loaded == {CORE, ENSEMBLE, FUSED}


async def test_a_model_that_cannot_be_unloaded_does_no_harm() -> None:
    triton = FakeTriton(WITH_PROFILE)
    triton.unload_error = rpc_error(grpc.StatusCode.INTERNAL)
    assert await choose(triton, WITH_PROFILE) == "fused"


async def test_a_model_that_cannot_be_loaded_leaves_the_question_open() -> None:
    triton = FakeTriton(BOTH)
    triton.load_error = rpc_error(grpc.StatusCode.INTERNAL)
    with pytest.raises(grpc.RpcError):
        await choose(triton, BOTH)


@pytest.mark.parametrize(
    ("profile", "variant"), [("", "fused"), ("onnx-cuda", "ensemble"), ("tensorrt", "fused")]
)
async def test_where_the_profile_is_known_nothing_is_loaded_to_be_looked_at(
    profile: str, variant: str
) -> None:
    triton = FakeTriton(WITH_PROFILE)
    loader = Loader(triton, 5)  # type: ignore[arg-type]
    assert await choose_variant("auto", WITH_PROFILE, loader, profile) == variant
    assert triton.loads == []


def test_one_instance_on_a_gpu_is_enough() -> None:
    config = model_config_pb2.ModelConfig()
    assert not runs_on_gpu(config)
    config.instance_group.add(kind=model_config_pb2.ModelInstanceGroup.KIND_CPU)
    assert not runs_on_gpu(config)
    config.instance_group.add(kind=model_config_pb2.ModelInstanceGroup.KIND_GPU)
    assert runs_on_gpu(config)


def test_only_a_variant_that_is_asked_for_can_be_lacking() -> None:
    assert not lacks("auto", ONLY_ENSEMBLE)
    assert lacks("fused", ONLY_ENSEMBLE)
    assert not lacks("fused", BOTH)
