"""The parts that the HTML reports are made of: one page each, which needs nothing beside it."""

from __future__ import annotations

import html
import io
from collections.abc import Iterable, Sequence

from matplotlib.figure import Figure

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; margin: 1rem 0 }
th, td { padding: .2rem .7rem; text-align: left }
tr:nth-child(even) { background: #f3f3f3 } th { border-bottom: 1px solid #888 }
figure { margin: 1rem 0 } svg { max-width: 100%; height: auto }
"""


def document(title: str, parts: Iterable[str]) -> bytes:
    """Return a whole page of parts that are HTML already; the title is plain text."""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{plain(title)}'
        f"</title><style>{_STYLE}</style></head><body>\n" + "\n".join(parts) + "\n</body></html>\n"
    ).encode()


def svg(figure: Figure) -> str:
    """Return a plot."""
    file = io.BytesIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
    text = file.getvalue().decode()
    return f"<figure>{text[text.index('<svg') :]}</figure>"


def listing(title: str, lines: Sequence[str]) -> str:
    """Return a list of plain sentences under a heading; nothing if there are none."""
    if not lines:
        return ""
    return f"<h2>{title}</h2><ul>{''.join(f'<li>{plain(line)}</li>' for line in lines)}</ul>"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of plain texts."""
    head = "".join(f"<th>{plain(cell)}</th>" for cell in header)
    body = "".join(f"<tr>{''.join(f'<td>{plain(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def plain(text: str) -> str:
    """Return a text that is no HTML."""
    return html.escape(text)
