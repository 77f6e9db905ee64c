"""As much of the Collector's transformation language as our configuration uses.

There is no Collector here: this follows the language's description, so that a test can run the
statements on real spans and compare what comes of it with what the gateway does itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

Span = dict[str, Any]
"""``name``, ``kind`` (number), ``attributes``, ``events`` (name to ns), ``scope``."""

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[A-Za-z_][\w.]*|\d+|[=!]=|[()\[\],/+*-]')
_ENUMS = {f"SPAN_KIND_{name}": n for n, name in enumerate(
    ("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER"))}  # fmt: skip


def transform(config: Mapping[str, Any], span: Span) -> None:
    """Run the statements of a transform processor on a span."""
    for group in config["trace_statements"]:
        events: list[tuple[str, int] | None] = [None]
        if group["context"] == "spanevent":
            events = list(span["events"].items())
        for event in events:
            for statement in group["statements"]:
                _Statement(statement, group["context"]).run(span, event)


class _Statement:
    def __init__(self, text: str, context: str) -> None:
        self.text, self.context = text, context
        self.tokens = _TOKEN.findall(text)
        assert "".join(self.tokens) == re.sub(r'\s+(?=(?:[^"]*"[^"]*")*[^"]*$)', "", text), text
        self.place = 0

    def run(self, span: Span, event: tuple[str, int] | None) -> None:
        self.span, self.event = span, event
        self.place = self.tokens.index("where") + 1
        if not self.condition():
            return
        self.place = 0
        editor = self.take()
        self.take("(")
        if editor == "set":
            path = self.path()
            self.take(",")
            self.assign(path, self.sum())
        elif editor == "delete_matching_keys":
            self.path()
            self.take(",")
            pattern = re.compile(self.sum())
            attributes = span["attributes"]
            for key in [one for one in attributes if pattern.search(one)]:
                del attributes[key]
        else:
            raise AssertionError(f"unknown editor {editor}")
        self.take(")")

    def take(self, expected: str = "") -> str:
        token = self.tokens[self.place]
        assert not expected or token == expected, (self.text, token, expected)
        self.place += 1
        return str(token)

    def peek(self) -> str:
        return self.tokens[self.place] if self.place < len(self.tokens) else ""

    def condition(self) -> bool:
        holds = True
        while True:
            left = self.sum()
            if self.peek() in ("==", "!="):
                operator, right = self.take(), self.sum()
                left = (left == right) == (operator == "==")
            assert isinstance(left, bool), (self.text, left)
            holds = holds and left
            if self.peek() != "and":
                assert self.peek() == "", self.text
                return holds
            self.take("and")

    def sum(self) -> Any:
        value = self.product()
        while self.peek() in ("+", "-"):
            operator, other = self.take(), self.product()
            value = value + other if operator == "+" else value - other
        return value

    def product(self) -> Any:
        value = self.value()
        while self.peek() in ("*", "/"):
            operator, other = self.take(), self.value()
            assert isinstance(value, int)
            assert isinstance(other, int)  # whole numbers are divided as Go does
            value = value * other if operator == "*" else int(value / other)
        return value

    def value(self) -> Any:
        token = self.peek()
        if token == "(":
            self.take()
            value = self.sum()
            self.take(")")
            return value
        if token.startswith('"'):
            return self.take()[1:-1]
        if token.isdigit():
            return int(self.take())
        if token == "nil":
            self.take()
            return None
        if token in _ENUMS:
            return _ENUMS[self.take()]
        if token[0].isupper():
            return self.converter()
        return self.read(self.path())

    def converter(self) -> Any:
        name = self.take()
        self.take("(")
        arguments = [self.sum()]
        while self.peek() == ",":
            self.take()
            arguments.append(self.sum())
        self.take(")")
        if name == "IsMatch":
            return arguments[0] is not None and bool(re.search(arguments[1], str(arguments[0])))
        assert name == "ExtractPatterns", name
        match = re.search(arguments[1], arguments[0])
        assert match is not None
        self.take("[")
        key = self.take()[1:-1]
        self.take("]")
        return match[key]

    def path(self) -> tuple[str, str]:
        name, key = self.take(), ""
        if self.peek() == "[":
            self.take()
            key = self.take()[1:-1]
            self.take("]")
        return name, key

    def read(self, path: tuple[str, str]) -> Any:
        name, key = path
        if name.startswith("spanevent."):
            assert self.context == "spanevent", self.text
            assert self.event is not None
            event, at = self.event
            return {"spanevent.name": event, "spanevent.time_unix_nano": at}[name]
        if name == "instrumentation_scope.name":
            return self.span["scope"]
        field = name.removeprefix("span.")
        return self.span["attributes"].get(key) if field == "attributes" else self.span[field]

    def assign(self, path: tuple[str, str], value: Any) -> None:
        name, key = path
        field = name.removeprefix("span.")
        if value is None:  # as the Collector does: there is nothing to set
            return
        if field == "attributes":
            self.span["attributes"][key] = value
        else:
            assert field in ("name", "kind"), name
            self.span[field] = value
