"""Spans as a tree, with what Triton's span events say made visible.

A step of an ensemble in Triton is a span called like its model, with the events
``REQUEST_START``, ``QUEUE_START`` and ``REQUEST_END``, and below it a span ``compute`` with
``COMPUTE_START``, ``COMPUTE_INPUT_END``, ``COMPUTE_OUTPUT_START`` and ``COMPUTE_END``. How long
the step queued stands only between the events: a line is made for it.

Calls that travel to Triton together share one call to it, in the trace of one of them, joined with
the others by span links: it stands below each of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.telemetry.span import Span, Status

_MODEL = "triton.model_name"
_COMPUTE = "compute"
_BATCH_CALLS = "trident.batch.calls"


@dataclass
class Node:
    """One line of the tree: a span, or what Triton's events say."""

    name: str
    service: str
    span_id: str
    parent_span_id: str
    trace_id: str
    start_ns: int
    end_ns: int
    kind: str = "INTERNAL"
    attributes: dict[str, Any] = field(default_factory=dict)
    events: dict[str, int] = field(default_factory=dict)
    """Name to ns since 1970; the last of those with the same name."""
    status: str = "UNSET"
    """``UNSET``, ``OK`` or ``ERROR``."""
    error: str = ""
    """What went wrong, if anything did."""
    orphan: bool = False
    """Whether its parent is not in the trace, or not yet."""
    derived: bool = False
    """Whether it was made from events."""
    links: list[tuple[str, str]] = field(default_factory=list)
    """Spans that it is joined with: trace ID and span ID."""
    children: list[Node] = field(default_factory=list)

    @property
    def is_batch(self) -> bool:
        """Whether several calls travelled with it."""
        return is_batch(self.kind, self.attributes)

    @property
    def model(self) -> str:
        """The model in Triton that the span is of, or ''."""
        return str(self.attributes.get(_MODEL, ""))

    def walk(self) -> Iterator[Node]:
        """Give it and all below it."""
        yield self
        for child in self.children:
            yield from child.walk()


def is_batch(kind: str, attributes: Mapping[str, Any]) -> bool:
    """Return whether a span is of calls that travel together."""
    return kind == "CLIENT" and _BATCH_CALLS in attributes


def build_tree(spans: Iterable[Span], trace_id: str = "") -> list[Node]:
    """Return the roots of a trace, each with its children by start.

    A span whose parent is missing is a root too. A span that was written twice counts once.

    Args:
        spans: Of the trace, and of the batches that its calls travelled in.
        trace_id: Whose roots are wanted; by default all.
    """
    nodes = {node.span_id: node for node in map(_node, spans)}
    roots = []
    for node in nodes.values():
        parent = nodes.get(node.parent_span_id)
        if parent is None or parent is node:
            node.orphan = bool(node.parent_span_id)
            roots.append(node)
        else:
            parent.children.append(node)
    roots.extend(_cut_cycles(nodes, roots))
    joined = _join_batches(nodes)
    roots = [root for root in roots if root.span_id not in joined]
    if trace_id:
        roots = [root for root in roots if root.trace_id == trace_id]
    for node in nodes.values():
        _blame_step(node)
        node.children.extend(_queue_and_compute(node))
        node.children.sort(key=_by_time)
    return sorted(roots, key=_by_time)


def _by_time(node: Node) -> tuple[int, int]:
    return node.start_ns, node.end_ns


def _cut_cycles(nodes: dict[str, Node], roots: list[Node]) -> Iterator[Node]:
    """Give a root for every circle of parents, which only a faulty writer makes."""
    reached = {node.span_id for root in roots for node in root.walk()}
    for node in nodes.values():
        if node.span_id in reached:
            continue
        nodes[node.parent_span_id].children.remove(node)
        node.orphan = True
        reached.update(inner.span_id for inner in node.walk())
        yield node


def _join_batches(nodes: dict[str, Node]) -> set[str]:
    """Put each batch below the calls that it is linked with; return the batches so placed.

    Links go both ways, and either may be lost. The call's own says which of its spans waits for
    the batch; without it, that is its child ``batch``, or the call itself.
    """
    joined: set[str] = set()
    for node in list(nodes.values()):
        for _, span_id in node.links:
            other = nodes.get(span_id)
            if other is not None and other.is_batch and not node.is_batch:
                _put_below(node, other, joined)
    for node in list(nodes.values()):
        for _, span_id in node.links if node.is_batch else ():
            call = nodes.get(span_id)
            if call is not None and not any(node in inner.children for inner in call.walk()):
                waits = (child for child in call.children if child.name == "batch")
                _put_below(next(waits, call), node, joined)
    return joined


def _blame_step(node: Node) -> None:
    """Say at which step a call to Triton failed, where nobody else has: Triton does not.

    An ensemble stops at the step that fails: it is the one that ended last.
    """
    if node.kind != "CLIENT" or node.status != "ERROR":
        return
    models = [inner for inner in node.walk() if inner.model]
    steps = [one for one in models if not any(child.model for child in one.children)]
    if any(one.status == "ERROR" for one in steps):
        return
    if len(models) > len(steps):  # else there is no ensemble that could have stopped
        last = max(steps, key=lambda one: one.end_ns)
        last.error = last.error or f"{node.error} (the ensemble stopped here)"


def _put_below(node: Node, batch: Node, joined: set[str]) -> None:
    if batch in node.children or any(inner is node for inner in batch.walk()):
        return
    node.children.append(batch)
    joined.add(batch.span_id)


def _node(span: Span) -> Node:
    attributes = dict(span.attributes)
    failed = span.status is Status.ERROR
    return Node(
        name=span.name,
        service=str(span.source.resource.get("service.name", "")),
        span_id=f"{span.span_id:016x}",
        parent_span_id=f"{span.parent_id:016x}" if span.parent_id else "",
        trace_id=f"{span.trace_id:032x}",
        start_ns=span.start_ns,
        end_ns=span.end_ns,
        kind=span.kind.name,
        attributes=attributes,
        events={event.name: event.time_ns for event in span.events},
        status=span.status.name,
        error=_error(attributes, span.message) if failed else "",
        links=[(f"{link.trace_id:032x}", f"{link.span_id:016x}") for link in span.links],
    )


def _error(attributes: dict[str, Any], description: str) -> str:
    kind = str(attributes.get("error.type", "ERROR"))
    return f"{kind}: {description}" if description else kind


def _queue_and_compute(node: Node) -> Iterator[Node]:
    """Give the queue of a model's span, and its compute if no span says it."""
    if not node.model:
        return
    compute = next((child for child in node.children if child.name == _COMPUTE), None)
    events = node.events | (compute.events if compute else {})
    start_ns, end_ns = events.get("COMPUTE_START"), events.get("COMPUTE_END")
    queued_ns = events.get("QUEUE_START")
    if start_ns is not None and queued_ns is not None:
        yield _derived(node, "queue", queued_ns, start_ns)
    if compute is None and start_ns is not None and end_ns is not None:
        yield _derived(node, _COMPUTE, start_ns, end_ns)


def _derived(parent: Node, name: str, start_ns: int, end_ns: int) -> Node:
    return Node(
        name=name,
        service=parent.service,
        span_id=f"{parent.span_id}-{name}",
        parent_span_id=parent.span_id,
        trace_id=parent.trace_id,
        start_ns=start_ns,
        end_ns=max(start_ns, end_ns),
        derived=True,
    )
