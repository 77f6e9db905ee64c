from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from gateway.telemetry.metrics.instruments import TRACED_STEP_DURATION
from gateway.telemetry.metrics.tally import Distribution
from gateway.telemetry.metrics.traced_steps import TracedSteps


@dataclass
class FakeSpan:
    span_id: int
    parent_id: int = 0
    trace_id: int = 99
    end_ns: int = 5_000_000_000
    attributes: dict[str, object] = field(default_factory=dict)


def request(trace_id: int = 99, queue_us: float = 1500.0) -> list[FakeSpan]:
    """An ensemble of one step, as its spans come: what is below comes first."""
    of_release = {"trident.line": "score-risk", "trident.release": "r1"}
    computed = {
        "trident.step": "score",
        "trident.compute_input_us": 100.0,
        "trident.compute_infer_us": 4000.0,
        "trident.compute_output_us": 50.0,
    }
    queued = {"trident.step": "score", "trident.queue_us": queue_us}
    return [
        FakeSpan(4, 3, trace_id, attributes=computed),
        FakeSpan(3, 2, trace_id, attributes=of_release | queued),
        FakeSpan(2, 1, trace_id, attributes=of_release),
        FakeSpan(1, trace_id=trace_id),
    ]


def taken(steps: TracedSteps) -> dict[str, Distribution]:
    tally, gauges = steps.take()
    assert gauges == {}
    series = tally.histograms.get(TRACED_STEP_DURATION, {})
    assert {labels[:3] for labels in series} <= {("score-risk", "r1", "score")}
    return {labels[3]: one for labels, one in series.items()}


def test_the_times_of_a_step_are_what_its_spans_say() -> None:
    steps = TracedSteps()
    steps.add(request())
    steps.add(request(queue_us=2500.0))

    found = taken(steps)

    assert found.keys() == {"queue", "compute_input", "compute_infer", "compute_output"}
    assert (found["queue"].count, found["queue"].sum) == (2, pytest.approx(0.004))
    assert (found["compute_infer"].count, found["compute_infer"].sum) == (2, pytest.approx(0.008))
    buckets = TRACED_STEP_DURATION.grid.explicit_counts(found["queue"].counts)
    at = TRACED_STEP_DURATION.grid.explicit.index
    assert (buckets[at(0.002)], buckets[at(0.003)]) == (1, 1)
    assert taken(steps) == {}


def test_an_exemplar_is_the_last_trace_of_its_bucket() -> None:
    steps = TracedSteps()
    for trace_id in (1, 2):
        steps.add(request(trace_id))

    (exemplar,) = taken(steps)["queue"].exemplars.values()

    assert (exemplar.trace_id, exemplar.value, exemplar.time_s) == (2, 0.0015, 5)


def test_what_says_nothing_of_a_step_is_passed_over() -> None:
    steps = TracedSteps()
    steps.add([FakeSpan(1), FakeSpan(2, 1, attributes={"trident.compute_infer_us": 5.0})])
    steps.add(request()[2:])

    assert taken(steps) == {}
