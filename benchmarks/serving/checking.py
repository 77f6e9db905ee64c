"""The second client: asks like any other, and compares every answer, also while load is on."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType

import grpc

from benchmarks.serving.exchanges import Exchange, WrongAnswer

_TIMEOUT_S = 30
_OPTIONS = (("grpc.max_receive_message_length", -1), ("grpc.use_local_subchannel_pool", 1))

Unreachable = (grpc.RpcError, OSError, http.client.HTTPException)


@dataclass
class Watched:
    """What was seen while load was on."""

    answers: int = 0
    wrong: list[str] = field(default_factory=list)


class Checker:
    """A client of one server that knows the right answers."""

    def __init__(self, address: str, exchange: Exchange) -> None:
        self._address = address
        self._exchange = exchange
        self._channel = grpc.insecure_channel(address, _OPTIONS)

    def ask(self, turn: int) -> int:
        """Ask once, compare, and return the bytes of the body that came back.

        Raises:
            WrongAnswer: If it is not what ONNX Runtime gives.
            grpc.RpcError, OSError, http.client.HTTPException: If there is no answer.
        """
        replies = self._replies(turn)
        self._exchange.check(turn, replies)
        frames = 0 if self._exchange.wire == "http" else 5 * len(replies)
        return sum(map(len, replies)) + frames

    def wait_right(self, timeout_s: float = 60) -> None:
        """Ask until the answer is right.

        Raises:
            The last fault, if it never was.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                self.ask(0)
                return
            except (WrongAnswer, *Unreachable):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    @contextmanager
    def watching(self, pause_s: float) -> Iterator[Watched]:
        """Ask again and again from a thread, with pauses."""
        watched, over = Watched(), threading.Event()

        def watch() -> None:
            turn = 0
            while not over.wait(pause_s):
                try:
                    self.ask(turn % len(self._exchange.bodies))
                    watched.answers += 1
                except (WrongAnswer, *Unreachable) as error:
                    watched.wrong.append(f"turn {turn}: {error}"[:500])
                turn += 1

        thread = threading.Thread(target=watch, name="checking", daemon=True)
        thread.start()
        try:
            yield watched
        finally:
            over.set()
            thread.join()

    def __enter__(self) -> Checker:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._channel.close()

    def _replies(self, turn: int) -> list[bytes]:
        messages = self._exchange.messages(turn)
        if self._exchange.wire == "http":
            return [self._post(messages[0])]
        if self._exchange.wire == "unary":
            return [self._channel.unary_unary(self._exchange.path)(messages[0], _TIMEOUT_S)]
        replies = self._channel.stream_stream(self._exchange.path)(iter(messages), _TIMEOUT_S)
        return list(replies)

    def _post(self, body: bytes) -> bytes:
        connection = http.client.HTTPConnection(self._address, timeout=_TIMEOUT_S)
        try:
            headers = {"content-type": "application/json"}
            connection.request("POST", self._exchange.path, body, headers)
            response = connection.getresponse()
            content = response.read()
        finally:
            connection.close()
        if response.status != 200:
            raise WrongAnswer(f"status {response.status}: {content[:300]!r}")
        return content
