"""What is wrong with Triton's spans, as a table of rules.

Triton (2.51) says of every span that it is a server's, calls each step by the whole name of its
model, and leaves how long a step loaded, computed and stored between the events of another span.
The rules are data, because two programs follow them: the receiver of the embedded Triton
(:mod:`.triton_spans`), and the OpenTelemetry Collector in front of any other, which gets them in
its own language (``deploy/otel/triton-spans.yaml``, written by :func:`collector_config`).

A rule looks at one span alone. What takes two, such as the queue of a step, only the receiver does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import yaml

from gateway.telemetry.span import Kind
from triton_models.release import MODEL_NAME

SCOPE = "triton-server"
"""The instrumentation scope of Triton's spans."""
ROOT = "InferRequest"
MODEL = "triton.model_name"
METHOD = "inference.GRPCInferenceService/ModelInfer"


@dataclass
class Draft:
    """A span that rules work on."""

    name: str
    kind: Kind
    attributes: dict[str, Any]
    events: Mapping[str, int]
    """Name to ns since 1970."""


@dataclass(frozen=True)
class Where:
    """When a rule holds: everything that is given."""

    name: str | None = None
    not_name: str | None = None
    has: str | None = None
    """An attribute."""
    matches: str | None = None
    """The model's name matches, and the group of this name is in it."""
    events: tuple[str, ...] = ()

    def holds(self, span: Draft) -> bool:
        """Return whether it holds for a span."""
        return (
            (self.name is None or span.name == self.name)
            and (self.not_name is None or span.name != self.not_name)
            and (self.has is None or self.has in span.attributes)
            and (self.matches is None or _part(span, self.matches) is not None)
            and (not self.events or self._saw_all(span))
        )

    def _saw_all(self, span: Draft) -> bool:
        return all(event in span.events for event in self.events)

    def ottl(self) -> str:
        """Return it as a condition of the Collector."""
        parts = [f'instrumentation_scope.name == "{SCOPE}"']
        if self.name is not None:
            parts.append(f'span.name == "{self.name}"')
        if self.not_name is not None:
            parts.append(f'span.name != "{self.not_name}"')
        if self.has is not None:
            parts.append(f'span.attributes["{self.has}"] != nil')
        if self.matches is not None:
            pattern = MODEL_NAME if self.matches != "step" else MODEL_NAME.replace(")?$", ")$")
            parts.append(f'IsMatch(span.attributes["{MODEL}"], "{pattern}")')
        parts += [f'span.attributes["{_AT}{event}"] != nil' for event in self.events]
        return " and ".join(parts)


@dataclass(frozen=True)
class SetKind:
    """Says what kind of span it is."""

    kind: Kind

    def apply(self, span: Draft) -> None:
        """Change a span."""
        span.kind = self.kind

    def ottl(self) -> str:
        """Return it as an editor of the Collector."""
        return f"set(span.kind, SPAN_KIND_{self.kind.name})"


@dataclass(frozen=True)
class SetAttribute:
    """Sets an attribute to a text."""

    key: str
    text: str

    def apply(self, span: Draft) -> None:
        """Change a span."""
        span.attributes[self.key] = self.text

    def ottl(self) -> str:
        """Return it as an editor of the Collector."""
        return f'set(span.attributes["{self.key}"], "{self.text}")'


@dataclass(frozen=True)
class SetPart:
    """Sets an attribute to a part of the model's name."""

    key: str
    group: str

    def apply(self, span: Draft) -> None:
        """Change a span."""
        span.attributes[self.key] = _part(span, self.group)

    def ottl(self) -> str:
        """Return it as an editor of the Collector."""
        return (
            f'set(span.attributes["{self.key}"], '
            f'ExtractPatterns(span.attributes["{MODEL}"], "{MODEL_NAME}")["{self.group}"])'
        )


@dataclass(frozen=True)
class SetName:
    """Calls the span as an attribute says."""

    key: str

    def apply(self, span: Draft) -> None:
        """Change a span."""
        span.name = str(span.attributes[self.key])

    def ottl(self) -> str:
        """Return it as an editor of the Collector."""
        return f'set(span.name, span.attributes["{self.key}"])'


@dataclass(frozen=True)
class SetMicros:
    """Sets an attribute to the time between two events, in whole µs."""

    key: str
    begin: str
    end: str

    def apply(self, span: Draft) -> None:
        """Change a span."""
        span.attributes[self.key] = micros(span.events[self.begin], span.events[self.end])

    def ottl(self) -> str:
        """Return it as an editor of the Collector."""
        end, begin = (f'span.attributes["{_AT}{event}"]' for event in (self.end, self.begin))
        return f'set(span.attributes["{self.key}"], ({end} - {begin}) / 1000)'


@dataclass(frozen=True)
class Rule:
    """One repair."""

    where: Where
    do: SetKind | SetAttribute | SetPart | SetName | SetMicros

    def ottl(self) -> str:
        """Return it as a statement of the Collector."""
        return f"{self.do.ottl()} where {self.where.ottl()}"


def _between(key: str, begin: str, end: str) -> Rule:
    return Rule(Where(name="compute", events=(begin, end)), SetMicros(key, begin, end))


RULES = (
    # Only the request itself came from elsewhere; what is below it happens inside.
    Rule(Where(not_name=ROOT), SetKind(Kind.INTERNAL)),
    Rule(Where(name=ROOT, events=("GRPC_WAITREAD_START",)),
         SetAttribute("rpc.system.name", "grpc")),
    Rule(Where(name=ROOT, events=("GRPC_WAITREAD_START",)), SetAttribute("rpc.method", METHOD)),
    Rule(Where(has=MODEL, matches="line"), SetPart("trident.line", "line")),
    Rule(Where(has=MODEL, matches="release"), SetPart("trident.release", "release")),
    Rule(Where(has=MODEL, matches="step"), SetPart("trident.step", "step")),
    Rule(Where(has="trident.step"), SetName("trident.step")),
    _between("trident.compute_input_us", "COMPUTE_START", "COMPUTE_INPUT_END"),
    _between("trident.compute_infer_us", "COMPUTE_INPUT_END", "COMPUTE_OUTPUT_START"),
    _between("trident.compute_output_us", "COMPUTE_OUTPUT_START", "COMPUTE_END"),
)  # fmt: skip

_AT = "trident.at."
"""Where the Collector keeps the time of an event while it works: a statement sees one event."""
_COMPILED = re.compile(MODEL_NAME)


def repair(span: Draft) -> None:
    """Change a span of Triton as the rules say."""
    for rule in RULES:
        if rule.where.holds(span):
            rule.do.apply(span)


def micros(begin_ns: int, end_ns: int) -> int:
    """Return the time between two, in whole µs, cut off as the Collector does."""
    return int((end_ns - begin_ns) / 1000)


def collector_config() -> str:
    """Return the rules as the configuration of a transform processor of the Collector."""
    events = dict.fromkeys(event for rule in RULES for event in rule.where.events)
    keep = [
        f'set(span.attributes["{_AT}{event}"], spanevent.time_unix_nano) where '
        f'spanevent.name == "{event}" and instrumentation_scope.name == "{SCOPE}"'
        for event in events
    ]
    forget = (
        f'delete_matching_keys(span.attributes, "^{_AT}") where '
        f'instrumentation_scope.name == "{SCOPE}"'
    )
    processor = {
        "error_mode": "ignore",
        "trace_statements": [
            {"context": "spanevent", "statements": keep},
            {"context": "span", "statements": [*(rule.ottl() for rule in RULES), forget]},
        ],
    }
    text = yaml.safe_dump({"processors": {"transform/triton": processor}}, width=1000,
                          sort_keys=False)  # fmt: skip
    return f"{_HEAD}{text}"


_HEAD = """\
# Makes Triton's spans readable: merge it into the configuration of an OpenTelemetry Collector
# (contrib) and put `transform/triton` into the pipeline of traces, behind `memory_limiter`.
# Written by `python -m gateway.telemetry.span_rules` from the rules that the embedded mode
# follows; docs/traces.md says what it does and what it cannot do.
"""


def _part(span: Draft, group: str) -> str | None:
    model = span.attributes.get(MODEL)
    return _parts(model).get(group) if isinstance(model, str) else None


@lru_cache(1024)
def _parts(model: str) -> dict[str, str | None]:
    match = _COMPILED.match(model)
    return match.groupdict() if match else {}


if __name__ == "__main__":
    import sys

    sys.stdout.write(collector_config())
