"""Field paths of violations, such as ``requests[7].features["age"].number``."""

from __future__ import annotations

import json
import re
from typing import Any

from google.protobuf.message import Message

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_MISSING = object()


def resolves(message: Message, path: str) -> bool:
    """Say whether a path leads to a field of this very message.

    An index must be there. A key must be there too, unless the path ends with it: then it may
    be the entry that is missing. The empty path is the message.
    """
    if not path:
        return True
    place, current = -1, message
    while place < len(path):
        name = _NAME.match(path, place + 1)  # after the start, or a dot
        if name is None or not isinstance(current, Message):
            return False
        place = name.end()
        if name[0] in current.DESCRIPTOR.oneofs_by_name:
            return place == len(path)
        if name[0] not in current.DESCRIPTOR.fields_by_name:
            return False
        current = getattr(current, name[0])
        if path[place : place + 1] == "[":
            key, place = json.JSONDecoder().raw_decode(path, place + 1)
            place += 1  # the closing bracket
            current = _element(current, key)
            if current is _MISSING:
                return isinstance(key, str) and place == len(path)
        if place < len(path) and path[place] != ".":
            return False
    return True


def _element(container: Any, key: int | str) -> Any:
    """The element of a list or map, without making one."""
    is_map = hasattr(container, "keys")
    if is_map is isinstance(key, int):
        return _MISSING
    there = key in container if is_map else 0 <= int(key) < len(container)
    return container[key] if there else _MISSING
