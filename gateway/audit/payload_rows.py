"""From the messages of a call to rows for later, without what must not be kept."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from gateway.audit.access_log import iso_time, trace_id
from gateway.audit.record import Payload

REDACTED = "(redacted)"

FEATURES = ("features", "measurements.values", "context")
"""The maps whose entries become columns, by the names that the release gives them."""

_TOLD_AGAIN: Mapping[str, tuple[str, ...]] = {
    "note": ("answer.explanation",),
    "image": ("answer.explanation",),
    "image.content": ("answer.explanation",),
    "history_item_ids": ("answer.items.because_item_ids", "answer.unknown_item_ids"),
    "candidate_item_ids": ("answer.items", "answer.unknown_item_ids"),
    "excluded_item_ids": ("answer.unknown_item_ids",),
}
"""What an answer says again of a field."""

Row = dict[str, Any]


@dataclass(frozen=True)
class MessageTypes:
    """The messages of a unary method."""

    request: type[Message]
    response: type[Message]

    @property
    def is_batch(self) -> bool:
        """Whether a message holds several."""
        return "requests" in self.request.DESCRIPTOR.fields_by_name


class PayloadRows:
    """Makes rows.

    Args:
        types: The messages of each method that is kept.
        redact: Paths of fields that are not kept; ``*`` stands for anything. Those of answers begin
            with ``answer.``.
    """

    def __init__(self, types: Mapping[str, MessageTypes], redact: Sequence[str] = ()) -> None:
        self._types = types
        self._redact: tuple[str, ...] = ()
        self.redact(redact)

    def has(self, method: str) -> bool:
        """Return whether messages of a method are kept."""
        return method in self._types

    def redact(self, paths: Sequence[str]) -> None:
        """Keep other fields from now on; as for the constructor."""
        patterns = list(paths)
        for field, told in _TOLD_AGAIN.items():
            if _is_any(field, paths):
                patterns += told
        self._redact = tuple(patterns)

    def rows(self, payload: Payload) -> Iterator[Row]:
        """Yield a row for each request: ``_time`` as ISO 8601, and what else there is.

        Columns of ours begin with ``_``; the others are features, ``None`` where redacted.
        """
        access = payload.access
        for request, answer in self._pairs(payload):
            asked, answered = _fields(request), _fields(answer)
            features = self._features(asked)
            model = answered.get("model", {})
            hidden = {name for name in features if self._is_redacted_feature(name)}
            yield {
                "_time": iso_time(access.start_ns),
                "_trace_id": trace_id(access),
                "_client": access.client,
                "_method": access.method,
                "_line": model.get("line") or access.line,
                "_release": model.get("release") or access.release,
                "_request": _json(self._clean(asked, "", frozenset())),
                "_answer": _json(self._clean(answered, "answer.", frozenset(hidden))),
                **{name: None if name in hidden else value for name, value in features.items()},
            }

    def _pairs(self, payload: Payload) -> Iterator[tuple[Message, Message]]:
        types = self._types[payload.access.method]
        request: Any = types.request.FromString(payload.request)
        response: Any = types.response.FromString(payload.response)
        if types.is_batch:
            yield from zip(request.requests, response.responses, strict=True)
        else:
            yield request, response

    def _features(self, asked: Mapping[str, Any]) -> Row:
        """Return the features of a request, each as a number or a text."""
        found: Row = {}
        for path in FEATURES:
            values: Any = asked
            for name in path.split("."):
                values = values.get(name, {}) if isinstance(values, Mapping) else {}
            found |= {name: _value(one) for name, one in values.items()}
        return found

    def _is_redacted_feature(self, name: str) -> bool:
        return any(self._is_redacted(f"{path}.{name}") for path in FEATURES)

    def _is_redacted(self, path: str) -> bool:
        return _is_any(path, self._redact)

    def _clean(self, value: Any, path: str, hidden: frozenset[str]) -> Any:
        """Return a value without what is redacted; of answers, also what tells of such features.

        Args:
            value: As JSON has it.
            path: Up to it, with a dot at its end.
            hidden: Features that nothing may be said of.
        """
        if isinstance(value, Mapping):
            if value.get("feature") in hidden or value.get("name") in hidden:
                return REDACTED
            return {
                name: REDACTED
                if self._is_redacted(f"{path}{name}") or name in hidden
                else self._clean(one, f"{path}{name}.", hidden)
                for name, one in value.items()
            }
        if isinstance(value, list):
            return [self._clean(one, path, hidden) for one in value]
        return value


def _is_any(path: str, patterns: Sequence[str]) -> bool:
    """Return whether a field, or what it is a part of, is any of those."""
    parts = path.split(".")
    above = [".".join(parts[:count]) for count in range(1, len(parts) + 1)]
    return any(fnmatchcase(one, pattern) for one in above for pattern in patterns)


def _fields(message: Message) -> dict[str, Any]:
    fields: dict[str, Any] = MessageToDict(message, preserving_proto_field_name=True)
    return fields


def _value(value: Any) -> float | str | None:
    """Return a feature's value: the number or the category that it is."""
    if isinstance(value, Mapping):
        (value,) = value.values() or (None,)
    if isinstance(value, bool) or value is None:
        return None
    return value if isinstance(value, str) else float(value)


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
