"""Takes frames out of what the socket brings, however it is cut (RFC 9113 §4)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gateway.triton.http2 import frames
from gateway.triton.http2.errors import BrokenProtocol

FRAME_SIZE = frames.DEFAULT_FRAME_SIZE
"""The largest frame that the server may send."""

_MOST_BLOCK_BYTES = 2**18
_MOST_BLOCK_PARTS = 64
"""Bounds of a header block before it is decoded; beyond them the server means no good."""

Taker = Callable[[int, int, bytes], None]
"""Takes the flags, the stream and the payload of a frame."""


class Receiver:
    """Gives each frame to who takes its type; header blocks are given whole, as HEADERS.

    Args:
        takers: By type of frame; other types are passed over (RFC 9113 §5.5).
    """

    def __init__(self, takers: Mapping[int, Taker]) -> None:
        self._takers = {**takers, frames.CONTINUATION: self._continuation}
        self._take_headers = takers[frames.HEADERS]
        self._takers[frames.HEADERS] = self._headers
        self._rest = bytearray()
        self._needed = 0
        """Before ``_rest`` is this long, there is no whole frame in it."""
        self._must_come: int | None = frames.SETTINGS
        """The type that the next frame has to have; the server's first is its greeting."""
        self._block: list[bytes] = []
        self._block_bytes = 0
        self._block_of = (0, 0)
        self.stopped = False
        """Whether to take no more."""

    def receive(self, data: bytes) -> None:
        """Take the frames that are whole now, keep the rest.

        Raises:
            BrokenProtocol: If the server must not send this.
        """
        if self._rest:
            self._rest += data
            if len(self._rest) < self._needed:
                return
            data = bytes(self._rest)
            self._rest.clear()
        place, end = 0, len(data)
        self._needed = frames.HEADER_BYTES
        while end - place >= frames.HEADER_BYTES and not self.stopped:
            size, kind, flags, number = frames.head_of(data, place)
            if size > FRAME_SIZE:
                raise BrokenProtocol(frames.FRAME_SIZE_ERROR, f"a frame of {size} bytes")
            start = place + frames.HEADER_BYTES
            stop = start + size
            if stop > end:
                self._needed = stop - place
                break
            place = stop
            if self._must_come is not None:
                self._check_expected(kind, flags)
            if kind > frames.HEADERS:  # what streams of these two need is checked with the streams
                frames.check(kind, flags, number, size)
            take = self._takers.get(kind)
            if take is not None:
                take(flags, number, data[start:stop])
        if place < end:
            self._rest += data[place:]

    def _check_expected(self, kind: int, flags: int) -> None:
        if kind != self._must_come or (kind == frames.SETTINGS and flags & frames.ACK):
            what = f"a frame of type {kind} instead of {self._must_come}"
            raise BrokenProtocol(frames.PROTOCOL_ERROR, what)
        if kind == frames.SETTINGS:
            self._must_come = None

    def _headers(self, flags: int, number: int, payload: bytes) -> None:
        part = frames.without_padding(flags, payload)
        if flags & frames.END_HEADERS:
            self._take_headers(flags, number, part)
            return
        self._must_come = frames.CONTINUATION
        self._block_of = flags, number
        self._block_bytes = 0
        self._continue(part)

    def _continuation(self, flags: int, number: int, payload: bytes) -> None:
        if self._must_come != frames.CONTINUATION or self._block_of[1] != number:
            raise BrokenProtocol(frames.PROTOCOL_ERROR, "a continuation of nothing")
        self._continue(payload)
        if flags & frames.END_HEADERS:
            block = b"".join(self._block)
            self._block.clear()
            self._must_come = None
            self._take_headers(*self._block_of, block)

    def _continue(self, part: bytes) -> None:
        self._block.append(part)
        self._block_bytes += len(part)
        if len(self._block) > _MOST_BLOCK_PARTS or self._block_bytes > _MOST_BLOCK_BYTES:
            raise BrokenProtocol(frames.ENHANCE_YOUR_CALM, "headers without an end")
