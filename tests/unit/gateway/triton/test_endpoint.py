from __future__ import annotations

import asyncio
from functools import partial
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from fake_triton import Changes, FakeTriton, rpc_error, served
from manifests import manifest
from tritonclient.grpc import service_pb2

from gateway.triton import retries as retries_module
from gateway.triton.endpoint import TritonEndpoint, Wanted
from gateway.triton.tritons import Tritons
from gateway.triton.verdicts import GONE, HANGS, MISFIT, REFUSES, SLOW, UNREACHABLE, WRONG
from triton_models.release import Manifest

RISK = manifest("score-risk")
RECOMMEND = manifest("recommend")
KEY = ("score-risk", "r1")
OTHER = ("recommend", "r1")


def wanted(*releases: Manifest) -> Wanted:
    return {(one.line, one.release): one for one in releases}


class Looked:
    """An endpoint of a fake Triton, and who is told of its changes."""

    def __init__(self, triton: FakeTriton, retry_s: float = 0) -> None:
        self.triton = triton
        self.changes = Changes()
        self.endpoint = TritonEndpoint(triton, self.changes, load_timeout_s=5, retry_s=retry_s)  # type: ignore[arg-type]

    async def look(self, *releases: Manifest) -> None:
        await self.endpoint.look(wanted(*releases))

    async def look_until_served(self, *releases: Manifest) -> None:
        await self.look(*releases)
        keys = [(one.line, one.release) for one in releases]
        await self.changes.until(lambda: all(map(self.endpoint.serves, keys)))

    async def look_until_fault(self, *releases: Manifest, key: tuple[str, str] = KEY) -> str:
        """The fault of a release that is tried and found bad, now."""
        tried = self.changes.count
        await self.look(*releases)
        await self.changes.until(
            lambda: self.changes.count > tried and "being loaded" not in self.endpoint.fault(key)
        )
        return self.endpoint.fault(key)


@pytest.fixture
def looked() -> Looked:
    """A Triton that has both releases in its repository."""
    return Looked(FakeTriton(RISK, RECOMMEND))


async def test_a_release_is_loaded_checked_and_then_served(looked: Looked) -> None:
    await looked.look_until_served(RISK)
    assert looked.triton.loads == [RISK.ensemble]
    assert not looked.endpoint.serves(OTHER)


async def test_a_release_that_is_loaded_already_is_checked_and_not_loaded_again(
    looked: Looked,
) -> None:
    looked.triton.loaded.add(RISK.ensemble)
    await looked.look_until_served(RISK)
    assert looked.triton.loads == []


async def test_before_triton_ever_answered_the_fault_says_that_it_is_waited_for(
    looked: Looked,
) -> None:
    looked.triton.up = False
    await looked.look(RISK)
    assert looked.endpoint.fault(KEY) == "waiting for Triton at triton:8001"
    assert looked.triton.loads == []
    assert looked.changes.count == 0


async def test_while_a_release_is_loaded_the_fault_says_so_and_other_releases_serve(
    looked: Looked,
) -> None:
    looked.triton.may_load.clear()
    looked.triton.loaded.add(RECOMMEND.ensemble)
    await looked.look(RISK, RECOMMEND)
    await looked.changes.until(lambda: looked.endpoint.serves(OTHER))
    assert looked.endpoint.fault(KEY) == "it is being loaded"
    await looked.look(RISK, RECOMMEND)
    assert looked.triton.loads == [RISK.ensemble], "it was begun twice"
    looked.triton.may_load.set()
    await looked.changes.until(lambda: looked.endpoint.serves(KEY))


async def test_a_triton_that_goes_takes_every_release_with_it(looked: Looked) -> None:
    await looked.look_until_served(RISK, RECOMMEND)
    looked.triton.up = False
    await looked.look(RISK, RECOMMEND)
    assert not looked.endpoint.serves(KEY)
    assert not looked.endpoint.serves(OTHER)
    assert looked.endpoint.fault(KEY) == "Triton at triton:8001 does not answer"


async def test_a_triton_that_comes_back_empty_gets_its_releases_again(looked: Looked) -> None:
    await looked.look_until_served(RISK)
    looked.triton.up = False
    looked.triton.restart()
    await looked.look(RISK)
    looked.triton.up = True
    await looked.look_until_served(RISK)
    assert looked.triton.loads == [RISK.ensemble] * 2


async def test_a_restart_between_two_looks_is_seen_by_the_release_that_is_gone(
    looked: Looked,
) -> None:
    await looked.look_until_served(RISK)
    looked.triton.restart()
    looked.triton.may_load.clear()
    await looked.look(RISK)
    assert not looked.endpoint.serves(KEY)
    looked.triton.may_load.set()
    await looked.changes.until(lambda: looked.endpoint.serves(KEY))


async def test_a_release_that_does_not_fit_has_every_difference_as_its_fault(
    looked: Looked,
) -> None:
    looked.triton.repository[RISK.ensemble] = served(RISK, max_batch_size=8)
    looked.triton.repository[RISK.ensemble][0].outputs[1].datatype = "FP64"
    fault = await looked.look_until_fault(RISK)
    assert fault == (
        "output 'score': the release says FP32 [1], Triton serves FP64 [1]; "
        "max_batch_size: the API allows 1000 rows, Triton takes 8"
    )
    assert not looked.endpoint.serves(KEY)


async def test_a_release_that_answers_a_trial_otherwise_than_it_says_is_not_served(
    looked: Looked,
) -> None:
    looked.triton.answer = lambda request: service_pb2.ModelInferResponse()
    fault = await looked.look_until_fault(RISK)
    assert "output 'score': the release says FP32 [1], a trial gave none" in fault
    assert not looked.endpoint.serves(KEY)


async def test_unloading_forgets_a_release_and_a_load_that_is_under_way(looked: Looked) -> None:
    await looked.look_until_served(RISK)
    await looked.endpoint.unload(KEY, RISK)
    assert not looked.endpoint.serves(KEY)
    assert looked.triton.loaded == set()
    looked.triton.may_load.clear()
    await looked.look(RISK)
    await asyncio.sleep(0)
    await looked.endpoint.unload(KEY, RISK)
    looked.triton.may_load.set()
    await looked.look()
    assert looked.triton.loaded == set()
    assert not looked.endpoint.serves(KEY)


async def test_what_cannot_be_unloaded_is_told_and_harms_nothing(
    looked: Looked, caplog: pytest.LogCaptureFixture
) -> None:
    await looked.look_until_served(RISK)
    looked.triton.unload_error = rpc_error(grpc.StatusCode.INTERNAL, "busy")
    await looked.endpoint.unload(KEY, RISK)
    assert "score-risk/r1 cannot be unloaded: busy" in caplog.text
    assert not looked.endpoint.serves(KEY)


async def test_a_release_that_triton_refuses_has_tritons_words_on_one_line(looked: Looked) -> None:
    looked.triton.load_error = rpc_error(grpc.StatusCode.INTERNAL, "no\n  such file.")
    fault = await looked.look_until_fault(RISK)
    assert fault == "Triton at triton:8001 cannot load it: no such file"


async def test_a_refusal_without_words_has_the_code(looked: Looked) -> None:
    looked.triton.load_error = rpc_error(grpc.StatusCode.RESOURCE_EXHAUSTED)
    fault = await looked.look_until_fault(RISK)
    assert fault == "Triton at triton:8001 cannot load it: RESOURCE_EXHAUSTED"


async def test_a_fault_that_nobody_foresaw_is_logged_and_harms_no_other_release(
    looked: Looked, caplog: pytest.LogCaptureFixture
) -> None:
    looked.triton.loaded.add(RECOMMEND.ensemble)
    looked.triton.load_error = ZeroDivisionError("odd")
    fault = await looked.look_until_fault(RISK, RECOMMEND)
    assert fault == "the gateway could not check it; its log says why"
    await looked.changes.until(lambda: looked.endpoint.serves(OTHER))
    assert "ZeroDivisionError: odd" in caplog.text


async def test_a_release_that_is_mended_serves_when_it_is_tried_again(looked: Looked) -> None:
    looked.triton.load_error = rpc_error(grpc.StatusCode.INTERNAL, "torn")
    await looked.look_until_fault(RISK)
    looked.triton.load_error = None
    await looked.look_until_served(RISK)


async def test_a_failed_release_is_tried_again_after_a_pause_that_doubles_up_to_a_minute(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(retries_module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    looked = Looked(FakeTriton(), retry_s=1)
    for pause_s in (1, 2, 4, 8, 16, 32, 60, 60):
        await looked.look_until_fault(RISK)
        tries = len(looked.triton.loads)
        clock.now += pause_s - 0.01
        await looked.look(RISK)
        await asyncio.sleep(0)
        assert len(looked.triton.loads) == tries, "it was tried too early"
        clock.now += 0.01
    await looked.look_until_fault(RISK)


async def test_a_triton_that_comes_back_is_given_its_releases_without_the_pause() -> None:
    looked = Looked(FakeTriton(RISK), retry_s=1000)
    looked.triton.load_error = rpc_error(grpc.StatusCode.INTERNAL, "torn")
    await looked.look_until_fault(RISK)
    looked.triton.up = False
    await looked.look(RISK)
    looked.triton.up, looked.triton.load_error = True, None
    await looked.look_until_served(RISK)


async def test_a_triton_that_dies_while_it_loads_is_no_fault_of_the_release() -> None:
    looked = Looked(FakeTriton(RISK), retry_s=1000)
    looked.triton.may_load.clear()
    await looked.look(RISK)
    looked.triton.up = False
    looked.triton.may_load.set()
    for _ in range(10):
        await asyncio.sleep(0)  # loading fails, between two looks
    assert looked.endpoint.fault(KEY) == "it is being loaded"
    looked.triton.up = True
    await looked.look_until_served(RISK)


async def test_a_load_that_hangs_ends_when_triton_goes(looked: Looked) -> None:
    looked.triton.may_load.clear()
    await looked.look(RISK)
    await asyncio.sleep(0)
    looked.triton.up = False
    await looked.look(RISK)
    await asyncio.sleep(0)
    looked.triton.up = True
    looked.triton.may_load.set()
    await looked.look_until_served(RISK)
    assert looked.triton.loads == [RISK.ensemble] * 2


async def test_closing_ends_what_is_being_loaded_and_the_connection(looked: Looked) -> None:
    looked.triton.may_load.clear()
    await looked.look(RISK)
    await looked.endpoint.close()
    assert looked.triton.closed
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_release_that_is_left_out_comes_back_after_a_trial(looked: Looked) -> None:
    await looked.look_until_served(RISK)
    looked.endpoint.leave_out(KEY, UNREACHABLE, "it resets")
    assert not looked.endpoint.serves(KEY)
    assert looked.endpoint.fault(KEY) == "Triton at triton:8001 is left out: it resets"
    assert looked.triton.dropped == ["it resets"], "those under way wait for nothing"
    assert looked.endpoint.left_out == {UNREACHABLE: 1}
    await looked.look(RISK)
    assert not looked.endpoint.serves(KEY), "it is left out for a moment at least"
    await asyncio.sleep(retries_module._FIRST_REST_S)
    await looked.look_until_served(RISK)
    assert looked.endpoint.lacks(KEY) is False


async def test_only_what_is_to_be_loaded_is_vouched_for_and_that_may_take_long() -> None:
    vouched: list[str] = []
    may_go_on = asyncio.Event()
    may_go_on.set()

    async def vouch(one: Manifest) -> str:
        vouched.append(one.ensemble)
        await may_go_on.wait()
        return ""

    triton, changes = FakeTriton(RISK), Changes()
    endpoint = TritonEndpoint(triton, changes, load_timeout_s=5, vouch=vouch, retry_s=0)  # type: ignore[arg-type]

    async def come_back() -> None:
        await endpoint.look(wanted(RISK))
        await changes.until(lambda: endpoint.serves(KEY))

    await come_back()
    may_go_on.clear()
    endpoint.leave_out(KEY, UNREACHABLE, "test")
    while not endpoint.serves(KEY):
        await endpoint.look(wanted(RISK))
        await asyncio.sleep(0)
    assert vouched == [RISK.ensemble], "it was loaded all the time"
    endpoint.leave_out(KEY, UNREACHABLE, "test")
    triton.loaded.clear()
    while len(vouched) < 2:
        await endpoint.look(wanted(RISK))
        await asyncio.sleep(0)
    assert endpoint.fault(KEY).startswith("Triton at triton:8001 is left out: test")
    may_go_on.set()
    await come_back()
    assert triton.loads == [RISK.ensemble] * 2


async def test_who_has_to_be_left_out_again_rests_longer(
    looked: Looked, monkeypatch: pytest.MonkeyPatch
) -> None:
    await looked.look_until_served(RISK)
    now = 1000.0
    monkeypatch.setattr(retries_module, "time", SimpleNamespace(monotonic=lambda: now))
    rests = []
    for wait_s in (0.0, 1.0, 1.0, 100.0):
        now += wait_s
        looked.endpoint.leave_out(KEY, WRONG, "nonsense")
        rests.append(looked.endpoint._retries._at[KEY] - now)
        now += rests[-1]
        await looked.look_until_served(RISK)
    assert rests == pytest.approx([0.25, 0.5, 1.0, 0.25])
    assert looked.triton.dropped == [], "its connection is good"


async def test_a_doubt_that_a_trial_dispels_changes_nothing(looked: Looked) -> None:
    await looked.look_until_served(RISK)
    asked = len(looked.triton.asked)
    looked.endpoint.doubt(KEY, REFUSES, "it refuses", 5)
    looked.endpoint.doubt(KEY, REFUSES, "it refuses", 5)
    await asyncio.wait_for(looked.triton.was_asked.acquire(), 5)
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(looked.triton.asked) == asked + 1, "one trial at a time is enough"
    assert looked.endpoint.serves(KEY)


async def test_a_doubt_that_a_trial_confirms_leaves_it_out(looked: Looked) -> None:
    await looked.look_until_served(RISK)
    looked.triton.answer = lambda request: service_pb2.ModelInferResponse()
    looked.endpoint.doubt(KEY, REFUSES, "it refuses", 5)
    await looked.changes.until(lambda: not looked.endpoint.serves(KEY))
    assert "a trial gave none" in looked.endpoint.fault(KEY)
    assert looked.endpoint.left_out == {REFUSES: 1}


async def test_a_trial_that_is_not_answered_in_time_leaves_it_out(looked: Looked) -> None:
    await looked.look_until_served(RISK)
    looked.triton.may_answer.clear()
    looked.endpoint.others_do_well = lambda key: key == KEY
    looked.endpoint.doubt(KEY, HANGS, "it has given no answer for 0.6 s", 0.01)
    await looked.changes.until(lambda: not looked.endpoint.serves(KEY))
    assert looked.endpoint.fault(KEY).endswith("nor one to a trial within 0.0 s")
    assert looked.triton.dropped


async def test_of_several_that_are_busy_at_once_each_waits_until_another_does_well() -> None:
    tritons = Tritons(lambda client: TritonEndpoint(client, changes, load_timeout_s=5), 5)
    changes = Changes()
    fakes = [FakeTriton(RISK, target=name) for name in "ab"]
    endpoints, _ = tritons.take(fakes)  # type: ignore[arg-type]
    for endpoint, fake in zip(endpoints, fakes, strict=True):
        await endpoint.look(wanted(RISK))
        await changes.until(partial(endpoint.serves, KEY))
        fake.may_answer.clear()
    for endpoint in endpoints:
        endpoint.doubt(KEY, HANGS, "it has given no answer for 0.6 s", 0.01)
        assert not endpoint.does_well(KEY)
    await asyncio.sleep(0.05)
    assert [one.serves(KEY) for one in endpoints] == [True, True]
    fakes[1].may_answer.set()
    await changes.until(lambda: not endpoints[0].serves(KEY))
    assert endpoints[1].does_well(KEY)
    assert (fakes[0].dropped != [], fakes[1].dropped) == (True, [])
    await asyncio.gather(*(one.close() for one in endpoints))


def takes(triton: FakeTriton, *times_s: float) -> None:
    """Have the next inferences take so long."""
    left, infer = list(times_s), triton.infer

    async def late(*args: Any, **kwargs: Any) -> Any:
        await asyncio.sleep(left.pop(0))
        return await infer(*args, **kwargs)

    triton.infer = late  # type: ignore[method-assign]


@pytest.mark.parametrize(
    ("times_s", "may", "out"),
    [((0.1, 0.1, 0.1), True, True), ((0.1, 0.1, 0), True, False), ((0.1, 0.1, 0.1), False, False)],
    ids=["slow", "only behind others' calls", "the last one"],
)
async def test_who_seems_slow_is_left_out_if_trials_take_longer_than_elsewhere(
    times_s: tuple[float, ...], may: bool, out: bool, looked: Looked
) -> None:
    other = Looked(FakeTriton(RISK))
    for one in (looked, other):
        await one.look_until_served(RISK)
    takes(looked.triton, *times_s)
    looked.endpoint.compare(KEY, [other.endpoint], "its answers take 100 ms", lambda: may)
    looked.endpoint.compare(KEY, [other.endpoint], "its answers take 100 ms", lambda: may)
    await looked.endpoint._doubts.ended()
    assert looked.endpoint.serves(KEY) == (not out)
    assert looked.endpoint.left_out == ({SLOW: 1} if out else {})
    assert not looked.triton.dropped, "what is under way there is answered"
    if out:
        assert "its answers take 100 ms; a trial takes 1" in looked.endpoint.fault(KEY)


async def test_a_comparison_with_others_that_fail_says_nothing(looked: Looked) -> None:
    other = Looked(FakeTriton(RISK))
    for one in (looked, other):
        await one.look_until_served(RISK)
    other.triton.up = False
    takes(looked.triton, 0.05, 0.05, 0.05)
    looked.endpoint.compare(KEY, [other.endpoint], "why", lambda: True)
    await looked.endpoint._doubts.ended()
    assert looked.endpoint.serves(KEY)


async def test_after_another_connection_it_is_seen_whether_the_same_triton_is_there(
    looked: Looked,
) -> None:
    await looked.look_until_served(RISK)
    looked.triton.connections = 1
    await looked.look(RISK)
    looked.triton.repository[RISK.ensemble][0].outputs[1].datatype = "FP64"  # restarted, with that
    looked.triton.connections = 2
    await looked.look(RISK)
    await looked.changes.until(lambda: not looked.endpoint.serves(KEY))
    assert "Triton serves FP64 [1]" in looked.endpoint.fault(KEY)
    assert looked.endpoint.left_out == {MISFIT: 1}


async def test_one_that_comes_back_with_other_models_is_counted_once_with_the_reason(
    looked: Looked,
) -> None:
    await looked.look_until_served(RISK)
    looked.triton.up = False
    await looked.look(RISK)
    looked.triton.up = True
    looked.triton.loaded.clear()
    looked.triton.repository[RISK.ensemble][0].outputs[1].datatype = "FP64"
    for _ in range(2):
        assert "Triton serves FP64 [1]" in await looked.look_until_fault(RISK)
    assert looked.endpoint.left_out == {GONE: 1, MISFIT: 1}


async def test_a_triton_that_answers_inferences_lives_though_it_does_not_say_so(
    looked: Looked,
) -> None:
    await looked.look_until_served(RISK)
    is_live = looked.triton.is_live

    async def busy() -> bool:
        await is_live()
        looked.triton.answers += 1
        return False

    looked.triton.is_live = busy  # type: ignore[method-assign]
    await looked.look(RISK)
    assert looked.endpoint.serves(KEY)


async def test_inferences_under_way_are_given_up_when_triton_is_gone(looked: Looked) -> None:
    await looked.look_until_served(RISK)
    looked.triton.up = False
    await looked.look(RISK)
    assert looked.triton.dropped == ["Triton does not answer"]
    assert looked.endpoint.left_out == {GONE: 1}


@pytest.mark.parametrize(("others", "looks"), [(True, 1), (False, 3)])
async def test_the_last_triton_may_be_silent_for_longer_before_it_is_gone(
    others: bool, looks: int, looked: Looked
) -> None:
    await looked.look_until_served(RISK)
    looked.endpoint.others_serve = lambda: others
    looked.triton.up, looked.triton.was_silent = False, True
    served_after = []
    for _ in range(3):
        await looked.look(RISK)
        served_after.append(looked.endpoint.serves(KEY))
    assert served_after == [True] * (looks - 1) + [False] * (4 - looks)


@pytest.mark.parametrize(
    ("others", "answers", "serves"), [(False, 0, True), (True, 0, False), (True, 1, True)]
)
async def test_who_is_too_busy_to_say_what_is_loaded_has_not_lost_it_if_it_answers_or_is_the_last(
    others: bool, answers: int, serves: bool, looked: Looked
) -> None:
    await looked.look_until_served(RISK)
    looked.endpoint.others_do_well = lambda key: others
    readiness = looked.triton.readiness

    async def busy(model_name: str) -> bool | None:
        looked.triton.answers += answers
        return await readiness(model_name)

    looked.triton.readiness = busy  # type: ignore[method-assign]
    looked.triton.says_nothing = True
    for _ in range(5):
        await looked.look(RISK)
    assert looked.endpoint.serves(KEY) == serves
    assert looked.triton.loads == [RISK.ensemble]
    looked.triton.says_nothing = False
    await looked.look(RISK)
    await looked.changes.until(lambda: looked.endpoint.serves(KEY))
    assert looked.triton.loads == [RISK.ensemble], "it was there all the time"
    await looked.endpoint.close()


async def test_a_doubted_release_of_one_too_busy_to_say_what_is_loaded_is_not_loaded_anew(
    looked: Looked,
) -> None:
    await looked.look_until_served(RISK)
    looked.triton.says_nothing = True
    asked = looked.triton.asked_ready
    looked.endpoint.doubt(KEY, HANGS, "it has given no answer for 0.6 s", 5)
    async with asyncio.timeout(5):
        while looked.triton.asked_ready == asked:
            await asyncio.sleep(0)
    looked.triton.says_nothing = False
    await looked.endpoint._doubts.ended()
    assert looked.endpoint.serves(KEY)
    assert looked.triton.loads == [RISK.ensemble]
