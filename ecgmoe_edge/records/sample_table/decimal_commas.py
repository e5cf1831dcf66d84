"""Decides whether the commas of a table of integers are separators or decimal commas."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from ecgmoe_edge.errors import RecordError
from ecgmoe_edge.records.sample_table.cells import bare, is_missing, split

_WHOLE = re.compile(r"[+-]?\d+\Z", re.ASCII)
_AGREE = 0.8  # smallest share of rows in which a counter counts on
_SURE_ROWS = 50  # among this many decimal fractions of fixed length, at least one starts with 0


def comma_role(bulk: Sequence[str], above: Sequence[str], name: str) -> str | None:
    """Decide whether commas are separators (",") or the decimal commas of a single column (None).

    Args:
        bulk: lines of samples.
        above: the lines before them, of which some may be samples.
        name: name of the file, for messages.

    Raises:
        RecordError: commas are both, or may be either.
    """
    if any('"' in line for line in bulk):
        return ","
    cells = [[bare(cell) for cell in line.split(",")] for line in bulk]
    width = max(map(len, cells))
    if any(cell and not is_missing(cell) and not _WHOLE.match(cell) for row in cells for cell in row):
        return ","
    header = next((len(split(line, ",")) for line in reversed(above) if not _is_whole_row(line)), None)
    odd = width % 2  # the first column may be a counter
    wholes = [cell for row in cells for cell in row[odd::2]]
    fractions = [cell for row in cells for cell in row[1 + odd :: 2]]
    if header == width or any(not cell.isdecimal() for cell in fractions if cell):
        return ","
    named = header is not None and 2 * header == width
    padded = any(len(cell) > 1 and cell.startswith("0") for cell in fractions)
    sure = ("-0" in wholes and padded) if odd else ("-0" in wholes or padded)
    if width == 2 and (sure or named):
        return None
    if width > 2 and not sure and not named:
        return ","
    if width > 2:
        raise RecordError(
            f"{name} has decimal commas and also commas between the cells. Write it with decimal points, or with "
            "semicolons between the cells."
        )
    if all(len(row) == width for row in cells) and _two_signals(cells):
        return ","
    raise RecordError(
        f"{name} has one comma in each line, which may be a decimal comma or separate two columns. Write it with "
        "decimal points, or name the columns in the first line."
    )


def _is_whole_row(line: str) -> bool:
    return all(_WHOLE.match(cell) or is_missing(cell) for cell in map(bare, line.split(",")))


def _two_signals(cells: Sequence[Sequence[str]]) -> bool:
    """Whether the two integers of each row are independent: the first is a counter, or both change smoothly."""
    try:
        first, second = zip(*((int(row[0]), int(row[1])) for row in cells), strict=True)
    except ValueError:
        return False
    steps = [after - before for before, after in pairwise(first)]
    if len(steps) >= 3 and sum(step == 1 for step in steps) >= _AGREE * len(steps):
        return True
    if len(cells) < _SURE_ROWS:
        return False
    turns = sorted(abs(after - before) for before, after in pairwise(second))
    spread, moves = max(second) - min(second), sorted(map(abs, steps))
    return bool(
        moves[len(moves) // 2] >= 1 and turns[len(turns) // 2] < 0.1 * spread
    )  # the digits after a decimal comma would jump
