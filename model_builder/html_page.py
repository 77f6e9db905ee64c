"""Parts of a report for people: one HTML page that needs nothing beside it."""

from __future__ import annotations

import html
import io
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from triton_models.release import Metric

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; margin: 1rem 0 }
th, td { padding: .2rem .7rem; text-align: left }
tr:nth-child(even) { background: #f3f3f3 } th { border-bottom: 1px solid #888 }
figure { margin: 1rem 0 } svg { max-width: 100%; height: auto }
"""


def page_of(title: str, parts: Iterable[str]) -> bytes:
    """Return the page; ``parts`` are HTML."""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{text(title)}'
        f"</title><style>{_STYLE}</style></head><body>\n" + "\n".join(parts) + "\n</body></html>\n"
    ).encode()


def text(content: str) -> str:
    """Return ``content`` as HTML that shows it."""
    return html.escape(content)


def bullets(title: str, lines: Sequence[str]) -> str:
    """Return a heading and a list; nothing if there are no lines."""
    if not lines:
        return ""
    return f"<h2>{title}</h2><ul>{''.join(f'<li>{text(line)}</li>' for line in lines)}</ul>"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of plain texts."""
    head = "".join(f"<th>{text(cell)}</th>" for cell in header)
    body = "".join(f"<tr>{''.join(f'<td>{text(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def svg(figure: Figure) -> str:
    """Return a plot as part of the page."""
    file = io.BytesIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
    content = file.getvalue().decode()
    return f"<figure>{content[content.index('<svg') :]}</figure>"


def ends(metrics: Sequence[Metric]) -> list[list[float]]:
    """Return how far each interval reaches below and above, as ``errorbar`` wants it."""
    return [[m.value - m.low for m in metrics], [m.high - m.value for m in metrics]]
