"""The chunks of a PNG, by their headers alone: what can be told before anything is unpacked."""

from __future__ import annotations

from collections.abc import Iterator

START = b"\x89PNG\r\n\x1a\n"

_FRAME_BYTES = 12
"""Of each chunk beside its content: length, kind and checksum."""
_HEADER = slice(16, 24)
_FREE_CHUNKS = 256
_BYTES_OF_A_CHUNK = 1024
"""Chunks beyond the free ones must have so many bytes each in the middle; each costs time, however
empty it is."""
_PLAIN = frozenset(
    (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"gAMA", b"pHYs", b"sRGB", b"cHRM", b"sBIT")
)
"""Kinds that cost nothing beside the pixels: none has text, a profile or a frame to unpack."""


def is_whole(content: bytes) -> bool:
    """Say whether a PNG begins with its one header, ends with its one end, and has few chunks."""
    kinds: list[bytes] = []
    most = _FREE_CHUNKS + len(content) // _BYTES_OF_A_CHUNK
    for kind, end in _chunks(content):
        kinds.append(kind)
        if len(kinds) > most or end > len(content) or (kind == b"IHDR") != (len(kinds) == 1):
            return False
        if kind == b"IEND":
            return end == len(content)
    return False


def is_small(content: bytes, pixels: int, size: int) -> bool:
    """Say whether a whole PNG has few pixels and few bytes, and nothing else to unpack.

    Args:
        content: Whose first chunk is the header, or it is not small.
        pixels: That it may have.
        size: Bytes that it may have.
    """
    if len(content) > size or not is_whole(content):
        return False
    header = content[_HEADER]
    width, height = int.from_bytes(header[:4], "big"), int.from_bytes(header[4:], "big")
    return width * height <= pixels and all(kind in _PLAIN for kind, _ in _chunks(content))


def _chunks(content: bytes) -> Iterator[tuple[bytes, int]]:
    """Yield the kind of each chunk and where it ends, which may be behind the content."""
    place = len(START)
    while place + _FRAME_BYTES <= len(content):
        length = int.from_bytes(content[place : place + 4], "big")
        end = place + _FRAME_BYTES + length
        yield content[place + 4 : place + 8], end
        place = end
