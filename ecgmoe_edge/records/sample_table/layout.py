"""Determines the layout of a table from its first lines: separator, decimal mark, header rows, preamble and columns."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, TypeAlias

from ecgmoe_edge.errors import RecordError
from ecgmoe_edge.records.sample_table.cells import bare, decimal_mark, is_missing, is_number, split
from ecgmoe_edge.records.sample_table.decimal_commas import comma_role
from ecgmoe_edge.records.sample_table.labels import (
    Preamble,
    is_types_row,
    is_units_row,
    known_unit,
    name_and_unit,
    names_lead,
    pair_of,
    preamble_of,
    states_rate_or_unit,
)
from ecgmoe_edge.records.sample_table.stamps import is_stamp

Content: TypeAlias = Literal["numbers", "stamps", "text", "nothing"]

_DECIMAL_ROWS = 1000  # rows in which the decimal mark must occur
HEAD_LINES = 200  # lines from which the layout is determined
_SEPARATORS = ("\t", ";", "|", ",", " ")  # the first of equally good ones is used; a blank means any white space
_MARKS = ("#", "%", "//")
_SPREADSHEET_ERROR = re.compile(r"[\s\"']*#(?:N/?[ADV]|Н/Д|[A-ZÀ-Ý0-9/¡¿]+[!?])[\s\"']*(?:[,;|]|\Z)")
_SEMICOLON_COMMENT = re.compile(r"\s*;\s*[^\W\d_]")
_AGREE = 0.8  # smallest share of cells of one kind that determines the kind of a column
_PLAIN_ROW = re.compile(r"[\s\d,;|\"']+\Z", re.ASCII)  # numbers of columns, or numbers of samples
_PLAIN = re.compile(r"[+-]?\d+\Z", re.ASCII)


@dataclass(frozen=True)
class Column:
    """One column."""

    position: int  # index from 0
    label: str  # label in the header; empty if there is none
    name: str  # label without unit, unique in the table
    unit: str | None  # unit in the label or in the units row
    content: Content
    decimal: str  # "." or ","


@dataclass(frozen=True)
class Layout:
    """The layout of a table."""

    separator: str | None  # None: one column
    columns: tuple[Column, ...]
    width: int  # cells per row
    header_lines: int  # lines above the first sample
    preamble: Preamble
    rows: tuple[tuple[str, ...], ...]  # cells of the first rows of samples


def is_comment(line: str, separator: str | None) -> bool:
    """Whether a line is a comment: %, #, //, or a semicolon and a word if semicolons do not separate cells."""
    if _SPREADSHEET_ERROR.match(line):
        return False  # a cell without a value, such as #N/A or #DIV/0!
    return line.lstrip().startswith(_MARKS) or (separator != ";" and bool(_SEMICOLON_COMMENT.match(line)))


def is_sample_row(line: str, separator: str | None, fewest: int = 0) -> bool:
    """Whether a line at the end of the file may be a row of samples with at least `fewest` cells, and not a footer."""
    cells = split(line, separator)
    if is_comment(line, separator) or len(cells) < fewest:
        return False
    return any(is_number(cell) for cell in cells) or any(is_missing(cell) and bare(cell) for cell in cells)


def layout_of(lines: Sequence[str], name: str) -> Layout:
    """Determine the layout of a table.

    Args:
        lines: the first lines of the file.
        name: name of the file, for messages.

    Raises:
        RecordError: the lines contain no samples, or the layout is ambiguous.
    """
    start = next((line.lstrip() for line in lines if line.strip()), "")
    if start.startswith(("{", "<", "[{", "[[")):
        raise RecordError(f"{name} is JSON, HTML or XML and not a table. Give a table with one row per sample.")
    body = [line for line in lines[-HEAD_LINES:] if line.strip() and not is_comment(line, None)]
    bulk = body[len(body) // 2 :]
    if not any(is_number(cell) for line in bulk for mark in (*_SEPARATORS, None) for cell in split(line, mark)):
        raise RecordError(f"{name} contains no samples. Give a table with one row per sample.")
    separator = max((*_SEPARATORS, None), key=lambda mark: _score(bulk, mark))
    if separator == ",":
        separator = comma_role(bulk, body[: len(body) // 2], name)
    width = _usual_width(bulk, separator)
    kinds = [_content_of([row[at] for row in _rows(bulk, separator, width)]) for at in range(width)]
    first = _first_sample(lines, separator, kinds)
    if first is None:
        raise RecordError(f"{name} contains no samples. Give a table with one row per sample.")
    rows = _rows([line for line in lines[first:] if line.strip()], separator, width)
    above = list(lines[:first])
    counts = [bare(row[0]) for row in rows[:HEAD_LINES]]
    labels, units, rest = _header(above, separator, kinds, name, first_counts=_counts_on(counts))
    preamble = preamble_of(rest)
    marks = [
        _decimal([row[at] for row in rows[:_DECIMAL_ROWS]], labels[at] or str(at), name, kinds[at])
        for at in range(width)
    ]
    usual = "," if "," in marks and "." not in marks else "."
    columns = []
    for at, (label, mark, content) in enumerate(zip(labels, marks, kinds, strict=True)):
        called, unit = name_and_unit(label)
        stated = known_unit(units[at]) or unit or (_openbci_unit(label) if preamble.openbci else None)
        called = called or label or (preamble.lead if width == 1 else None) or str(at)
        columns.append(Column(at, label, called, stated, content, mark or usual))
    return Layout(separator, _with_unique_names(columns), width, first, preamble, tuple(map(tuple, rows)))


def _openbci_unit(label: str) -> str | None:
    """The OpenBCI program writes the channels of its boards in microvolts without stating the unit."""
    return "uV" if label.casefold().startswith(("exg channel", "eeg channel", "ecg channel")) else None


def _with_unique_names(columns: Sequence[Column]) -> tuple[Column, ...]:
    """Columns with unique names: the position is appended to a repeated name."""
    names = Counter(column.name.casefold() for column in columns)
    seen: set[str] = set()
    result = []
    for column in columns:
        name = column.name
        if names[name.casefold()] > 1 and column.label and column.label != name:
            name = column.label  # such as `II [mV]` and `II [uV]`
        if name.casefold() in seen:
            name = f"{name} ({column.position})"
        seen.add(name.casefold())
        result.append(Column(column.position, column.label, name, column.unit, column.content, column.decimal))
    return tuple(result)


def _rows(lines: Sequence[str], separator: str | None, width: int) -> list[list[str]]:
    cells = (split(line, separator) for line in lines if not is_comment(line, separator))
    return [row for row in cells if len(row) == width]


def _usual_width(lines: Sequence[str], separator: str | None) -> int:
    return Counter(len(split(line, separator)) for line in lines).most_common(1)[0][0]


def _score(lines: Sequence[str], separator: str | None) -> float:
    width = _usual_width(lines, separator)
    if width == 1 and separator is not None:
        return -math.inf
    rows = _rows(lines, separator, width)
    kinds = [_content_of([row[at] for row in rows]) for at in range(width)] if rows else []
    points = sum(kind in ("numbers", "stamps") for kind in kinds) - sum(kind == "text" for kind in kinds)
    return points * len(rows) / len(lines)


def _content_of(cells: Sequence[str]) -> Content:
    filled = [cell for cell in cells if not is_missing(cell)]
    if not filled:
        return "nothing"
    if sum(map(is_number, filled)) >= _AGREE * len(filled):
        return "numbers"
    return "stamps" if sum(map(is_stamp, filled)) >= _AGREE * len(filled) else "text"


def _fits(cell: str, kind: Content) -> bool:
    if kind == "numbers":
        return is_number(cell) or is_missing(cell)
    return kind != "stamps" or is_stamp(cell) or is_missing(cell)


def _first_sample(lines: Sequence[str], separator: str | None, kinds: Sequence[Content]) -> int | None:
    """Index of the first line whose cells match the kinds of their columns."""
    for index, line in enumerate(lines):
        cells = split(line, separator)
        if not line.strip() or is_comment(line, separator) or len(cells) < len(kinds):
            continue
        if all(map(_fits, cells, kinds)) and any(
            kind in ("numbers", "stamps") and not is_missing(cell) for cell, kind in zip(cells, kinds, strict=False)
        ):
            if _numbers_columns(cells, lines[index + 1 : index + 2], separator) or _counts_samples(
                cells, lines[:index]
            ):
                continue
            return _with_leading_missing(lines, index, separator, len(kinds))
    return None


def _numbers_columns(cells: Sequence[str], after: Sequence[str], separator: str | None) -> bool:
    """Whether a row consists of the column numbers 0, 1, ..., which pandas writes if columns have no names."""
    held = [bare(cell) for cell in cells]
    has_index = not held[0]
    if held[has_index:] != [str(number) for number in range(len(held) - has_index)] or len(held) < 2:
        return False
    following = [bare(cell) for line in after for cell in split(line, separator)]
    return bool(following) and (bool(following[0]) if has_index else any("." in cell for cell in following))


def _counts_samples(cells: Sequence[str], above: Sequence[str]) -> bool:
    """Whether a row states the number of samples of each channel, as written by BIOPAC below the names."""
    first, *others = (bare(cell) for cell in cells)
    filled = {cell for cell in others if cell}
    return (
        not first and len(filled) == 1 and all(map(_PLAIN.match, filled)) and any("/sample" in line for line in above)
    )


def _with_leading_missing(lines: Sequence[str], first: int, separator: str | None, width: int) -> int:
    """Move the first sample up over leading missing samples, such as `nan`, or rows of empty cells."""
    at = first
    while at and lines[at - 1].strip(" \r"):
        cells = split(lines[at - 1], separator)
        if len(cells) < width or not all(map(is_missing, cells)):
            break
        at -= 1
    return at if width == 1 or first - at > 1 else first  # one row may be an empty line that a spreadsheet has padded


def _header(
    above: Sequence[str], separator: str | None, kinds: Sequence[Content], name: str, *, first_counts: bool
) -> tuple[list[str], list[str], list[str]]:
    """Labels and units of the columns, and the other lines above the samples."""
    width = len(kinds)
    found = _header_rows(above, separator, kinds, name, first_counts=first_counts)
    labels, units = [""] * width, [""] * width
    labchart = _labchart(above, separator, width)
    if labchart is not None:
        return *labchart, list(above)
    used: set[int] = set()
    rows = [row for row in found if is_units_row(row[1])]
    names = [row for row in found if not is_units_row(row[1])]
    if rows and not names and width == 1:  # a single column whose label is its unit
        names, rows = rows, []
    if rows:
        used.add(rows[0][0])
        units = rows[0][1]
    if names:
        used.add(names[0][0])
        labels = names[0][1]
    else:
        labels, comment = _names_in_comment(above, separator, width)
        used |= comment
    return labels, units, [line for index, line in enumerate(above) if index not in used]


def _header_rows(
    above: Sequence[str], separator: str | None, kinds: Sequence[Content], name: str, *, first_counts: bool
) -> list[tuple[int, list[str]]]:
    """The lines directly above the samples that have a cell for each column: at most one with names, one with units."""
    width = len(kinds)
    needed = max((at + 1 for at, kind in enumerate(kinds) if kind != "nothing"), default=width)
    found: list[tuple[int, list[str]]] = []
    for index in range(len(above) - 1, -1, -1):
        line = above[index]
        if not line.strip() or is_comment(line, separator):
            continue
        cells = [bare(cell) for cell in split(line, separator)]
        while len(cells) > width and not cells[-1]:
            cells.pop()
        if index == len(above) - 1 and len(cells) == width - 1 and first_counts and all(cells):
            cells.insert(0, "")  # R writes row numbers without a label
        if not (needed <= len(cells) <= width) or _is_key_and_value(line, above, width):
            if not found and index == len(above) - 1:
                _refuse_other_width(cells, line, width, index, above, name)
            break
        if is_types_row(cells) or _PLAIN_ROW.match(line):
            continue
        if found and is_units_row(cells) == is_units_row(found[0][1]):
            break
        found.append((index, cells + [""] * (width - len(cells))))
        if len(found) == 2:
            break
    return found


def _counts_on(cells: Sequence[str]) -> bool:
    """Whether the cells are integers that increase by one from row to row."""
    if len(cells) < 3 or not all(map(_PLAIN.match, cells)):
        return False
    return all(int(after) - int(before) == 1 for before, after in pairwise(cells))


def _labchart(above: Sequence[str], separator: str | None, width: int) -> tuple[list[str], list[str]] | None:
    """Labels and units of a LabChart export, in lines with keys such as `ChannelTitle=`; None for other files."""
    found = {}
    for line in above:
        key, *cells = (bare(cell) for cell in split(line, separator))
        if key.endswith("=") and len(cells) < width:
            found[key.casefold()] = [""] * (width - len(cells)) + cells
    if "channeltitle=" not in found:
        return None
    ranges = [cell.rpartition(" ")[2] for cell in found.get("range=", [""] * width)]  # such as `10.000 mV`
    return found["channeltitle="], found.get("unitname=", ranges)


def _is_key_and_value(line: str, above: Sequence[str], width: int) -> bool:
    """Whether a line above the samples states a property of the recording and is not a row of labels."""
    if states_rate_or_unit(line):
        return True
    if width == 1 and re.match(r"\s*\d+ [^\W\d_]", line):
        return True  # such as `1 channels`
    if width > 2 or pair_of(line) is None:
        return False
    return sum(pair_of(other) is not None for other in above) > 1 and (width == 1 or not above[-1].strip())


def _refuse_other_width(
    cells: Sequence[str], line: str, width: int, index: int, above: Sequence[str], name: str
) -> None:
    written = [cell for cell in cells if cell]
    if len(written) < 2 or (pair_of(line) and (states_rate_or_unit(line) or len(above) > 1)):
        return
    raise RecordError(
        f"Line {index + 1} of {name} names {len(written)} columns, but the rows below have {width}. Name every column, "
        "and write numbers with decimal points."
    )


def _names_in_comment(above: Sequence[str], separator: str | None, width: int) -> tuple[list[str], set[int]]:
    """Labels in the last comment above the samples, as written by numpy.savetxt."""
    if above and above[-1].strip() and is_comment(above[-1], separator) and not states_rate_or_unit(above[-1]):
        cells = [bare(cell) for cell in split(above[-1].lstrip("#%/; \t"), separator)]
        if len(cells) == width and all(cells) and (width > 1 or names_lead(cells[0])):
            return cells, {len(above) - 1}
    return [""] * width, set()


def _decimal(cells: Sequence[str], label: str, name: str, kind: Content) -> str | None:
    if kind != "numbers":
        return None
    try:
        return decimal_mark(cells)
    except ValueError as found:
        raise RecordError(f"Column {label} of {name} contains {found}.") from None
