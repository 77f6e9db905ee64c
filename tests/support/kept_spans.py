"""What tracing keeps, as the spans that would be sent, without a thread and without a disk."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.telemetry.call_spans import CallSpans
from gateway.telemetry.otlp_json import JsonSpans, json_to_spans
from gateway.telemetry.otlp_protobuf import ProtobufSpans, protobuf_to_json
from gateway.telemetry.recording import RecordedCall
from gateway.telemetry.span import Source, Span
from gateway.telemetry.span_encoding import encode_span


@dataclass
class KeptSpans:
    """Stands for a queue; encodes and reads again when it is asked."""

    encoder: Any = field(default_factory=JsonSpans)
    items: list[RecordedCall | Sequence[Span]] = field(default_factory=list)
    dropped: int = 0
    sent: int = 0

    def put(self, item: RecordedCall | Sequence[Span]) -> None:
        self.items.append(item)

    def stop_taking(self) -> None:
        """Nothing is left to send."""

    def close(self, timeout_s: float) -> bool:
        return True

    def spans(self) -> list[Span]:
        """All that was kept, in its order."""
        source, calls = Source({"service.name": "trident-gateway"}), CallSpans(self.encoder)
        encoded: list[bytes] = []
        for item in self.items:
            if isinstance(item, RecordedCall):
                encoded += calls.encode(item)[0]
            else:
                encoded += [encode_span(self.encoder, one) for one in item]
        request = self.encoder.request([(source, encoded)])
        if isinstance(self.encoder, ProtobufSpans):
            return json_to_spans(protobuf_to_json(request))
        return json_to_spans(json.loads(request))

    def named(self, name: str) -> list[Span]:
        return [one for one in self.spans() if one.name == name]

    def one(self, name: str) -> Span:
        (found,) = self.named(name)
        return found
