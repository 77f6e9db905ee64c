from __future__ import annotations

from fake_triton import FakeTriton
from manifests import manifest

from gateway.triton.loading import Loader

RELEASE = manifest("score-risk", variants=("ensemble", "fused"))
ENSEMBLE, FUSED, CORE = "score-risk__r1", "score-risk__r1__fused", "score-risk__r1__core"


def loader(triton: FakeTriton, override: bool = True) -> Loader:
    return Loader(triton, 5, "config of {}".format if override else None)  # type: ignore[arg-type]


async def test_without_an_override_a_model_is_loaded_as_the_store_has_it() -> None:
    triton = FakeTriton(RELEASE)
    await loader(triton, override=False).load(ENSEMBLE, RELEASE)
    assert triton.loads == [ENSEMBLE]
    assert triton.configs == {}


async def test_a_model_is_loaded_with_its_override() -> None:
    triton = FakeTriton(RELEASE)
    await loader(triton).load(FUSED, RELEASE)
    assert triton.configs == {FUSED: f"config of {FUSED}"}


async def test_of_an_ensemble_the_steps_are_overridden_and_loaded_first() -> None:
    triton = FakeTriton(RELEASE)
    await loader(triton).load(ENSEMBLE, RELEASE)
    assert triton.loads == [CORE, ENSEMBLE]
    assert triton.configs == {CORE: f"config of {CORE}"}


async def test_a_step_that_is_there_is_not_loaded_again() -> None:
    triton = FakeTriton(RELEASE)
    triton.loaded.add(CORE)
    await loader(triton).load(ENSEMBLE, RELEASE)
    assert triton.loads == [ENSEMBLE]


async def test_what_is_loaded_can_be_unloaded() -> None:
    triton = FakeTriton(RELEASE)
    await loader(triton).load(FUSED, RELEASE)
    await loader(triton).unload(FUSED)
    assert triton.loaded == set()
