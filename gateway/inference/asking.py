"""Asks one of several Tritons, and another one where that did not answer."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import TypeVar

from gateway.errors import GatewayError, ModelUnavailable
from gateway.inference.fleet import Fleet, Key
from gateway.inference.retrying import ATTEMPTS, RetryBudget, pause_s
from gateway.telemetry.metrics.instruments import HEDGES, RETRIES, TRITON_ACTIVE
from gateway.telemetry.metrics.readings import Reading
from gateway.triton.client import TritonClient
from gateway.triton.verdicts import Suspicion, blame, may_be_asked_elsewhere, reason_of

AnswerT = TypeVar("AnswerT")
Send = Callable[[TritonClient], Awaitable[AnswerT]]


class Asker:
    """Makes the attempts of inferences.

    Args:
        fleet: Chooses and judges.
        suspect: Is told of a Triton that does badly.
        hedging: Whether a second Triton is asked where the first is late, and the first answer
            taken.
        budget: Bounds what is asked twice.
    """

    def __init__(
        self,
        fleet: Fleet,
        suspect: Callable[[Suspicion], None],
        *,
        hedging: bool = False,
        budget: RetryBudget | None = None,
    ) -> None:
        self._fleet = fleet
        self._suspect = suspect
        self._hedging = hedging
        self._budget = budget or RetryBudget()
        self._chance = random.Random()
        self._hedged = 0

    def readings(self) -> Iterator[Reading]:
        """Yield what was asked twice, and what each Triton has under way."""
        yield Reading(RETRIES, ("made",), self._budget.spent - self._hedged)
        yield Reading(RETRIES, ("over_budget",), self._budget.refused)
        yield Reading(HEDGES, (), self._hedged)
        for target, count in self._fleet.outstanding():
            yield Reading(TRITON_ACTIVE, (target,), count)

    async def ask(
        self,
        key: Key,
        serving: Callable[[], Sequence[TritonClient]],
        send: Send[AnswerT],
        end: float,
        rows: int = 1,
    ) -> AnswerT:
        """Return the answer to one inference.

        Args:
            key: The release.
            serving: Gives who can be asked for it now; raises where nobody can.
            send: Asks one.
            end: The time (``time.monotonic``) after which nobody wants the answer.
            rows: Its size: what is large may take long.

        Raises:
            GatewayError: What the last attempt raised.
        """
        self._budget.earn()
        tried: list[TritonClient] = []
        clients = serving()
        while True:
            client = self._fleet.choose(key, clients, tried)
            try:
                if self._hedging and len(clients) > 1 and not tried:
                    return await self._hedge(key, client, clients, send, rows)
                return await self._once(key, client, send, rows)
            except GatewayError as error:
                tried.append(client)
                again = await self._another(error, tried, serving, end)
                if again is None:
                    raise
                clients = again

    async def _another(
        self,
        error: GatewayError,
        tried: Sequence[TritonClient],
        serving: Callable[[], Sequence[TritonClient]],
        end: float,
    ) -> Sequence[TritonClient] | None:
        """Return who may be asked after a failure; ``None``: nobody, it is final."""
        if not may_be_asked_elsewhere(error) or len(tried) >= ATTEMPTS:
            return None
        try:
            clients = serving()
        except ModelUnavailable:
            return None
        if all(client in tried for client in clients):
            if len(tried) > 1:
                return None
            pause = pause_s(self._chance)
        else:
            pause = 0.0
        if time.monotonic() + pause >= end or not self._budget.take():
            return None
        if pause:  # its connection was lost; the next one may be good
            await asyncio.sleep(pause)
        return clients

    async def _once(
        self, key: Key, client: TritonClient, send: Send[AnswerT], rows: int
    ) -> AnswerT:
        attempt = self._fleet.begin(client, key, rows)
        try:
            answer = await send(client)
        except BaseException as error:
            kind = blame(error)
            self._fleet.end(client, attempt, kind, answered=False)
            if kind is not None:
                suspicion = self._fleet.suspicion(client, key, kind, reason_of(error))
                if suspicion is not None:
                    self._suspect(suspicion)
            raise
        self._fleet.end(client, attempt, None, answered=True)
        return answer

    async def _hedge(
        self,
        key: Key,
        client: TritonClient,
        clients: Sequence[TritonClient],
        send: Send[AnswerT],
        rows: int,
    ) -> AnswerT:
        """Ask one, and if it takes longer than nearly all do, a second one too."""
        usual_s = self._fleet.usual_s(key)
        if not usual_s:
            return await self._once(key, client, send, rows)
        tasks = [asyncio.ensure_future(self._once(key, client, send, rows))]
        try:
            await asyncio.wait(tasks, timeout=usual_s)
            if not tasks[0].done() and self._budget.take():
                self._hedged += 1
                other = self._fleet.choose(key, clients, (client,))
                tasks.append(asyncio.ensure_future(self._once(key, other, send, rows)))
            return await _first_answer(tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _first_answer(tasks: Sequence[asyncio.Future[AnswerT]]) -> AnswerT:
    """Return the first answer; if there is none, raise what the first one raised."""
    left = set(tasks)
    while left:
        done, left = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            if not task.cancelled() and task.exception() is None:
                return task.result()
    return tasks[0].result()
