"""From checked requests to responses: one, many at once, or as they come."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine, Iterable, Sequence
from contextlib import aclosing
from typing import Any

from gateway.domains.domain import Answer, ColumnDomain, Domain, SlowRow, Tensors
from gateway.domains.validation import Violations, check_count
from gateway.errors import GatewayError
from gateway.inference.caching import AnswerCache
from gateway.inference.runner import ModelRunner
from gateway.telemetry.metrics.readings import Reading
from gateway.telemetry.tracing import recorded
from gateway.transport.after_triton import AfterTriton
from gateway.transport.cache_key import cache_key
from gateway.transport.call import Call
from gateway.transport.choosing import Choosing, Group
from gateway.transport.companies import Batching, Companies
from gateway.transport.entrance import Entrance
from gateway.transport.slow_work import SlowWork, served
from gateway.transport.status import error_to_status
from gateway.transport.streaming import answers_as_they_come
from triton_models.signatures import MAX_BATCH_ROWS

MAX_OUTSTANDING = 64
"""Elements of one stream that are answered at a time; more are not even read."""


class Answering:
    """Answers the requests of a domain with the releases of a runner."""

    def __init__(
        self,
        runner: ModelRunner,
        max_outstanding: int = MAX_OUTSTANDING,
        batching: Batching | None = None,
        cache: AnswerCache[bytes] | None = None,
        entrance: Entrance | None = None,
    ) -> None:
        self._runner = runner
        self._entrance = entrance or Entrance()
        self._choosing = Choosing(runner)
        self._after = AfterTriton()
        self._cache = cache
        self._max_outstanding = max_outstanding
        self._work = SlowWork()
        self._companies = Companies(runner, batching or Batching(), self._work)

    def readings(self) -> Iterable[Reading]:
        """Return the metrics of the calls that wait, and of those that were not let in."""
        return (*self._companies.readings(), *self._entrance.readings())

    async def one(self, domain: Domain[Any, Any], request: Any, call: Call) -> Any:
        """Answer one request."""
        with self._entrance.letting_in(domain.NAME, call):
            return await self._single(domain, request, call, call.received_ns)

    async def batch(self, domain: Domain[Any, Any], requests: Sequence[Any], call: Call) -> Any:
        """Answer up to 1,000 requests in their order: all, or none."""
        violations = Violations()
        check_count(violations, "requests", requests, 1, MAX_BATCH_ROWS)
        violations.raise_if_any()
        recorded(call).set_attribute("trident.batch.size", len(requests))
        prefixes = [f"requests[{place}]." for place in range(len(requests))]
        with self._entrance.letting_in(domain.NAME, call, len(requests)):
            return await self._answer(domain, requests, prefixes, call)

    async def columns(self, domain: ColumnDomain, data: bytes, call: Call) -> bytes | None:
        """Answer a serialised batch whose columns can be read as they stand, without parsing it.

        ``None`` if it must be parsed, and answered with :meth:`batch`.
        """
        release = self._runner.only(domain.BATCH_LINE)
        if release is None:
            return None
        trace = recorded(call)
        # Before the rows are decoded, which may be many; only then it is known how many.
        with self._entrance.letting_in(domain.NAME, call, 0) as charge:
            tensors = domain.read_batch(data, release.manifest)
            if tensors is None:
                return None
            rows = len(next(iter(tensors.values())))
            charge(rows)
            trace.add_stage("decode", call.received_ns, time.time_ns())
            trace.set_release(release)
            trace.set_attribute("trident.batch.size", rows)
            answer = await self._runner.run(
                release,
                tensors,
                outputs=domain.PLAIN_OUTPUTS,
                timeout_s=self._time_for_triton(call, release.line),
                trace=trace.inference(rows),
                turn=self._entrance.turn(call),
            )
            back_ns = time.time_ns()
            response = domain.write_batch(answer, tensors, release.manifest, served(release))
        now_ns = time.time_ns()
        trace.add_stage("encode", back_ns, now_ns)
        self._after.took(release.line, (now_ns - back_ns) / 1e9)
        return response

    def _time_for_triton(self, call: Call, line: str) -> float | None:
        left_s = call.time_remaining()
        return None if left_s is None else self._after.less(line, left_s)

    async def stream(
        self,
        domain: Domain[Any, Any],
        elements: AsyncIterator[Any],
        response_type: Any,
        call: Call,
    ) -> AsyncIterator[Any]:
        """Answer the elements of a stream as they come, each on its own.

        At most ``max_outstanding`` are read and not yet taken by the client. A bad element
        becomes an error in the stream and does not end it.

        Args:
            domain: Whose requests they are.
            elements: Messages with the field ``request``, or the error of one that is none.
            response_type: The message with ``request_id``, ``response`` and ``error``.
            call: The stream.
        """

        async def answer(element: Any) -> Any:
            return await self._element(domain, element, response_type, call)

        async with aclosing(answers_as_they_come(elements, answer, self._max_outstanding)) as some:
            async for response in some:
                yield response

    async def _element(
        self, domain: Domain[Any, Any], element: Any, response_type: Any, call: Call
    ) -> Any:
        if isinstance(element, GatewayError):
            return response_type(error=error_to_status(element, call.method))
        request = element.request
        try:
            violations = Violations()
            if not request.request_id:
                violations.add("request_id", "must not be empty in a stream")
            with self._entrance.letting_in(domain.NAME, call):
                response = await self._single(domain, request, call, None, violations)
        except Exception as error:
            return response_type(
                request_id=request.request_id, error=error_to_status(error, call.method)
            )
        return response_type(request_id=request.request_id, response=response)

    async def _single(
        self,
        domain: Domain[Any, Any],
        request: Any,
        call: Call,
        start_ns: int | None,
        violations: Violations | None = None,
    ) -> Any:
        """Answer one request in company of those who ask the same release at the same time."""
        start_ns = start_ns or time.time_ns()
        try:
            release, row = self._choosing.one(domain, request, violations)
            if isinstance(row, SlowRow):
                (row,) = await self._work.made([row], [""], release.line)
        except Exception as error:
            recorded(call).add_stage("decode", start_ns, time.time_ns(), error)
            raise
        decoded_ns = time.time_ns()
        rank = self._entrance.rank(call)
        if self._cache is None:
            return await self._companies.ask(
                domain, release, request, row, call, rank, start_ns, decoded_ns
            )
        trace = recorded(call)
        trace.set_release(release)
        trace.add_stage("decode", start_ns, decoded_ns)

        async def ask() -> bytes:
            response = await self._companies.ask(
                domain, release, request, row, call, rank, decoded_ns=time.time_ns()
            )
            return response.SerializeToString()  # type: ignore[no-any-return]

        model = release.model_name
        kept = await self._cache.get(cache_key(model, request), ask, model=model, trace=trace)
        return domain.RESPONSE.FromString(kept)

    async def _answer(
        self,
        domain: Domain[Any, Any],
        requests: Sequence[Any],
        prefixes: Sequence[str],
        call: Call,
    ) -> list[Any]:
        """Check all, run one inference for each release, return the responses in order."""
        trace = recorded(call)
        try:
            groups = self._choosing.groups(domain, requests, prefixes, Violations())
            tensors = [await self._tensors(domain, requests, prefixes, group) for group in groups]
        except Exception as error:
            trace.add_stage("decode", call.received_ns, time.time_ns(), error)
            raise
        trace.add_stage("decode", call.received_ns, time.time_ns())
        for group in groups:
            trace.set_release(group.release)
        turn = self._entrance.turn(call)
        answers = await _all(
            self._runner.run(
                group.release,
                inputs,
                outputs=domain.wanted_outputs([requests[p] for p in group.places]),
                timeout_s=self._time_for_triton(call, group.release.line),
                trace=trace.inference(len(group.places)),
                turn=turn,
            )
            for group, inputs in zip(groups, tensors, strict=True)
        )
        start_ns = back_ns = time.time_ns()
        responses: list[Any] = [None] * len(requests)
        for group, answer in zip(groups, answers, strict=True):
            release = group.release
            made = await self._work.responses(
                domain, answer, [requests[p] for p in group.places], release
            )
            for place, response in zip(group.places, made, strict=True):
                responses[place] = response
            now_ns = time.time_ns()
            self._after.took(release.line, (now_ns - start_ns) / 1e9)
            start_ns = now_ns
        trace.add_stage("encode", back_ns, start_ns)
        return responses

    async def _tensors(
        self,
        domain: Domain[Any, Any],
        requests: Sequence[Any],
        prefixes: Sequence[str],
        group: Group,
    ) -> Tensors:
        release = group.release
        rows = [
            domain.row(requests[place], release.manifest) if row is None else row
            for place, row in zip(group.places, group.rows, strict=True)
        ]
        where = [prefixes[place] for place in group.places]
        return domain.rows_to_tensors(
            await self._work.made(rows, where, release.line), release.manifest
        )


async def _all(runs: Iterable[Coroutine[Any, Any, Answer]]) -> list[Answer]:
    """Return what all give; if one fails, the others are cancelled."""
    first, *others = runs
    if not others:
        return [await first]
    tasks = [asyncio.ensure_future(run) for run in (first, *others)]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
