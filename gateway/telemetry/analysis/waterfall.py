"""Shows a trace to a person: who did what, when, for how long."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from gateway.telemetry.analysis.tree import Node

_INDENT = 2
_MOST_MATES = 4
"""Traces of other calls in a batch that are named."""
_MIN_BAR, _MIN_NAME = 10, 16
_NUMBER = 10
"""Columns of a number with its gap: ``1234567.89`` ms is more than any call takes."""
_COLOURS = ("cyan", "green", "magenta", "yellow", "blue")


@dataclass(frozen=True)
class _Row:
    node: Node
    label: str
    depth: int


def render(roots: Sequence[Node], console: Console) -> None:
    """Print the waterfall of a trace, as wide as the console."""
    rows = [row for root in roots for row in _rows(root, 0, "")]
    if not rows:
        return
    start_ns = min(row.node.start_ns for row in rows)
    end_ns = max(row.node.end_ns for row in rows)
    services = list(dict.fromkeys(_service(row.node) for row in rows))
    colours = {name: _COLOURS[n % len(_COLOURS)] for n, name in enumerate(services)}
    service_width = max(map(cell_len, services)) + 2
    free = console.width - service_width - 2 * _NUMBER - 2
    longest = max(cell_len(row.label) + _INDENT * row.depth for row in rows)
    name_width = max(_MIN_NAME, min(longest, free - max(_MIN_BAR, free // 3)))
    bar_width = max(_MIN_BAR, free - name_width)
    for line in _head(roots, len(rows), end_ns - start_ns):
        console.print(line, soft_wrap=True)
    console.print(_titles(name_width, service_width, bar_width))
    for row in rows:
        node, colour = row.node, colours[_service(row.node)]
        line = Text(no_wrap=True, overflow="ignore")
        name = set_cell_size(
            _shortened(" " * (_INDENT * row.depth) + row.label, name_width), name_width
        )
        line.append(name, style="bold red" if node.error else "")
        line.append("  " + set_cell_size(_service(node), service_width), style=colour)
        line.append(_bar(node, start_ns, end_ns, bar_width, _fits(console)), style=colour)
        line.append(f"{(node.start_ns - start_ns) / 1e6:{_NUMBER}.2f}", style="dim")
        line.append(f"{(node.end_ns - node.start_ns) / 1e6:{_NUMBER}.2f}")
        console.print(line, soft_wrap=True)
    # A step's error is that of all above it: said once.
    failed: dict[str, list[str]] = {}
    for row in rows:
        if row.node.error:
            failed.setdefault(row.node.error, []).append(row.label)
    for error, labels in failed.items():
        console.print(Text(f"{', '.join(labels)}: {error}", style="red"), soft_wrap=True)
    for row in rows:
        if row.node.is_batch:
            traces = {row.node.trace_id, *(trace for trace, _ in row.node.links)}
            others = traces - {roots[0].trace_id}
            text = f"{row.label}: {_together(row.node.attributes, others)}"
            console.print(Text(text, style="dim"), soft_wrap=True)
        if row.node.orphan:
            text = f"{row.label}: its parent {row.node.parent_span_id} is not in the file"
            console.print(Text(text, style="dim"), soft_wrap=True)


def _head(roots: Sequence[Node], count: int, duration_ns: int) -> Iterator[Text]:
    yield Text.assemble(
        "Trace ",
        (roots[0].trace_id, "bold"),
        f"  {duration_ns / 1e6:.2f} ms, {count} lines",
    )
    for node in (node for root in roots for node in root.walk()):
        said = node.attributes
        # Triton's spans name their release too, but only the gateway's says what was chosen.
        if "trident.line" in said and "trident.variant" in said:
            release = f"{said['trident.line']}/{said.get('trident.release', '')}"
            yield Text(f"{node.name} by {release} ({said['trident.variant']})")


def _together(attributes: Mapping[str, Any], others: Collection[str]) -> str:
    """Say who travelled in a batch."""
    calls = attributes.get("trident.batch.calls", len(others) + 1)
    text = f"{calls} calls travelled together"
    some = sorted(others)[:_MOST_MATES]
    if not some:
        return text
    return f"{text}, also of the traces {', '.join(some)}{' …' if len(others) > len(some) else ''}"


def _titles(name_width: int, service_width: int, bar_width: int) -> Text:
    number = f"{'start ms':>{_NUMBER}}{'ms':>{_NUMBER}}"
    title = f"{'span':{name_width}}  {'service':{service_width}}"[: name_width + 2 + service_width]
    return Text(f"{title}{' ' * bar_width}{number}", style="dim", no_wrap=True)


def _rows(node: Node, depth: int, above: str) -> Iterator[_Row]:
    yield _Row(node, _label(node, above), depth)
    for child in node.children:
        yield from _rows(child, depth + 1, node.model or above)


def _label(node: Node, above: str) -> str:
    """Return the name without what the line above says already."""
    if node.model:
        return node.model.removeprefix(f"{above}__")
    package, _, method = node.name.rpartition("/")
    if not package:
        return node.name
    service = package.rpartition(".")[2]
    return method if service == "GRPCInferenceService" else f"{service}/{method}"


def _service(node: Node) -> str:
    return node.service.removeprefix("trident-")


def _shortened(text: str, width: int) -> str:
    return text if cell_len(text) <= width else set_cell_size(text, width - 1) + "…"


def _fits(console: Console) -> bool:
    """Whether blocks can be printed there."""
    return console.encoding.lower().startswith("utf")


def _bar(node: Node, start_ns: int, end_ns: int, width: int, blocks: bool) -> str:
    """Return where the node lies on the axis of the whole trace; never nothing."""
    scale = (width - 1) / max(1, end_ns - start_ns)
    first = round((node.start_ns - start_ns) * scale)
    last = round((node.end_ns - start_ns) * scale)
    size = max(1, last - first)
    full, thin = ("█", "▏") if blocks else ("#", "|")
    short = (node.end_ns - node.start_ns) * scale < 0.5
    return (" " * first + (thin if short else full * size)).ljust(width)[:width]
