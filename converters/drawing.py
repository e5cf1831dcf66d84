"""The graph of a bundle as an SVG picture: what runs for every beat, and which expert how often."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from itertools import pairwise

from ecgmoe_edge.converters.anatomy import Anatomy, Cost

_WIDTH, _HEIGHT, _GAP_X, _GAP_Y, _MARGIN = 190, 62, 60, 16, 20
_STYLE = (
    "text{font:12px sans-serif;fill:#1d2733}.name{font-weight:600}.box{fill:#f4f7fa;stroke:#5b6b7c}"
    ".expert{fill:#eef6ee;stroke:#4c7a4f}.end{fill:#fff8e6;stroke:#9a7b2f}.edge{stroke:#8a98a8;fill:none}"
)


def svg(
    inputs: Sequence[str],
    tasks: Sequence[str],
    costs: Anatomy,
    shares: Mapping[str, Sequence[float]],
    title: str,
) -> str:
    """The picture as SVG text.

    Args:
        inputs: names of the model's inputs.
        tasks: what it answers.
        costs: its parts.
        shares: by path, how often each expert ran (0..1); empty where that was not counted.
        title: written above.
    """
    by_name = {part.name: part for part in costs.parts}
    experts = [part.name for part in costs.experts]
    tail = [part.name for part in costs.parts if part.name.startswith("tail")]
    columns: list[list[str]] = [list(inputs), ["trunk"], experts, tail, [f"{task} logits" for task in tasks]]
    rows = max(map(len, columns))
    width = 2 * _MARGIN + len(columns) * _WIDTH + (len(columns) - 1) * _GAP_X
    height = 3 * _MARGIN + rows * _HEIGHT + (rows - 1) * _GAP_Y
    centre: list[list[tuple[float, float]]] = []
    for number, column in enumerate(columns):
        used = len(column) * _HEIGHT + (len(column) - 1) * _GAP_Y
        top = 2 * _MARGIN + (height - 3 * _MARGIN - used) / 2 + _HEIGHT / 2
        x = _MARGIN + number * (_WIDTH + _GAP_X)
        centre.append([(x, top + row * (_HEIGHT + _GAP_Y)) for row in range(len(column))])
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">',
        f"<style>{_STYLE}</style>",
        f'<text class="name" x="{_MARGIN}" y="{_MARGIN}">{escape(title)}</text>',
    ]
    for left, right in pairwise(centre):
        out += [_edge(a, b) for a in left for b in right]
    for number, column in enumerate(columns):
        for (left_edge, y), name in zip(centre[number], column, strict=True):
            kind = ("end", "box", "expert", "box", "end")[number]
            out.append(_box(left_edge, y, kind, name, _lines(by_name.get(name), _share(shares, name))))
    return "\n".join((*out, "</svg>")) + "\n"


def _share(shares: Mapping[str, Sequence[float]], name: str) -> float | None:
    path, _, number = name.rpartition("_")
    return shares[path][int(number)] if path in shares and number.isdigit() else None


def _lines(cost: Cost | None, share: float | None) -> list[str]:
    if cost is None:
        return []
    ran = "" if share is None else f"; ran for {100 * share:.0f} %"
    return [f"{cost.parameters:,} parameters, {cost.macs:,} MAC", f"{cost.bytes:,} bytes{ran}"]


def _edge(a: tuple[float, float], b: tuple[float, float]) -> str:
    x0, middle, x1 = a[0] + _WIDTH, a[0] + _WIDTH + _GAP_X / 2, b[0]
    return f'<path class="edge" d="M{x0} {a[1]:.0f}C{middle} {a[1]:.0f} {middle} {b[1]:.0f} {x1} {b[1]:.0f}"/>'


def _box(x: float, y: float, kind: str, name: str, lines: Sequence[str]) -> str:
    rows = [f'<text class="name" x="{x + 10}" y="{y - 10 if lines else y + 4:.0f}">{escape(name)}</text>']
    rows += [f'<text x="{x + 10}" y="{y + 8 + 16 * i:.0f}">{escape(line)}</text>' for i, line in enumerate(lines)]
    corner = f'<rect class="{kind}" x="{x}" y="{y - _HEIGHT / 2:.0f}" width="{_WIDTH}" height="{_HEIGHT}" rx="6"/>'
    return corner + "".join(rows)
