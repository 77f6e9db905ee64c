"""Request bodies go out as the server's windows and the socket allow (RFC 9113 §5.2)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable

from gateway.triton.http2 import errors, frames
from gateway.triton.http2.errors import BrokenProtocol
from gateway.triton.http2.stream import Stream, StreamFault

_BATCH_BYTES = 2**18
"""A large body goes out in pieces of this size, in turns with others."""


class Sender:
    """Sends the bodies of all streams of one connection.

    Args:
        write: Gives bytes to the socket.
    """

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write
        self._window = self._stream_window = frames.DEFAULT_WINDOW
        self._unsent: OrderedDict[Stream, None] = OrderedDict()
        """Streams that have something to send and may, but for the connection or the socket."""
        self.frame_size = frames.DEFAULT_FRAME_SIZE
        self.paused = False
        """Whether the socket takes no more for now."""

    def begin(self, stream: Stream) -> None:
        """Send the head of a request, and of its body what can be sent."""
        stream.window = self._stream_window
        size, head = len(stream.body), stream.head
        if size > self.frame_size or size > self._window or size > stream.window:
            self._send(stream, frames.header_frames(stream.number, head, self.frame_size))
            return
        # By far the most calls: one write.
        self._window -= size
        stream.sent = size
        self._write(
            frames.header_frames(stream.number, head, self.frame_size)
            + frames.frame_head(frames.DATA, frames.END_STREAM, stream.number, size)
            + stream.body
        )

    def send_next(self) -> bool:
        """Send a piece of the body whose turn it is; return whether there was one."""
        if self.paused or self._window <= 0 or not self._unsent:
            return False
        stream, _ = self._unsent.popitem(last=False)
        self._send(stream, b"")
        return True

    def drop(self, stream: Stream) -> None:
        """Send no more of a body."""
        self._unsent.pop(stream, None)
        stream.sent = len(stream.body)

    def widen(self, increment: int) -> None:
        """Take a WINDOW_UPDATE of the connection.

        Raises:
            BrokenProtocol: If no window can be so wide, or it is not wider.
        """
        if not increment:
            raise BrokenProtocol(frames.PROTOCOL_ERROR, "a window wider by nothing")
        self._window += increment
        if self._window > frames.LARGEST_NUMBER:
            raise BrokenProtocol(frames.FLOW_CONTROL_ERROR, "a window that is too wide")

    def widen_stream(self, stream: Stream, increment: int) -> None:
        """Take a WINDOW_UPDATE of a stream.

        Raises:
            StreamFault: If no window can be so wide, or it is not wider.
        """
        if not increment:
            raise StreamFault(errors.internal("The server made a window wider by nothing"))
        stream.window += increment
        if stream.window > frames.LARGEST_NUMBER:
            failure = errors.internal("The server made a window too wide")
            raise StreamFault(failure, frames.FLOW_CONTROL_ERROR)
        self._queue(stream)

    def change_windows(self, size: int, streams: Iterable[Stream]) -> None:
        """Take another initial window; those in use change by the difference, even below zero.

        Raises:
            BrokenProtocol: If a window would be too wide.
        """
        change = size - self._stream_window
        self._stream_window = size
        for stream in streams:
            stream.window += change
            if stream.window > frames.LARGEST_NUMBER:
                raise BrokenProtocol(frames.FLOW_CONTROL_ERROR, "a window that is too wide")
            self._queue(stream)

    def _queue(self, stream: Stream) -> None:
        if stream.window > 0 and stream.sent < len(stream.body):
            self._unsent.setdefault(stream)

    def _send(self, stream: Stream, before: bytes) -> None:
        body = memoryview(stream.body)
        place = stream.sent
        size = max(0, min(len(body) - place, self._window, stream.window, _BATCH_BYTES))
        out: list[bytes | memoryview] = [before]
        stop = place + size
        while place < stop:
            piece = body[place : min(place + self.frame_size, stop)]
            place += len(piece)
            flags = frames.END_STREAM if place == len(body) else 0
            out += frames.frame_head(frames.DATA, flags, stream.number, len(piece)), piece
        stream.sent = stop
        stream.window -= size
        self._window -= size
        self._queue(stream)
        self._write(b"".join(out))
