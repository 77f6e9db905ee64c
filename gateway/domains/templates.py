"""Many messages of one shape, written at once.

Where responses differ only in some doubles, the first is made by protobuf with marks in their
places; the others are copies of its bytes with the numbers put in.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from google.protobuf.message import Message

_DOUBLE = struct.Struct("<d")
_BYTES = 2


class Template:
    """The bytes of an element of a repeated field, with ``D`` doubles left open.

    Args:
        number: Of the repeated field, in ``[1, 15]``.
        build: Makes the element's message, given its doubles. They must all be in it, none in a
            place where protobuf leaves something out because of their value; so 0 is no value
            for them.
        doubles: How many, ``D``.
    """

    def __init__(
        self, number: int, build: Callable[[Sequence[float]], Message], doubles: int
    ) -> None:
        marks = [_mark(place) for place in range(doubles)]
        message = build(marks).SerializeToString()
        element = bytes((number << 3 | _BYTES,)) + _varint(len(message)) + message
        self._bytes = np.frombuffer(element, np.uint8)
        self._places = [element.index(_DOUBLE.pack(mark)) for mark in marks]

    def fill(self, values: npt.NDArray[np.float64]) -> list[bytes]:
        """Return one element for each row of ``values``, ``(n, D)`` float64, none of them 0."""
        count, size = len(values), len(self._bytes)
        filled = np.empty((count, size), np.uint8)
        filled[:] = self._bytes
        doubles = np.ascontiguousarray(values, "<f8").view(np.uint8).reshape(count, -1, 8)
        for column, place in enumerate(self._places):
            filled[:, place : place + 8] = doubles[:, column]
        whole = filled.tobytes()
        return [whole[start : start + size] for start in range(0, count * size, size)]


def element(number: int, message: Message) -> bytes:
    """Return a message as an element of a repeated field with a number in ``[1, 15]``."""
    content = message.SerializeToString()
    return bytes((number << 3 | _BYTES,)) + _varint(len(content)) + content


def _mark(place: int) -> float:
    """Return a number whose bytes stand nowhere else."""
    # Random, once and for all; the last two bytes keep it a common number in [1, 2).
    head = bytes((0xD3, 0x9A, 0x71, 0xE5 ^ place >> 8 & 0xFF, place & 0xFF, 0x5C, 0xF7, 0x3F))
    mark: float = _DOUBLE.unpack(head)[0]
    return mark


def _varint(number: int) -> bytes:
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
