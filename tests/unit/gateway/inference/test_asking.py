"""What is asked again, whom, and how often."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from fake_triton import FakeTriton, rpc_error
from grpc import StatusCode

from gateway.errors import (
    DeadlineExceeded,
    GatewayError,
    ModelContractBroken,
    ModelUnavailable,
    Overloaded,
)
from gateway.inference.asking import Asker
from gateway.inference.fleet import Fleet
from gateway.inference.retrying import ATTEMPTS, RetryBudget
from gateway.triton.http2.errors import BrokenAnswer
from gateway.triton.tensors import MalformedTensor
from gateway.triton.verdicts import REFUSES, UNREACHABLE, WRONG, Suspicion, blame

KEY = ("score-risk", "r1")
LINE = KEY[0]
FOREVER = float("inf")


def caused(error: GatewayError, cause: Exception) -> GatewayError:
    error.__cause__ = cause
    return error


RESET = caused(ModelUnavailable(LINE, "gone"), rpc_error(StatusCode.UNAVAILABLE, "reset"))
SENSELESS = caused(ModelContractBroken(*KEY), MalformedTensor("score", "has no bytes"))
NO_MESSAGE = caused(ModelContractBroken(*KEY), BrokenAnswer("no message"))
REFUSED = caused(ModelContractBroken(*KEY), rpc_error(StatusCode.INVALID_ARGUMENT, "no"))


class Bench:
    """Tritons that fail as told, and who asks them."""

    def __init__(
        self, count: int, *, hedging: bool = False, budget: RetryBudget | None = None
    ) -> None:
        self.tritons = [FakeTriton(target=f"t:{number}") for number in range(count)]
        self.suspicions: list[Suspicion] = []
        self.fleet = Fleet()
        self.serving: Sequence[FakeTriton] = self.tritons
        self.fleet.keep({KEY: self.tritons})
        self.asker = Asker(self.fleet, self.suspicions.append, hedging=hedging, budget=budget)
        self.faults: dict[str, GatewayError] = {}
        self.held: set[str] = set()
        self.asked: Counter[str] = Counter()
        self.cancelled: Counter[str] = Counter()

    async def send(self, client: Any) -> str:
        self.asked[client.target] += 1
        try:
            if client.target in self.held:
                await asyncio.Event().wait()
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            self.cancelled[client.target] += 1
            raise
        if client.target in self.faults:
            raise self.faults[client.target]
        return f"answer of {client.target}"

    async def ask(self, end: float = FOREVER) -> str:
        return await self.asker.ask(KEY, lambda: self.serving, self.send, end)  # type: ignore[arg-type, return-value]

    def readings(self) -> dict[tuple[str, ...], float]:
        return {(one.instrument.name, *one.labels): one.value for one in self.asker.readings()}


@pytest.mark.parametrize("fault", [RESET, SENSELESS], ids=["unreachable", "senseless"])
async def test_what_one_triton_does_not_answer_another_does(fault: GatewayError) -> None:
    bench = Bench(3)
    bench.faults = {"t:0": fault, "t:1": fault}
    answers = {await bench.ask() for _ in range(10)}
    assert answers == {"answer of t:2"}


@pytest.mark.parametrize(
    "fault",
    [REFUSED, DeadlineExceeded(LINE), Overloaded(LINE)],
    ids=["refused", "late", "full"],
)
async def test_what_another_would_not_answer_either_is_asked_once(fault: GatewayError) -> None:
    bench = Bench(3)
    bench.faults = {triton.target: fault for triton in bench.tritons}
    with pytest.raises(type(fault)):
        await bench.ask()
    assert bench.asked.total() == 1


async def test_nobody_is_asked_more_than_a_few_times() -> None:
    bench = Bench(9)
    bench.faults = {triton.target: RESET for triton in bench.tritons}
    with pytest.raises(ModelUnavailable):
        await bench.ask()
    assert bench.asked.total() == ATTEMPTS
    assert max(bench.asked.values()) == 1


async def test_the_only_triton_is_asked_a_second_time_after_a_lost_connection() -> None:
    bench = Bench(1)
    bench.faults = {"t:0": RESET}
    with pytest.raises(ModelUnavailable):
        await bench.ask()
    assert bench.asked == {"t:0": 2}


async def test_retries_end_with_their_budget() -> None:
    bench = Bench(2, budget=RetryBudget(share=0.1, most=3))
    bench.faults = {triton.target: RESET for triton in bench.tritons}
    for _ in range(20):
        with pytest.raises(ModelUnavailable):
            await bench.ask()
    # Three that were kept, and a tenth of twenty.
    assert bench.asked.total() - 20 in (4, 5)
    readings = bench.readings()
    assert readings["trident.triton.retries", "made"] == bench.asked.total() - 20
    assert readings["trident.triton.retries", "over_budget"] > 0


async def test_what_was_earned_is_kept_only_up_to_a_limit() -> None:
    budget = RetryBudget(share=1, most=2)
    for _ in range(100):
        budget.earn()
    assert [budget.take() for _ in range(3)] == [True, True, False]


async def test_nobody_is_asked_again_after_the_deadline() -> None:
    bench = Bench(3)
    bench.faults = {triton.target: RESET for triton in bench.tritons}
    with pytest.raises(ModelUnavailable):
        await bench.ask(end=0)
    assert bench.asked.total() == 1


async def test_the_failure_is_told_if_all_are_gone_meanwhile() -> None:
    bench = Bench(2)
    bench.faults = {triton.target: RESET for triton in bench.tritons}
    calls = 0

    def serving() -> Any:
        nonlocal calls
        calls += 1
        if calls > 1:
            raise ModelUnavailable(LINE, "not loaded anywhere")
        return bench.tritons

    with pytest.raises(ModelUnavailable, match="gone"):
        await bench.asker.ask(KEY, serving, bench.send, FOREVER)  # type: ignore[arg-type]


async def test_a_triton_that_keeps_failing_is_suspected_with_what_it_said() -> None:
    bench = Bench(2)
    bench.faults = {"t:0": RESET}
    for _ in range(12):
        await bench.ask()
    suspicion = bench.suspicions[0]
    assert suspicion.client is bench.tritons[0]
    assert suspicion.kind == UNREACHABLE
    assert suspicion.why.endswith("because reset")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (RESET, UNREACHABLE),
        (SENSELESS, WRONG),
        (NO_MESSAGE, WRONG),
        (REFUSED, REFUSES),
        (DeadlineExceeded(LINE), None),
    ],
)
def test_what_a_failure_says_of_triton(error: GatewayError, kind: str | None) -> None:
    assert blame(error) == kind


async def learn(bench: Bench) -> None:
    """Have all Tritons answer often enough to be known."""
    for triton in bench.tritons:
        bench.serving = [triton]
        for _ in range(6):
            await bench.ask()
    bench.serving = bench.tritons
    bench.asked.clear()


async def test_where_the_first_is_late_a_second_is_asked_and_the_first_called_off() -> None:
    bench = Bench(2, hedging=True)
    await learn(bench)
    bench.held = {"t:0"}
    answers = [await asyncio.wait_for(bench.ask(), 5) for _ in range(4)]
    assert set(answers) == {"answer of t:1"}
    assert bench.cancelled["t:0"] == bench.asked["t:0"] > 0
    assert bench.readings()["trident.triton.hedges",] == bench.asked["t:0"]


async def test_nobody_is_asked_twice_who_answers_in_time() -> None:
    bench = Bench(2, hedging=True)
    await learn(bench)

    async def send(client: Any) -> str:
        bench.asked[client.target] += 1
        return "at once"

    assert await bench.asker.ask(KEY, lambda: bench.tritons, send, FOREVER) == "at once"  # type: ignore[arg-type, return-value]
    assert bench.asked.total() == 1


async def test_a_hedge_is_no_way_around_the_budget() -> None:
    bench = Bench(2, hedging=True, budget=RetryBudget(share=0, most=0))
    await learn(bench)
    bench.held = {"t:0", "t:1"}
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(bench.ask(), 0.1)
    assert bench.asked.total() == 1


async def test_when_both_fail_the_first_failure_is_told() -> None:
    bench = Bench(2, hedging=True)
    await learn(bench)
    bench.faults = {triton.target: REFUSED for triton in bench.tritons}
    with pytest.raises(ModelContractBroken):
        await bench.ask()
