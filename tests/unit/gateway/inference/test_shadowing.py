from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
from manifests import FEATURES, manifest

from gateway.inference.runner import ServedRelease
from gateway.inference.shadowing import Shadowing
from triton_models.release import Parity

LINE = "score-risk"
PARITY = {"score": Parity(compared="torch-onnx", rows=9, tolerance=0.01, max_difference=0)}
MAIN = ServedRelease(manifest(LINE, "r1"))
SHADOW = manifest(LINE, "r2", parity=PARITY)


def floats(*values: float) -> dict[str, Any]:
    return {"score": np.array(values, np.float32)[:, None]}


@pytest.fixture
async def shadowing() -> AsyncIterator[Shadowing]:
    made = Shadowing(in_flight=2)
    yield made
    await made.close()


async def settle() -> None:
    """Let what was begun end."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_answers_are_compared_row_by_row(shadowing: Shadowing) -> None:
    async def ask() -> dict[str, Any]:
        return floats(600.005, 602, 600)

    shadowing.offer(MAIN, SHADOW, floats(600, 600, 600), ask)
    await settle()
    (tally,) = shadowing.tallies
    found = tally.outputs["score"]
    assert (tally.asked, tally.failed, tally.dropped) == (1, 0, 0)
    assert (found.rows, found.differ) == (3, 1), "within the tolerance is alike"
    assert found.largest == pytest.approx(2, abs=1e-3)
    assert found.mean == pytest.approx((0.005 + 2) / 3, abs=1e-3)


async def test_first_places_and_texts_are_counted(shadowing: Shadowing) -> None:
    mine = {
        "probabilities": np.array([[0.6, 0.4], [0.6, 0.4]], np.float32),
        "item_ids": np.array([["a", "b"], ["a", "b"]], object),
    }
    theirs = {
        "probabilities": np.array([[0.7, 0.3], [0.4, 0.6]], np.float32),
        "item_ids": np.array([["a", "c"], ["b", "a"]], object),
    }

    async def ask() -> dict[str, Any]:
        return theirs

    shadowing.offer(MAIN, SHADOW, mine, ask)
    await settle()
    outputs = shadowing.tallies[0].outputs
    assert (outputs["probabilities"].differ, outputs["probabilities"].first_differs) == (2, 1)
    assert (outputs["item_ids"].differ, outputs["item_ids"].first_differs) == (2, 1)
    assert "item_ids 100.0% of 2 rows differ, first place in 50.0%" in str(shadowing.tallies[0])


async def test_no_number_agrees_with_no_number_alone(shadowing: Shadowing) -> None:
    nan = float("nan")

    async def ask() -> dict[str, Any]:
        return floats(nan, 600, nan) | {
            "probabilities": np.array([[nan, 0.4], [nan, nan]], np.float32)
        }

    mine = {"probabilities": np.array([[0.6, 0.4], [nan, nan]], np.float32)}
    shadowing.offer(MAIN, SHADOW, floats(600, nan, nan) | mine, ask)
    await settle()
    outputs = shadowing.tallies[0].outputs
    assert (outputs["score"].rows, outputs["score"].differ) == (3, 2)
    assert outputs["score"].largest == float("inf")
    assert (outputs["probabilities"].differ, outputs["probabilities"].first_differs) == (1, 1)


async def test_what_was_found_is_told_as_metrics(shadowing: Shadowing) -> None:
    async def ask() -> dict[str, Any]:
        return {"probabilities": np.array([[0.4, 0.6]], np.float32)}

    shadowing.offer(MAIN, SHADOW, {"probabilities": np.array([[0.6, 0.4]], np.float32)}, ask)
    await settle()
    who = (LINE, "r2", "r1")
    assert {(one.instrument.name, one.labels): one.value for one in shadowing.readings()} == {
        ("trident.shadow.calls", (*who, "asked")): 1,
        ("trident.shadow.calls", (*who, "failed")): 0,
        ("trident.shadow.calls", (*who, "dropped")): 0,
        ("trident.shadow.rows", (*who, "probabilities")): 1,
        ("trident.shadow.rows.different", (*who, "probabilities")): 1,
        ("trident.shadow.rows.other_first", (*who, "probabilities")): 1,
    }


async def test_another_shape_differs_in_every_row(shadowing: Shadowing) -> None:
    async def ask() -> dict[str, Any]:
        return {"score": np.zeros((2, 3), np.float32)}

    shadowing.offer(MAIN, SHADOW, floats(1, 2) | {"gone": np.zeros((2, 1))}, ask)
    await settle()
    assert {name: one.differ for name, one in shadowing.tallies[0].outputs.items()} == {
        "score": 2,
        "gone": 2,
    }


async def test_offering_returns_at_once_and_what_is_too_much_is_counted(
    shadowing: Shadowing,
) -> None:
    go_on = asyncio.Event()

    async def ask() -> dict[str, Any]:
        await go_on.wait()
        return floats(1)

    for _ in range(5):
        shadowing.offer(MAIN, SHADOW, floats(1), ask)
    await settle()
    (tally,) = shadowing.tallies
    assert (tally.asked, tally.dropped) == (2, 3)
    go_on.set()
    await settle()
    shadowing.offer(MAIN, SHADOW, floats(1), ask)
    await settle()
    assert (tally.asked, tally.outputs["score"].rows) == (3, 3)


async def test_a_shadow_that_fails_is_counted_and_told_once(
    shadowing: Shadowing, caplog: pytest.LogCaptureFixture
) -> None:
    async def ask() -> dict[str, Any]:
        raise ZeroDivisionError("odd")

    for _ in range(2):
        shadowing.offer(MAIN, SHADOW, floats(1), ask)
        await settle()
    assert shadowing.tallies[0].failed == 2
    assert caplog.text.count("score-risk/r2 failed in the shadow: odd") == 1


async def test_what_was_found_is_told_from_time_to_time(
    shadowing: Shadowing, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.inference.shadowing._TELL_EVERY_S", 0.0)
    caplog.set_level(logging.INFO)

    async def ask() -> dict[str, Any]:
        return floats(2)

    shadowing.offer(MAIN, SHADOW, floats(1), ask)
    await settle()
    assert (
        "shadow score-risk/r2 beside r1: 1 calls, 0 failed, 0 not asked; "
        "score 100.0% of 1 rows differ, by 1 in the mean, 1 at most"
    ) in caplog.text


def test_a_release_of_other_features_is_not_asked(caplog: pytest.LogCaptureFixture) -> None:
    shadowing = Shadowing()
    assert shadowing.takes(MAIN, SHADOW)
    assert not shadowing.takes(MAIN, MAIN.manifest), "it would be compared with itself"
    other = manifest(LINE, "r3", features=FEATURES[::-1])
    assert not shadowing.takes(MAIN, other)
    assert not shadowing.takes(MAIN, other)
    assert caplog.text.count("r3 cannot be asked in the shadow of r1") == 1
