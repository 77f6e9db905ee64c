"""Many rows of one layout, read from their bytes a column at a time.

A client that sends a batch writes the same fields in the same order for every row, so the rows'
bytes differ only where the values stand. The first row is parsed to find these places; that all
others are alike everywhere else is then one comparison, and each column is one strided view.

This only ever says what the parser of protobuf would say, or nothing: ``None`` stands for
"parse it", never for "refuse it".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from google.protobuf.message import Message

_VARINT, _FIXED64, _BYTES = 0, 1, 2
_DOUBLE_BYTES = 8
_MAX_FLOAT32 = float(np.finfo(np.float32).max)
_MAX_LAYOUTS = 8

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class NumberMap:
    """Where a ``map<string, double>`` stands in a request of a batch, by field numbers."""

    requests: int
    """In the batch: its requests."""
    request_id: int
    path: tuple[int, ...]
    """In a request: the messages around the map, and the map."""

    @classmethod
    def of(cls, batch: type[Message], *path: str) -> NumberMap:
        """Return the numbers of the fields on a path from a request to a map."""
        requests = batch.DESCRIPTOR.fields_by_name["requests"]
        message: Any = requests.message_type
        request_id = message.fields_by_name["request_id"].number
        numbers = []
        for name in path:
            field = message.fields_by_name[name]
            numbers.append(field.number)
            message = field.message_type
        return cls(requests.number, request_id, tuple(numbers))


@dataclass(frozen=True)
class _Layout:
    """What all rows of a batch have in common.

    Attributes:
        fixed: ``(L,)`` uint8, the bytes of a row, 0 where they may differ.
        mask: ``(L,)`` uint8, 255 where they may not, else 0.
        values: ``(8 * N,)`` int64, the places of the bytes of their values.
        columns: Of these names.
    """

    fixed: Bytes
    mask: Bytes
    values: npt.NDArray[np.int64]
    columns: list[int]


class NumberColumns:
    """Reads the map of numbers of every request of a batch.

    Args:
        where: The map's place.
        numbers: The names that are known, and their columns.
    """

    def __init__(self, where: NumberMap, numbers: Mapping[str, int]) -> None:
        self._where = where
        self._numbers = numbers
        self._layouts: dict[int, _Layout] = {}

    def read(
        self, data: bytes, max_rows: int, max_id_length: int
    ) -> npt.NDArray[np.float32] | None:
        """Return the numbers of a serialised batch.

        Args:
            data: A message with nothing but requests, each with nothing but a ``request_id`` and
                the map.
            max_rows: More are left to those who say so.
            max_id_length: Likewise for the names of requests.

        Returns:
            ``(B, N)`` float32, NaN where a request does not have a number. ``None`` if the batch
            must be parsed: not all rows are alike, or not all is plainly valid.
        """
        rows = self._split_evenly(data, max_rows, max_id_length)
        if rows is None:
            rows = self._split(data, max_rows, max_id_length)
        if rows is None:
            return None
        first = rows[0].tobytes()
        layout = self._layouts.get(len(first))
        if layout is None or not _alike(rows, layout):
            layout = self._layout(first)
            if layout is None or not _alike(rows, layout):
                return None
            if len(self._layouts) >= _MAX_LAYOUTS:
                self._layouts.clear()
            self._layouts[len(first)] = layout
        return self._columns(rows, layout)

    def _split_evenly(self, data: bytes, max_rows: int, max_id_length: int) -> Bytes | None:
        """Do what :meth:`_split` does, without a look at each row, where all are as long."""
        try:
            if data[0] != self._where.requests << 3 | _BYTES:
                return None
            size, start = _varint(data, 1)
            length, body = 0, start
            if size and data[start] == self._where.request_id << 3 | _BYTES:
                length, body = _varint(data, start + 1)
        except IndexError:
            return None
        period = start + size
        if body + length >= period or len(data) % period or len(data) > max_rows * period:
            return None
        rows = np.frombuffer(data, np.uint8).reshape(-1, period)
        names = rows[:, body : body + length]
        if (
            length > max_id_length
            or (rows[:, :body] != rows[0, :body]).any()
            or not ((names > 0) & (names < 0x80)).all()
        ):
            return None
        return rows[:, body + length :]

    def _split(self, data: bytes, max_rows: int, max_id_length: int) -> Bytes | None:
        """Return the rows without their ``request_id`` as ``(B, L)`` uint8, if they are alike."""
        rows = []
        tag = self._where.requests << 3 | _BYTES
        id_tag = self._where.request_id << 3 | _BYTES
        place, end = 0, len(data)
        try:
            while place < end:
                if data[place] != tag:
                    return None
                size, place = _varint(data, place + 1)
                start, place = place, place + size
                if size and data[start] == id_tag:
                    length, start = _varint(data, start + 1)
                    name = data[start : start + length]
                    # What is not ASCII may not be UTF-8 either.
                    if length > max_id_length or not name.isascii() or b"\0" in name:
                        return None
                    start += length
                rows.append(data[start:place])
                if len(rows) > max_rows:
                    return None
        except IndexError:
            return None
        if place != end or not rows or not rows[0]:
            return None
        if len(set(map(len, rows))) > 1:
            return None
        return np.frombuffer(b"".join(rows), np.uint8).reshape(len(rows), -1)

    def _layout(self, row: bytes) -> _Layout | None:
        """Return the layout of a row, if it is one that can be read."""
        try:
            entries = _entries(row, self._where.path)
        except (IndexError, UnicodeDecodeError):
            return None
        if not entries:
            return None
        names = {name for name, _ in entries}
        if len(names) < len(entries) or not self._numbers.keys() >= names:
            return None
        mask = np.full(len(row), 255, np.uint8)
        for _, place in entries:
            mask[place : place + _DOUBLE_BYTES] = 0
        fixed = np.frombuffer(row, np.uint8) & mask
        columns = [self._numbers[name] for name, _ in entries]
        return _Layout(fixed, mask, np.flatnonzero(mask == 0), columns)

    def _columns(self, rows: Bytes, layout: _Layout) -> npt.NDArray[np.float32] | None:
        values = rows.take(layout.values, axis=1).view("<f8")
        if not (np.abs(values) <= _MAX_FLOAT32).all():  # nor, then, is any of them NaN
            return None
        numbers = np.full((len(rows), len(self._numbers)), np.nan, np.float32)
        numbers[:, layout.columns] = values
        return numbers


def _alike(rows: Bytes, layout: _Layout) -> bool:
    return bool(((rows & layout.mask) == layout.fixed).all())


def _entries(row: bytes, path: Sequence[int]) -> list[tuple[str, int]]:
    """Return the keys of a map in a message, and where their values begin.

    Empty if the message has anything else, or is no message.

    Raises:
        IndexError: If it is cut off.
        UnicodeDecodeError: If a key is no text.
    """
    start, end = 0, len(row)
    for number in path[:-1]:
        if row[start] != number << 3 | _BYTES:
            return []
        size, start = _varint(row, start + 1)
        if start + size != end:
            return []
    entries: list[tuple[str, int]] = []
    while start < end:
        if row[start] != path[-1] << 3 | _BYTES:
            return []
        size, start = _varint(row, start + 1)
        stop = start + size
        if row[start] != 1 << 3 | _BYTES:
            return []
        length, start = _varint(row, start + 1)
        place = start + length
        if row[place] != 2 << 3 | _FIXED64 or place + 1 + _DOUBLE_BYTES != stop or stop > end:
            return []
        entries.append((row[start:place].decode(), place + 1))
        start = stop
    return entries


def _varint(data: bytes, place: int) -> tuple[int, int]:
    """Return a number and where it ends.

    Raises:
        IndexError: If it is cut off, or longer than any length here.
    """
    number = data[place]
    if number < 0x80:
        return number, place + 1
    number &= 0x7F
    for shift in (7, 14, 21, 28):
        place += 1
        byte = data[place]
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, place + 1
    raise IndexError(place)
