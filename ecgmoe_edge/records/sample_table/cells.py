"""Parses the cells of a table: numbers with decimal point or comma, and missing samples."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

#: Cells that mean a missing sample, case-folded; the last ones are NaN as Microsoft's C library writes it.
MISSING = frozenset(
    {"", "nan", "na", "n/a", "#n/a", "null", "none", "nil", "-", "--", "?", "-nan", "+nan", "nan(ind)", "-nan(ind)"}
    | {"-1.#ind", "1.#ind", "1.#qnan", "-1.#qnan"}
    | {"<na>", "#na", "#nv", "#n/v", "#n/d", "#н/д"}  # pandas, and #N/A of spreadsheets in other languages
)
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?\Z", re.ASCII)
_COMMA_NUMBER = re.compile(r"[+-]?(?:\d+,\d*|,\d+)(?:[eE][+-]?\d+)?\Z", re.ASCII)
_INFINITE = re.compile(r"[+-]?(?:inf|infinity|1\.#inf)\Z", re.IGNORECASE)
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(?:(?:,\d{3})+(?:\.\d+)?|(?:[ .'’\u00a0\u202f]\d{3})+(?:,\d+)?)\Z", re.ASCII)
_TWO_MARKS = re.compile(r"[+-]?\d{1,3}(?:[.,'’ \u00a0\u202f]\d{3})+[.,]\d+\Z", re.ASCII)
_MAYBE_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(?:,\d{3})+\Z", re.ASCII)
_POINT_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(?:\.\d{3})+\Z", re.ASCII)
_SMALL_WHOLE = re.compile(r"[+-]?\d{1,3}\Z", re.ASCII)
_SEVERAL = 3  # fewer different integers may be marks of missing samples, such as 0
_MINUS = str.maketrans({"\u2212": "-"})  # the minus sign of some programs


class BadCellError(ValueError):
    """A cell that is neither a number nor a missing sample."""

    def __init__(self, index: int, cell: str, why: str) -> None:
        super().__init__(why)
        self.index = index  # index of the cell in the parsed list
        self.cell = cell
        self.why = why  # continues the sentence "... contains 'cell', ..."


def bare(cell: str) -> str:
    """The cell without surrounding blanks and quotes."""
    return cell.strip().strip("\"'").strip()


def is_missing(cell: str) -> bool:
    """Whether the cell means a missing sample."""
    return bare(cell).casefold() in MISSING


def is_number(cell: str) -> bool:
    """Whether the cell is a number, finite or not, with decimal point or comma."""
    cell = bare(cell).translate(_MINUS)
    return bool(_NUMBER.match(cell) or _COMMA_NUMBER.match(cell) or _INFINITE.match(cell) or _THOUSANDS.match(cell))


def split(line: str, separator: str | None) -> list[str]:
    """Split a line into cells; quotes follow RFC 4180.

    Args:
        line: the line.
        separator: character between the cells; a blank means any white space, None a single column.
    """
    if separator is None:
        return [line]
    if separator == " ":
        line = " ".join(line.split())
    if '"' not in line:
        return line.split(separator)
    try:
        return next(csv.reader([line], delimiter=separator, skipinitialspace=True), [""])
    except csv.Error:
        return line.split(separator)


def decimal_mark(cells: Sequence[str]) -> str | None:
    """The decimal mark of a column, "." or ","; None if its numbers have none.

    Raises:
        ValueError: the column has both marks, or its commas may separate thousands; the text continues the sentence
            "Column ... contains".
    """
    numbers = [bare(cell).translate(_MINUS) for cell in cells]
    commas = [cell for cell in numbers if "," in cell and is_number(cell)]
    points = [cell for cell in numbers if "." in cell and is_number(cell)]
    if not commas:
        whole = {cell for cell in numbers if _SMALL_WHOLE.match(cell)}
        if points and len(whole) >= _SEVERAL and all(map(_POINT_THOUSANDS.match, points)):
            raise ValueError(
                f"{points[0]!r} among integers, whose point may be a decimal point or separate thousands. Write "
                "numbers without thousands separators, and all with the same number of decimals"
            )
        return "." if points else None
    for cell in commas:
        if not _COMMA_NUMBER.match(cell):
            raise ValueError(f"{cell!r}, which has a thousands separator. Write numbers without it")
    if points:
        raise ValueError(
            f"{commas[0]!r} and {points[0]!r}, a decimal comma and a decimal point. Write all with decimal points"
        )
    if all(_MAYBE_THOUSANDS.match(cell) for cell in commas):
        raise ValueError(
            f"{commas[0]!r}, whose comma may be a decimal comma or separate thousands. Write numbers with decimal "
            "points and without thousands separators"
        )
    return ","


def numbers_of(cells: list[str], decimal: str, *, carefully: bool = False) -> NDArray[np.float64]:
    """Parse the cells of a column; missing samples are NaN.

    Args:
        cells: cells of successive rows.
        decimal: decimal mark, "." or ",".
        carefully: do not use the fast parser, which accepts an underscore within digits.

    Raises:
        BadCellError: a cell is not a finite number.
    """
    if not carefully:
        quick = cells
        if decimal == ",":
            joined = "\n".join(cells)
            quick = [] if "." in joined else joined.replace(",", ".").split("\n")
        try:
            values = np.fromiter(map(float, quick), np.float64, len(cells))
        except ValueError:
            pass
        else:
            if not np.isinf(values).any():
                return values
    return np.array([_number(cell, decimal, index) for index, cell in enumerate(cells)], dtype=np.float64)


def _number(cell: str, decimal: str, index: int) -> float:
    held = bare(cell)
    if held.casefold() in MISSING:
        return math.nan
    held = held.translate(_MINUS)
    plain = held
    if decimal == "," and _COMMA_NUMBER.match(held):
        plain = held.replace(",", ".")
    elif decimal == "," and "." in held:
        plain = ""
    if _NUMBER.match(plain):
        value = float(plain)
        if not math.isinf(value):
            return value
    raise BadCellError(index, bare(cell), _complaint(held, decimal))


def _complaint(held: str, decimal: str) -> str:
    if decimal == "." and _COMMA_NUMBER.match(held):
        return "a decimal comma where the lines before have none. Write all numbers with decimal points"
    if decimal == "," and _NUMBER.match(held) and "." in held:
        return "a decimal point where the first lines have decimal commas. Write all numbers with decimal points"
    if _THOUSANDS.match(held) or _TWO_MARKS.match(held):
        return "which has a thousands separator. Write numbers without it"
    if _NUMBER.match(held) or _INFINITE.match(held):
        return "which is not a finite number. Correct it, or leave the cell empty if the sample is missing"
    return "which is not a number. Correct it, or leave the cell empty if the sample is missing"
