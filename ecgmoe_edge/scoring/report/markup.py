"""The HTML elements of a report, as strings; all text is escaped."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape

NOTE = (
    "Research software, not a medical device: not for diagnosis, treatment or patient monitoring. "
    "The figures are valid for these recordings only."
)
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1c2530; max-width: 68rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: .2rem; } h2 { font-size: 1.2rem; margin-top: 2.4rem; }
.note { background: #fff6e0; border-left: 4px solid #d99a00; padding: .5rem .8rem; }
table { border-collapse: collapse; margin: .8rem 0; font-size: .87rem; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .6rem; text-align: right; border-bottom: 1px solid #dde3ea; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; } thead th { background: #f0f3f7; }
figure { margin: 1rem 0; } figure img { max-width: 100%; } figcaption, .small { color: #566270; font-size: .85rem; }
code { background: #f0f3f7; padding: .1rem .3rem; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; } nav a { margin-right: 1rem; }
"""


def page(title: str, sections: Sequence[tuple[str, str]]) -> str:
    """A complete document; it loads nothing from the network.

    Args:
        title: title of the document.
        sections: title and HTML of each section.
    """
    anchors = "".join(f'<a href="#s{number}">{escape(name)}</a>' for number, (name, _) in enumerate(sections))
    body = "".join(
        f'<h2 id="s{number}">{escape(name)}</h2>\n{content}\n' for number, (name, content) in enumerate(sections)
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width"><title>{escape(title)}</title>'
        f'<style>{_STYLE}</style></head>\n<body><h1>{escape(title)}</h1>\n<p class="note">{escape(NOTE)}</p>\n'
        f"<nav>{anchors}</nav>\n{body}</body></html>\n"
    )


def paragraph(text: str, *, small: bool = False) -> str:
    """A paragraph of plain text."""
    return f'<p class="small">{escape(text)}</p>' if small else f"<p>{escape(text)}</p>"


def code(text: str) -> str:
    """A command line."""
    return f"<p><code>{escape(text)}</code></p>"


def table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table whose first column names the rows; None is shown as a dash, a float with two decimals."""
    head = "".join(f"<th>{escape(name)}</th>" for name in headings)
    body = "".join("<tr>" + "".join(f"<td>{escape(shown(cell))}</td>" for cell in row) + "</tr>\n" for row in rows)
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody></table></div>'
        if body
        else paragraph("None.", small=True)
    )


def folded(title: str, content: str) -> str:
    """HTML content that opens on a click."""
    return f"<details><summary>{escape(title)}</summary>{content}</details>"


def picture(svg: bytes, caption: str) -> str:
    """A drawing embedded in the page; a screen reader reads the caption."""
    data = base64.b64encode(svg).decode()
    text = escape(caption)
    return f'<figure><img alt="{text}" src="data:image/svg+xml;base64,{data}"><figcaption>{text}</figcaption></figure>'


def shown(value: object) -> str:
    """The text of a table cell."""
    if value is None:
        return "–"
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def clock(seconds: float) -> str:
    """Time in a record as h:mm:ss.s.

    >>> clock(3725.25)
    '1:02:05.2'
    """
    whole, tenths = divmod(round(10 * seconds), 10)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}.{tenths}"
