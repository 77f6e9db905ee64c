"""Work that would hold up the event loop, on a few threads of its own.

A few, because each can take hundreds of megabytes at a time. Pillow and NumPy let others run
meanwhile; reading the header of a DICOM file is plain Python and does not.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from gateway.domains.domain import Answer, Domain, RowRefused, SlowRow
from gateway.domains.validation import Violations
from gateway.errors import InvalidRequest, Overloaded
from gateway.inference.runner import ServedRelease
from trident.common.v1.served_by_pb2 import ServedBy

Result = TypeVar("Result")

_MAX_THREADS = 4
_FEW_ROWS = 16
"""More are made elsewhere, even if each is quick."""
MAX_WAITING = 1024
"""Pieces of work that wait or run; one more is refused."""
MAX_ANSWER_BYTES = 64 * 1024 * 1024
"""Of what is written slowly for one call: pictures over large images may be many times as large as
what was sent."""


class SlowWork:
    """Runs functions on threads, a bounded number of them at a time."""

    def __init__(
        self, max_waiting: int = MAX_WAITING, max_answer_bytes: int = MAX_ANSWER_BYTES
    ) -> None:
        self._max_waiting = max_waiting
        self._max_answer_bytes = max_answer_bytes
        self._waiting = 0
        self._pool = ThreadPoolExecutor(
            min(_MAX_THREADS, os.cpu_count() or 1), thread_name_prefix="slow-work"
        )

    async def run(self, work: Callable[[], Result], line: str) -> Result:
        """Return what a function returns.

        Raises:
            Overloaded: If too much waits already.
        """
        if self._waiting >= self._max_waiting:
            raise Overloaded(line, self._max_waiting)
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._waiting -= 1

    async def responses(
        self,
        domain: Domain[Any, Any],
        answer: Answer,
        requests: Sequence[Any],
        release: ServedRelease,
        served_by: ServedBy | None = None,
    ) -> list[Any]:
        """Return the responses that a domain makes of an answer, one for each request.

        What takes long is written in pieces: calls that came later need not wait for all of them,
        and where the call has ended, the next one is not begun.

        Raises:
            InvalidRequest: If so much is written that no message could hold it.
            ModelContractBroken: If the answer is not what was asked for.
            Overloaded: If it takes long, and too much waits already.
        """
        by = served(release) if served_by is None else served_by

        def write(some: Answer, asked: Sequence[Any]) -> list[Any]:
            return domain.tensors_to_responses(some, asked, release.manifest, by)

        if not domain.slow_to_write(answer, requests):
            return write(answer, requests)
        written: list[Any] = []
        left = self._max_answer_bytes
        for begin in range(0, len(requests), _FEW_ROWS):
            # The last piece takes what is over, too: an answer of too many rows is no answer.
            end = begin + _FEW_ROWS if begin + _FEW_ROWS < len(requests) else None
            some = {name: values[begin:end] for name, values in answer.items()}
            written += await self.run(partial(write, some, requests[begin:end]), release.line)
            left -= sum(response.ByteSize() for response in written[begin:])
            if left < 0:
                raise InvalidRequest({"requests": _too_much(self._max_answer_bytes)})
        return written

    async def made(self, rows: Sequence[Any], prefixes: Sequence[str], line: str) -> list[Any]:
        """Return rows with those made that were slow.

        Args:
            rows: What a domain made of requests.
            prefixes: The path of each one's message.
            line: Whose they are.

        Raises:
            InvalidRequest: With every row that cannot be made.
            Overloaded: If too much waits already.
        """
        if not any(isinstance(row, SlowRow) for row in rows):
            return list(rows)

        few = len(rows) <= _FEW_ROWS

        async def make(some: Sequence[Any]) -> list[Any]:
            if all(not isinstance(row, SlowRow) or (few and row.quick) for row in some):
                return _made(some)
            return await self.run(partial(_made, some), line)

        # A piece of work for each row of a few; for many, pieces that are worth a thread.
        size = 1 if few else _FEW_ROWS
        parts = [rows[start : start + size] for start in range(0, len(rows), size)]
        made = [row for part in await asyncio.gather(*map(make, parts)) for row in part]
        violations = Violations()
        for row, prefix in zip(made, prefixes, strict=True):
            if isinstance(row, RowRefused):
                violations.below(prefix).add(row.path, row.text)
        violations.raise_if_any()
        return made


def _too_much(most: int) -> str:
    return f"have an answer of more than {most} bytes; ask for fewer explanations at once"


def _made(rows: Sequence[Any]) -> list[Any]:
    """Return rows that are made, and in the place of each that cannot be why."""

    def make(row: Any) -> Any:
        try:
            return row.made() if isinstance(row, SlowRow) else row
        except RowRefused as error:
            return error

    return [make(row) for row in rows]


def served(release: ServedRelease) -> ServedBy:
    """Return what an answer says of who made it."""
    return ServedBy(line=release.line, release=release.release, variant=release.variant)
