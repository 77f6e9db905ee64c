from __future__ import annotations

from pathlib import Path
from typing import Any

from span_makers import span

from gateway.telemetry.analysis.reading import newest_trace, read_trace
from gateway.telemetry.analysis.tree import Node, build_tree
from gateway.telemetry.span import Kind, Status

RECORDED = Path(__file__).parents[4] / "data" / "traces" / "two_steps.jsonl"


def shape(node: Node) -> Any:
    """Names only: a name, or a name with what is below it."""
    return (node.name, [shape(child) for child in node.children]) if node.children else node.name


def step(span_id: int, parent_id: int, *, compute: bool = True) -> list[Any]:
    """A step as Triton sends it: queued at 10, computed from 30 to 70."""
    events = {"REQUEST_START": 5, "QUEUE_START": 10, "REQUEST_END": 80}
    computed = {"COMPUTE_START": 30, "COMPUTE_INPUT_END": 35, "COMPUTE_END": 70}
    model = {"triton.model_name": f"m__{span_id}"}
    if not compute:
        events |= computed
    spans = [span("m", span_id, parent_id, times=(5, 80), attributes=model, events=events)]
    if compute:
        spans.append(span("compute", span_id + 1, span_id, times=(30, 70), events=computed))
    return spans


def test_a_recorded_trace_runs_from_the_client_to_each_steps_queue_and_compute() -> None:
    (root,) = build_tree(read_trace(RECORDED, newest_trace(RECORDED)))
    call, infer = (
        "trident.risk.v1.RiskService/ScoreRisk",
        "inference.GRPCInferenceService/ModelInfer",
    )
    steps = [(f"letters__{name}", ["queue", "compute"]) for name in ("encode", "decode")]
    triton = (infer, [("InferRequest", [("letters", steps)])])
    assert shape(root) == (call, [(call, ["decode", "queue", triton, "encode"])])
    services = [node.service for node in root.walk()]
    assert services[:2] == ["trident-client", "trident-gateway"]
    assert set(services) == {"trident-client", "trident-gateway", "triton"}


def test_children_come_by_their_start() -> None:
    spans = [span("root", 1, times=(0, 9)), span("late", 2, 1, times=(5, 6)),
             span("early", 3, 1, times=(1, 2))]  # fmt: skip
    (root,) = build_tree(spans)
    assert shape(root) == ("root", ["early", "late"])


def test_a_step_queues_until_it_is_computed() -> None:
    (root,) = build_tree(step(0x10, 0))
    queue, compute = root.children
    assert (queue.name, queue.start_ns, queue.end_ns, queue.derived) == ("queue", 10, 30, True)
    assert (compute.name, compute.start_ns, compute.derived) == ("compute", 30, False)
    assert queue.parent_span_id == root.span_id
    assert queue.span_id not in (root.span_id, compute.span_id)


def test_compute_is_made_from_events_where_there_is_no_span_of_it() -> None:
    (root,) = build_tree(step(0x10, 0, compute=False))
    compute = root.children[-1]
    assert (compute.name, compute.start_ns, compute.end_ns) == ("compute", 30, 70)
    assert compute.derived


def test_an_ensemble_has_no_queue_of_its_own() -> None:
    ensemble = span("m", 1, attributes={"triton.model_name": "m"}, events={"QUEUE_START": 3},
                    times=(1, 90))  # fmt: skip
    (root,) = build_tree([ensemble, *step(0x10, 1)])
    assert [child.name for child in root.children] == ["m"]


def test_a_span_whose_parent_is_missing_is_shown_and_marked() -> None:
    roots = build_tree([span("root", 1), span("lost", 2, 0x99), span("below", 3, 2)])
    assert {root.name: root.orphan for root in roots} == {"root": False, "lost": True}
    assert next(shape(root) for root in roots if root.orphan) == ("lost", ["below"])


def test_a_span_that_was_written_twice_counts_once() -> None:
    one = span("root", 1)
    (root,) = build_tree([one, one, span("below", 2, 1), span("below", 2, 1)])
    assert shape(root) == ("root", ["below"])


def test_parents_in_a_circle_are_cut_and_every_span_is_shown_once() -> None:
    spans = [span("a", 1, 3), span("b", 2, 1), span("c", 3, 2), span("self", 4, 4)]
    roots = build_tree(spans)
    shown = [node.name for root in roots for node in root.walk()]
    assert sorted(shown) == ["a", "b", "c", "self"]
    assert all(root.orphan for root in roots)


def test_an_error_says_its_type_and_what_was_said() -> None:
    (root,) = build_tree([span("x", 1, kind=Kind.CLIENT, status=Status.ERROR,
                               message="connection refused",
                               attributes={"error.type": "UNAVAILABLE"})])  # fmt: skip
    assert root.error == "UNAVAILABLE: connection refused"
    (refused,) = build_tree([span("x", 1, attributes={"error.type": "INVALID_ARGUMENT"})])
    assert refused.error == ""


def test_no_spans_make_no_tree() -> None:
    assert build_tree([]) == []
