"""How long steps take, one request from the other, as far as Triton traced them.

Triton counts sums only. Its spans say each time, and an embedded one sends them here: of all the
calls that are sampled.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from gateway.telemetry.metrics.grid import SECONDS
from gateway.telemetry.metrics.instruments import LINE, RELEASE, STEP, TRACED_STEP_DURATION
from gateway.telemetry.metrics.readings import Gauges
from gateway.telemetry.metrics.tally import Exemplar, Labels, Tally

_QUEUE = (("queue", "trident.queue_us"),)
_COMPUTE = (
    ("compute_input", "trident.compute_input_us"),
    ("compute_infer", "trident.compute_infer_us"),
    ("compute_output", "trident.compute_output_us"),
)

_Taken = tuple[float, int, float]
"""Seconds, trace ID, when it ended in s since 1970."""


class TracedSpan(Protocol):
    """What is asked of a span of Triton's, made readable."""

    trace_id: int
    span_id: int
    parent_id: int
    end_ns: int

    @property
    def attributes(self) -> Mapping[str, Any]:
        """What it says."""
        ...


class TracedSteps:
    """Takes Triton's spans, and gives the times of the steps as metrics."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards the times
        self._times: defaultdict[Labels, list[_Taken]] = defaultdict(list)

    def add(self, spans: Sequence[TracedSpan]) -> None:
        """Take the spans of one request, steps and their computing together."""
        steps = {span.span_id: span for span in spans if LINE in span.attributes}
        found = [one for span in spans for one in _times(span, steps)]
        with self._lock:
            for labels, taken in found:
                self._times[labels].append(taken)

    def take(self) -> tuple[Tally, Gauges]:
        """Return the times since the last time."""
        with self._lock:
            times, self._times = self._times, defaultdict(list)
        tally = Tally()
        for labels, taken in times.items():
            seconds = np.array([one[0] for one in taken])
            bins = SECONDS.bins(seconds)
            buckets = SECONDS.explicit_of[bins].tolist()
            exemplars = {
                bucket: Exemplar(trace_id, value, time_s)
                for bucket, (value, trace_id, time_s) in zip(buckets, taken, strict=True)
            }
            counts = np.bincount(bins, minlength=len(SECONDS))
            tally.observe(TRACED_STEP_DURATION, labels, counts, float(seconds.sum()), exemplars)
        return tally, {}


def _times(span: TracedSpan, steps: Mapping[int, TracedSpan]) -> Iterator[tuple[Labels, _Taken]]:
    """Yield what a span says: a step of its queue, its computing of the rest."""
    step = steps.get(span.span_id)
    stages: Sequence[tuple[str, str]] = _QUEUE
    if step is None:
        step, stages = steps.get(span.parent_id), _COMPUTE
    if step is None or STEP not in step.attributes:
        return
    of_step = tuple(str(step.attributes.get(name, "")) for name in (LINE, RELEASE, STEP))
    for stage, attribute in stages:
        micros = span.attributes.get(attribute)
        if micros is not None:
            yield (*of_step, stage), (micros / 1e6, span.trace_id, span.end_ns / 1e9)
