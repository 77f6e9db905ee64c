"""The frames of HTTP/2 (RFC 9113 §4 and §6), as bytes."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import Final

from gateway.triton.http2.errors import BrokenProtocol

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA: Final = 0x0
HEADERS: Final = 0x1
PRIORITY: Final = 0x2
RST_STREAM: Final = 0x3
SETTINGS: Final = 0x4
PUSH_PROMISE: Final = 0x5
PING: Final = 0x6
GOAWAY: Final = 0x7
WINDOW_UPDATE: Final = 0x8
CONTINUATION: Final = 0x9

END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
PRIORITY_FLAG: Final = 0x20

SETTINGS_HEADER_TABLE_SIZE: Final = 0x1
SETTINGS_ENABLE_PUSH: Final = 0x2
SETTINGS_MAX_CONCURRENT_STREAMS: Final = 0x3
SETTINGS_INITIAL_WINDOW_SIZE: Final = 0x4
SETTINGS_MAX_FRAME_SIZE: Final = 0x5
SETTINGS_MAX_HEADER_LIST_SIZE: Final = 0x6

NO_ERROR: Final = 0x0
PROTOCOL_ERROR: Final = 0x1
FLOW_CONTROL_ERROR: Final = 0x3
FRAME_SIZE_ERROR: Final = 0x6
REFUSED_STREAM: Final = 0x7
CANCEL: Final = 0x8
COMPRESSION_ERROR: Final = 0x9
ENHANCE_YOUR_CALM: Final = 0xB
INADEQUATE_SECURITY: Final = 0xC

HEADER_BYTES: Final = 9
LARGEST_NUMBER: Final = 2**31 - 1
"""Of a stream, and of a window."""
DEFAULT_WINDOW: Final = 65_535
DEFAULT_FRAME_SIZE: Final = 2**14
LARGEST_FRAME_SIZE: Final = 2**24 - 1

_HEAD = struct.Struct(">HBBBL")  # length (16 + 8 bits), type, flags, stream
_SETTING = struct.Struct(">HL")
_NUMBER = struct.Struct(">L")

_EXACT_SIZES = {PRIORITY: 5, RST_STREAM: 4, PING: 8, WINDOW_UPDATE: 4}
_OF_A_STREAM = frozenset({DATA, HEADERS, PRIORITY, RST_STREAM, CONTINUATION})
_OF_THE_CONNECTION = frozenset({SETTINGS, PING, GOAWAY})


def frame_head(kind: int, flags: int, stream: int, size: int) -> bytes:
    """Return what stands before a payload of ``size`` bytes."""
    return _HEAD.pack(size >> 8, size & 0xFF, kind, flags, stream)


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Return one frame."""
    return frame_head(kind, flags, stream, len(payload)) + payload


def head_of(buffer: bytes, place: int) -> tuple[int, int, int, int]:
    """Return length, type, flags and stream of the frame that begins at ``place``."""
    high, low, kind, flags, stream = _HEAD.unpack_from(buffer, place)
    return high << 8 | low, kind, flags, stream & LARGEST_NUMBER


def check(kind: int, flags: int, stream: int, size: int) -> None:
    """Check what RFC 9113 §6 asks of a frame by its type alone.

    Raises:
        BrokenProtocol: If the server must not send this.
    """
    if size != _EXACT_SIZES.get(kind, size) or (kind == GOAWAY and size < 8):
        raise BrokenProtocol(FRAME_SIZE_ERROR, f"a frame of type {kind} with {size} bytes")
    if kind == SETTINGS and (size % _SETTING.size or (flags & ACK and size)):
        raise BrokenProtocol(FRAME_SIZE_ERROR, f"a SETTINGS frame of {size} bytes")
    if kind in (_OF_THE_CONNECTION if stream else _OF_A_STREAM) or kind == PUSH_PROMISE:
        raise BrokenProtocol(PROTOCOL_ERROR, f"a frame of type {kind} on stream {stream}")


def settings_frame(settings: Mapping[int, int]) -> bytes:
    """Return a SETTINGS frame."""
    return frame(SETTINGS, 0, 0, b"".join(_SETTING.pack(*one) for one in settings.items()))


def settings_of(payload: bytes) -> Iterator[tuple[int, int]]:
    """Give each setting of a SETTINGS frame, checked.

    Raises:
        BrokenProtocol: If a value is not allowed.
    """
    for name, value in _SETTING.iter_unpack(payload):
        if name == SETTINGS_INITIAL_WINDOW_SIZE and value > LARGEST_NUMBER:
            raise BrokenProtocol(FLOW_CONTROL_ERROR, f"an initial window of {value} bytes")
        if name == SETTINGS_MAX_FRAME_SIZE and not (
            DEFAULT_FRAME_SIZE <= value <= LARGEST_FRAME_SIZE
        ):
            raise BrokenProtocol(PROTOCOL_ERROR, f"a largest frame of {value} bytes")
        if name == SETTINGS_ENABLE_PUSH and value:  # a server must not, RFC 9113 §6.5.2
            raise BrokenProtocol(PROTOCOL_ERROR, f"the setting ENABLE_PUSH of {value}")
        yield name, value


def number_frame(kind: int, stream: int, number: int) -> bytes:
    """Return a frame that is one number: RST_STREAM or WINDOW_UPDATE."""
    return frame(kind, 0, stream, _NUMBER.pack(number))


def number_of(payload: bytes, place: int = 0) -> int:
    """Return the number at a place of a payload."""
    number: int = _NUMBER.unpack_from(payload, place)[0]
    return number


def go_away_frame(error_code: int) -> bytes:
    """Return the farewell of a client, who has taken no stream of the server's."""
    return frame(GOAWAY, 0, 0, _NUMBER.pack(0) + _NUMBER.pack(error_code))


def header_frames(stream: int, block: bytes, size: int) -> bytes:
    """Return a header block as HEADERS and, if it is longer than ``size``, CONTINUATION."""
    if len(block) <= size:
        return frame(HEADERS, END_HEADERS, stream, block)
    pieces = [block[place : place + size] for place in range(0, len(block), size)]
    kinds = [HEADERS] + [CONTINUATION] * (len(pieces) - 1)
    flags = [0] * (len(pieces) - 1) + [END_HEADERS]
    return b"".join(
        frame(kind, flag, stream, piece)
        for kind, flag, piece in zip(kinds, flags, pieces, strict=True)
    )


def without_padding(flags: int, payload: bytes) -> bytes:
    """Return the payload of DATA or HEADERS without padding and priority.

    Args:
        flags: Of the frame, those that count for its type.
        payload: Of the frame.

    Raises:
        BrokenProtocol: If there is more padding than payload.
    """
    start, end = 0, len(payload)
    if flags & PADDED:
        start, end = 1, end - payload[0] if payload else -1
    if flags & PRIORITY_FLAG:
        start += 5
    if start > end:
        raise BrokenProtocol(PROTOCOL_ERROR, "a frame that is all padding")
    return payload[start:end]
