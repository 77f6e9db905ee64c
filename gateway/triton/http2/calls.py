"""The calls of one connection: how they begin, how they wait, how they end."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable

from gateway.triton.http2 import errors, frames, headers
from gateway.triton.http2.errors import BrokenProtocol, CallFailed
from gateway.triton.http2.sending import Sender
from gateway.triton.http2.stream import PREFIX, Stream, StreamFault


class Calls:
    """What is in flight, and what waits for a stream.

    Args:
        loop: Makes futures and tells the time.
        write: Gives bytes to the socket.
        drained: Told that no call is left, once none can be begun any more.
        limit: The largest message that is taken, in bytes.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        write: Callable[[bytes], None],
        drained: Callable[[], None],
        limit: int,
    ) -> None:
        self._loop = loop
        self._write = write
        self._drained = drained
        self._limit = limit
        self._in_flight: dict[int, Stream] = {}
        self._waiting: OrderedDict[Stream, None] = OrderedDict()
        """Calls that the server allows no stream yet, or the socket no more bytes."""
        self._next_number = 1
        self._first_block = headers.NO_TABLE
        self.sender = Sender(write)
        self.max_streams = frames.LARGEST_NUMBER
        self.open = False
        """Whether calls can be begun."""
        self.failure = "the connection is not made yet"
        """Why they cannot."""

    @property
    def busy(self) -> bool:
        """Whether the server owes an answer."""
        return bool(self._in_flight)

    def start(
        self, head: bytes, message: bytes, timeout_s: float | None, *, cancels: bool = True
    ) -> asyncio.Future[bytes]:
        """Begin a call, now or when it can be.

        Args:
            head: The header block.
            message: The request's message.
            timeout_s: Time that the call has.
            cancels: Whether the server is told if nobody waits any more; else its answer, when it
                comes, is thrown away.
        """
        future: asyncio.Future[bytes] = self._loop.create_future()
        if not self.open:
            future.set_exception(errors.unavailable(self.failure))
            return future
        if timeout_s is not None and timeout_s <= 0:
            future.set_exception(errors.deadline_exceeded())
            return future
        body = PREFIX.pack(0, len(message)) + message
        stream = Stream(future, head, body, self._limit, cancels=cancels)
        if timeout_s is not None:
            stream.timer = self._loop.call_later(timeout_s, self._leave, stream)
        future.add_done_callback(lambda done: self._leave(stream) if done.cancelled() else None)
        if self._waiting or not self._may_begin():
            self._waiting[stream] = None
        else:
            self._begin(stream)
            if stream.sent < len(stream.body):
                self.pump()
        return future

    def find(self, number: int) -> Stream | None:
        """Return the call of a stream, if it is not over.

        Raises:
            BrokenProtocol: If it was never begun.
        """
        stream = self._in_flight.get(number)
        if stream is None and (number >= self._next_number or not number & 1):
            what = f"a frame on stream {number}, which was never begun"
            raise BrokenProtocol(frames.PROTOCOL_ERROR, what)
        return stream

    def pump(self) -> None:
        """Begin and send what can be now, calls and pieces of large bodies in turns."""
        while self._begin_next() | self.sender.send_next():
            pass

    def change_windows(self, size: int) -> None:
        """Take another initial window from the server."""
        self.sender.change_windows(size, self._in_flight.values())

    def over(
        self, stream: Stream, outcome: bytes | CallFailed, error_code: int | None = None
    ) -> None:
        """End a call: free its stream, and tell the caller.

        Args:
            stream: Of the call.
            outcome: What the caller gets.
            error_code: What the server is told; ``None``: it knows.
        """
        if self._in_flight.pop(stream.number, None) is None:
            self._waiting.pop(stream, None)
        else:
            if stream.sent < len(stream.body):
                self.sender.drop(stream)
                # The server has answered before it had it all: it need not wait for the rest.
                error_code = frames.CANCEL if error_code is None else error_code
            if error_code is not None:
                self._write(frames.number_frame(frames.RST_STREAM, stream.number, error_code))
        _tell(stream, outcome)
        if self._waiting:
            self.pump()
        if not self.open and not self._in_flight:
            self._drained()

    def fail(self, stream: Stream, fault: StreamFault) -> None:
        """End a call whose answer is broken."""
        self.over(stream, fault.failure, fault.error_code)

    def reset(self, stream: Stream, error_code: int) -> None:
        """End a call that the server has given up."""
        timer = stream.timer
        late = timer is not None and timer.when() <= self._loop.time()
        # The server's clock may be the first to say that the time is over.
        if late and error_code == frames.CANCEL:
            failure = errors.deadline_exceeded()
        else:
            failure = errors.reset(error_code)
        stream.sent = len(stream.body)
        self.over(stream, failure)

    def stop_new(self, failure: str, last: int = frames.LARGEST_NUMBER) -> None:
        """Begin no more calls, and fail those that the server will not answer.

        Args:
            failure: What callers are told.
            last: The last stream that it will.
        """
        self.open = False
        self.failure = failure
        waiting, self._waiting = self._waiting, OrderedDict()
        unseen = [stream for number, stream in self._in_flight.items() if number > last]
        for stream in (*waiting, *unseen):
            self.sender.drop(stream)
            self.over(stream, errors.unavailable(failure))
        if not self._in_flight:
            self._drained()

    def end(self, failure: str) -> None:
        """Fail all calls; there is no connection any more."""
        self.open = False
        self.failure = failure
        streams = [*self._in_flight.values(), *self._waiting]
        self._in_flight.clear()
        self._waiting.clear()
        for stream in streams:
            _tell(stream, errors.unavailable(failure))

    def _may_begin(self) -> bool:
        return not self.sender.paused and len(self._in_flight) < self.max_streams

    def _begin_next(self) -> bool:
        if not self._waiting or not self._may_begin():
            return False
        stream, _ = self._waiting.popitem(last=False)
        self._begin(stream)
        return True

    def _begin(self, stream: Stream) -> None:
        stream.number = self._next_number
        self._in_flight[stream.number] = stream
        self._next_number += 2
        if self._first_block:
            stream.head, self._first_block = self._first_block + stream.head, b""
        self.sender.begin(stream)
        if self._next_number > frames.LARGEST_NUMBER:
            self.stop_new("no stream is left on the connection")

    def _leave(self, stream: Stream) -> None:
        """Wait for an answer no more, and tell the server if it bears that."""
        if stream.cancels or not stream.number or stream.sent < len(stream.body):
            self.over(stream, errors.deadline_exceeded(), frames.CANCEL)
        else:  # the stream stays taken: the server is at work on it
            _tell(stream, errors.deadline_exceeded())


def _tell(stream: Stream, outcome: bytes | CallFailed) -> None:
    """Give the caller an outcome, unless it has one or waits no more."""
    if stream.timer is not None:
        stream.timer.cancel()
    if stream.future.done():
        return
    if isinstance(outcome, bytes):
        stream.future.set_result(outcome)
    else:
        stream.future.set_exception(outcome)
