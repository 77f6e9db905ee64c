from __future__ import annotations

import asyncio
import threading
from typing import Any

import numpy as np
import pictures
import pytest
from fake_runner import FakeCall, FakeRunner, route
from manifests import manifest

from gateway.domains import diagnose
from gateway.domains.domain import RowRefused, SlowRow
from gateway.errors import InvalidRequest, Overloaded
from gateway.inference.runner import ServedRelease
from gateway.transport.answering import Answering
from gateway.transport.slow_work import SlowWork
from trident.diagnose.v1.diagnose_service_pb2 import DiagnoseRequest, Image
from triton_models.images import encode_png


class Row(SlowRow):
    def __init__(self, value: int, quick: bool = False, wrong: str = "") -> None:
        self.value = value
        self._quick = quick
        self._wrong = wrong
        self.thread = ""

    @property
    def quick(self) -> bool:
        return self._quick

    def made(self) -> Any:
        self.thread = threading.current_thread().name
        if self._wrong:
            raise RowRefused("image.content", self._wrong)
        return self.value


def request(content: bytes, explain: bool = False) -> DiagnoseRequest:
    image = Image(content=content, media_type="image/png")
    return DiagnoseRequest(image=image, explain=explain)


GOOD = encode_png(np.full((300, 300), 204, np.uint8))
BAD = pictures.bomb()


async def test_slow_rows_are_made_elsewhere_and_quick_ones_here() -> None:
    slow, quick = Row(1), Row(2, quick=True)
    assert await SlowWork().made([slow, quick, "plain"], ["", "", ""], "line") == [1, 2, "plain"]
    assert slow.thread.startswith("slow-work")
    assert quick.thread == threading.current_thread().name


async def test_every_row_that_cannot_be_made_is_told() -> None:
    rows = [Row(1, wrong="is torn"), Row(2), Row(3, quick=True, wrong="is empty")]
    with pytest.raises(InvalidRequest) as refused:
        await SlowWork().made(rows, ["requests[0].", "requests[1].", "requests[2]."], "line")
    assert refused.value.violations == {
        "requests[0].image.content": "is torn",
        "requests[2].image.content": "is empty",
    }


async def test_many_rows_are_made_elsewhere_in_few_pieces_however_quick_each_is() -> None:
    rows = [Row(number, quick=True, wrong="is torn" * (number == 70)) for number in range(100)]
    work = SlowWork(max_waiting=10)
    with pytest.raises(InvalidRequest) as refused:
        await work.made(rows, [f"requests[{number}]." for number in range(100)], "line")
    assert refused.value.violations == {"requests[70].image.content": "is torn"}
    assert all(row.thread.startswith("slow-work") for row in rows)
    assert await work.made(rows[:70], [""] * 70, "line") == list(range(70))


async def test_more_work_than_may_wait_is_refused() -> None:
    work, go = SlowWork(max_waiting=2), threading.Event()
    running = [asyncio.ensure_future(work.run(go.wait, "line")) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded, match="2 calls already wait"):
        await work.run(go.wait, "line")
    go.set()
    assert await asyncio.gather(*running) == [True, True]
    assert await work.run(go.wait, "line")


async def test_an_image_is_answered_with_a_picture() -> None:
    runner = FakeRunner(manifest("diagnose-image"))
    response = await Answering(runner).one(diagnose, request(GOOD, explain=True), FakeCall())
    assert response.findings[0].probability == pytest.approx(0.8)
    assert response.explanation.saliency.png.startswith(b"\x89PNG")
    assert runner.asked[0].outputs == ("probabilities", "unusualness", "saliency")


async def test_a_hostile_image_is_refused_and_triton_never_sees_it() -> None:
    runner, call = FakeRunner(manifest("diagnose-image")), FakeCall()
    with pytest.raises(InvalidRequest) as refused:
        await Answering(runner).one(diagnose, request(BAD), call)
    assert list(refused.value.violations) == ["image.content"]
    assert call.trace.stage_errors["decode"] is refused.value
    assert not runner.asked


async def test_a_batch_names_every_image_that_is_wrong() -> None:
    runner = FakeRunner(manifest("diagnose-image"))
    with pytest.raises(InvalidRequest) as refused:
        await Answering(runner).batch(
            diagnose, [request(BAD), request(GOOD), request(b"nothing")], FakeCall()
        )
    assert list(refused.value.violations) == [
        "requests[0].image.content",
        "requests[2].image.content",
    ]


async def test_a_batch_of_images_is_one_inference() -> None:
    runner = FakeRunner(manifest("diagnose-image"))
    answers = await Answering(runner).batch(diagnose, [request(GOOD)] * 5, FakeCall())
    assert len(answers) == 5
    (asked,) = runner.asked
    assert asked.tensors["pixels"].shape == (5, 8, 8, 1)


async def test_measurements_and_images_in_one_batch_each_go_to_their_release() -> None:
    runner = FakeRunner()
    runner.states.append(route(manifest("diagnose-image")))
    measured = DiagnoseRequest()
    measured.measurements.values["mean radius"] = 12
    answers = await Answering(runner).batch(diagnose, [measured, request(GOOD)], FakeCall())
    assert [one.model.line for one in answers] == ["diagnose-measurements", "diagnose-image"]


async def test_an_image_where_only_measurements_are_served_says_so() -> None:
    runner = FakeRunner(manifest("diagnose-measurements"))
    with pytest.raises(InvalidRequest) as refused:
        await Answering(runner).one(diagnose, request(GOOD), FakeCall())
    text = "is a kind of evidence that is not served here; served: measurements"
    assert refused.value.violations == {"image": text}


async def explained(rows: int, work: SlowWork) -> list[Any]:
    states = manifest("diagnose-image")
    answer = {
        "probabilities": np.full((rows, len(states.labels)), 0.5, np.float32),
        "unusualness": np.zeros((rows, 1), np.float32),
        "saliency": np.zeros((rows, 4, 4), np.float32),
    }
    asked = [request(GOOD, explain=True)] * rows
    return await work.responses(diagnose, answer, asked, ServedRelease(states))


async def test_pictures_of_many_rows_are_written_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    pieces: list[int] = []
    write = diagnose.tensors_to_responses

    def counted(answer: Any, requests: Any, *more: Any) -> Any:
        pieces.append(len(requests))
        return write(answer, requests, *more)

    monkeypatch.setattr(diagnose, "tensors_to_responses", counted)
    found = await explained(40, SlowWork())
    assert len(found) == 40
    assert pieces == [16, 16, 8]
    assert all(one.explanation.saliency.png.startswith(b"\x89PNG") for one in found)


async def test_pictures_that_no_message_could_hold_are_not_all_made() -> None:
    (one,) = await explained(1, SlowWork())
    work = SlowWork(max_answer_bytes=20 * one.ByteSize())
    assert len(await explained(20, work)) == 20
    with pytest.raises(InvalidRequest, match="fewer explanations"):
        await explained(21, work)


async def test_a_call_that_ended_has_no_more_pictures_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pieces: list[int] = []
    begun, go = asyncio.Event(), threading.Event()
    loop, write = asyncio.get_running_loop(), diagnose.tensors_to_responses

    def held(answer: Any, requests: Any, *more: Any) -> Any:
        pieces.append(len(requests))
        loop.call_soon_threadsafe(begun.set)
        go.wait(10)
        return write(answer, requests, *more)

    monkeypatch.setattr(diagnose, "tensors_to_responses", held)
    work = SlowWork()
    call = asyncio.ensure_future(explained(40, work))
    await begun.wait()
    call.cancel()
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert await work.run(lambda: len(pieces), "line") == 1
