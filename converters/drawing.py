"""SVG drawing of a bundle's graph: its parts with their cost, and how often each expert runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from itertools import pairwise
from math import ceil

from ecgmoe_edge.converters.cost_breakdown import CostBreakdown, PartCost
from ecgmoe_edge.converters.text_width import shortened, text_width

_FONT = 12  # px
# Width of a box in px: that of the longest text in its column, within these limits. Longer texts are shortened.
_LEAST_WIDTH, _MOST_WIDTH, _PADDING = 120, 320, 10
_HEIGHT, _GAP_X, _GAP_Y, _MARGIN = 62, 60, 16, 20
_STYLE = (
    f"text{{font:{_FONT}px sans-serif;"
    "fill:#1d2733}.name{font-weight:600}.box{fill:#f4f7fa;stroke:#5b6b7c}"
    ".expert{fill:#eef6ee;stroke:#4c7a4f}.end{fill:#fff8e6;stroke:#9a7b2f}.edge{stroke:#8a98a8;fill:none}"
)


def svg(
    inputs: Sequence[str],
    tasks: Sequence[str],
    costs: CostBreakdown,
    shares: Mapping[str, Sequence[float]],
    title: str,
) -> str:
    """Draw a model as SVG text.

    Args:
        inputs: names of the model's inputs.
        tasks: names of the model's tasks.
        costs: the parts of the model and their cost.
        shares: by path, the fraction of beats (0..1) that each expert ran for; empty if it was not counted.
        title: text above the drawing.
    """
    by_name = {part.name: part for part in costs.parts}
    experts = [part.name for part in costs.experts]
    tail = [part.name for part in costs.parts if part.name.startswith("tail")]
    columns: list[list[str]] = [list(inputs), ["trunk"], experts, tail, [f"{task} logits" for task in tasks]]
    texts = [[(name, *_lines(by_name.get(name), _share(shares, name))) for name in column] for column in columns]
    widths = [_width([line for box in boxes for line in box]) for boxes in texts]
    rows = max(map(len, columns))
    width = 2 * _MARGIN + sum(widths) + (len(columns) - 1) * _GAP_X
    height = 3 * _MARGIN + rows * _HEIGHT + (rows - 1) * _GAP_Y
    centre: list[list[tuple[float, float]]] = []  # for each box: x of its left edge, y of its centre
    x = _MARGIN
    for column, column_width in zip(columns, widths, strict=True):
        used = len(column) * _HEIGHT + (len(column) - 1) * _GAP_Y
        top = 2 * _MARGIN + (height - 3 * _MARGIN - used) / 2 + _HEIGHT / 2
        centre.append([(x, top + row * (_HEIGHT + _GAP_Y)) for row in range(len(column))])
        x += column_width + _GAP_X
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">',
        f"<style>{_STYLE}</style>",
        _text(_MARGIN, _MARGIN, title, width - 2 * _MARGIN, "name"),
    ]
    for (left, right), column_width in zip(pairwise(centre), widths, strict=False):
        out += [_edge(a, b, column_width) for a in left for b in right]
    kinds = ("end", "box", "expert", "box", "end")
    for places, boxes, column_width, kind in zip(centre, texts, widths, kinds, strict=True):
        for (left_edge, y), lines in zip(places, boxes, strict=True):
            out.append(_box(left_edge, y, column_width, kind, lines))
    return "\n".join((*out, "</svg>")) + "\n"


def _share(shares: Mapping[str, Sequence[float]], name: str) -> float | None:
    path, _, number = name.rpartition("_")
    return shares[path][int(number)] if path in shares and number.isdigit() else None


def _lines(cost: PartCost | None, share: float | None) -> list[str]:
    if cost is None:
        return []
    ran = "" if share is None else f"; ran for {100 * share:.0f} %"
    return [f"{cost.parameters:,} parameters, {cost.macs:,} MAC", f"{cost.bytes:,} bytes{ran}"]


def _width(lines: Sequence[str]) -> int:
    widest = max((text_width(line, _FONT) for line in lines), default=0.0)
    return min(max(ceil(widest) + 2 * _PADDING, _LEAST_WIDTH), _MOST_WIDTH)


def _edge(a: tuple[float, float], b: tuple[float, float], width: int) -> str:
    x0, middle, x1 = a[0] + width, a[0] + width + _GAP_X / 2, b[0]
    return f'<path class="edge" d="M{x0} {a[1]:.0f}C{middle} {a[1]:.0f} {middle} {b[1]:.0f} {x1} {b[1]:.0f}"/>'


def _box(x: float, y: float, width: int, kind: str, lines: Sequence[str]) -> str:
    """Draw a box: the first line is its name, in bold, with the other lines below."""
    name, *others = lines
    room = width - 2 * _PADDING
    rows = [_text(x + _PADDING, y - 10 if others else y + 4, name, room, "name")]
    rows += [_text(x + _PADDING, y + 8 + 16 * i, line, room) for i, line in enumerate(others)]
    corner = f'<rect class="{kind}" x="{x}" y="{y - _HEIGHT / 2:.0f}" width="{width}" height="{_HEIGHT}" rx="6"/>'
    return corner + "".join(rows)


def _text(x: float, y: float, text: str, room: float, kind: str = "") -> str:
    """Draw a line of text, shortened to the width `room`; a shortened text has its full form as tooltip."""
    short = shortened(text, _FONT, room)
    of_kind = f' class="{kind}"' if kind else ""
    whole = "" if short == text else f"<title>{escape(text)}</title>"
    return f'<text{of_kind} x="{x}" y="{y:.0f}">{escape(short)}{whole}</text>'
