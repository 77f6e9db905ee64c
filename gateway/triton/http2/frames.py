"""The frames of HTTP/2 (RFC 9113 §4 and §6), as bytes."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA = 0x0
HEADERS = 0x1
RST_STREAM = 0x3
SETTINGS = 0x4
PING = 0x6
GOAWAY = 0x7
WINDOW_UPDATE = 0x8
CONTINUATION = 0x9

END_STREAM = 0x1
ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
PRIORITY = 0x20

SETTINGS_HEADER_TABLE_SIZE = 0x1
SETTINGS_ENABLE_PUSH = 0x2
SETTINGS_MAX_CONCURRENT_STREAMS = 0x3
SETTINGS_INITIAL_WINDOW_SIZE = 0x4
SETTINGS_MAX_FRAME_SIZE = 0x5

NO_ERROR = 0x0
REFUSED_STREAM = 0x7
CANCEL = 0x8
ENHANCE_YOUR_CALM = 0xB
INADEQUATE_SECURITY = 0xC

HEADER_BYTES = 9
LARGEST_WINDOW = 2**31 - 1
DEFAULT_WINDOW = 65_535
DEFAULT_FRAME_SIZE = 16_384

_HEAD = struct.Struct(">HBBBL")  # length (16 + 8 bits), type, flags, stream
_SETTING = struct.Struct(">HL")
_NUMBER = struct.Struct(">L")


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Return one frame."""
    size = len(payload)
    return _HEAD.pack(size >> 8, size & 0xFF, kind, flags, stream) + payload


def head_of(buffer: bytes | bytearray | memoryview, place: int) -> tuple[int, int, int, int]:
    """Return length, type, flags and stream of the frame that begins at ``place``."""
    high, low, kind, flags, stream = _HEAD.unpack_from(buffer, place)
    return high << 8 | low, kind, flags, stream & 0x7FFFFFFF


def settings_frame(settings: Mapping[int, int]) -> bytes:
    """Return a SETTINGS frame."""
    return frame(SETTINGS, 0, 0, b"".join(_SETTING.pack(*one) for one in settings.items()))


def settings_of(payload: bytes) -> Iterator[tuple[int, int]]:
    """Give each setting of a SETTINGS frame.

    Raises:
        ValueError: If the payload is none.
    """
    if len(payload) % _SETTING.size:
        raise ValueError("a SETTINGS frame of a broken size")
    yield from _SETTING.iter_unpack(payload)


def number_frame(kind: int, stream: int, number: int) -> bytes:
    """Return a frame that is one number: RST_STREAM or WINDOW_UPDATE."""
    return frame(kind, 0, stream, _NUMBER.pack(number))


def number_of(payload: bytes) -> int:
    """Return the first number of a payload.

    Raises:
        ValueError: If it is too short.
    """
    if len(payload) < _NUMBER.size:
        raise ValueError("a frame that is too short")
    number: int = _NUMBER.unpack_from(payload)[0]
    return number


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

    Raises:
        ValueError: If there is more padding than payload.
    """
    start, end = 0, len(payload)
    if flags & PADDED:
        start, end = 1, end - payload[0] if payload else -1
    if flags & PRIORITY:
        start += 5
    if start > end:
        raise ValueError("a frame that is all padding")
    return payload[start:end]


def literal_headers(headers: Mapping[str, str]) -> bytes:
    """Return headers in HPACK as plain literals that no table remembers (RFC 7541 §6.2.2)."""
    return b"".join(
        b"\0" + _text(name.encode("ascii")) + _text(value.encode("utf-8"))
        for name, value in headers.items()
    )


def _text(text: bytes) -> bytes:
    size = len(text)
    if size < 0x7F:
        return bytes((size,)) + text
    size -= 0x7F
    prefix = bytearray(b"\x7f")
    while size >= 0x80:
        prefix.append(size & 0x7F | 0x80)
        size >>= 7
    prefix.append(size)
    return bytes(prefix) + text
