"""Time stamps: seconds from numbers, clock times and dates, and what their head shows of rate and jitter."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.records.sample_table.cells import BadCellError, bare, is_missing, numbers_of

StampKind: TypeAlias = Literal["number", "clock", "date"]

DAY_S = 86_400.0
_STAMP = re.compile(
    r"(?:(?P<date>\d{1,4}[-./]\d{1,2}[-./]\d{1,4}|\d{8}(?=T))(?:[T ]\s*|,\s+))?"
    r"(?:(?P<h>\d+):)?(?P<m>\d{1,4}):(?P<s>\d{1,2}(?:[.,:]\d+)?)\s*(?P<half>[AaPp]\.?[Mm]\.?)?\s*"
    r"(?P<zone>Z|UTC|[+-]\d\d:?\d\d)?\Z",
    re.ASCII,
)
_COMPACT = re.compile(r"(\d{8})T(\d\d)(\d\d)(\d\d(?:[.,]\d+)?)(Z|[+-]\d\d:?\d\d)?\Z", re.ASCII)
_DATE_ALONE = re.compile(r"\d{4}[-./]\d{1,2}[-./]\d{1,2}\Z|\d{1,2}[-./]\d{1,2}[-./]\d{4}\Z", re.ASCII)
_ISO = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d{1,6})?\Z", re.ASCII)
_EPOCHS = ((1e9, 4.1e9, 1.0), (1e12, 4.1e12, 1e-3), (1e15, 4.1e15, 1e-6), (1e18, 4.1e18, 1e-9))  # 2001 to 2099
_SCALES = (1.0, 1e-3, 1e-6, 1e-9, DAY_S)  # the last one: as spreadsheets count
_USUAL_HZ = (50.0, 5000.0)  # of a rate that tells the unit of a number; no two units give such a rate
_FEWEST_ROWS = 8
_FEWEST_CHANGES = 4
_SPANS = 8
_AROUND = 15  # stamps to each side that show what a stamp's lag should be


@dataclass(frozen=True)
class Pace:
    """What the stamps of the head show."""

    fs: float  # Hz
    jitter: float  # s: half of the range in which a stamp lies about its even time
    packet: float  # rows that share a stamp, in the median
    certainty: float  # relative error of fs

    @property
    def is_even(self) -> bool:
        """Whether one missing sample shows in the step from one stamp to the next."""
        return self.packet == 1 and self.jitter < 0.25 / self.fs


def is_stamp(cell: str) -> bool:
    """Whether a cell is a clock time or a date, with or without the other."""
    held = bare(cell)
    return bool(_STAMP.match(held) or _DATE_ALONE.match(held) or _COMPACT.match(held))


def kind_of(cells: Sequence[str]) -> StampKind | None:
    """Clock or date, of a column of stamps; None where they are dates without a time of day."""
    held = next((bare(cell) for cell in cells if not is_missing(cell)), "")
    if _COMPACT.match(held):
        return "date"
    found = _STAMP.match(held)
    if found is None:
        return None
    return "date" if found["date"] and _day_number(found["date"]) is not None else "clock"


def seconds_of(cells: list[str], kind: StampKind, decimal: str, scale: float) -> NDArray[np.float64]:
    """Stamps in seconds since any fixed moment, missing ones as NaN.

    Raises:
        BadCellError: the first cell that is no such stamp.
    """
    if kind == "number":
        return numbers_of(cells, decimal) * scale
    if kind == "date" and _ISO.match(cells[0]):
        try:
            moments = np.array(cells, dtype="datetime64[us]")
        except ValueError:  # not all of them are of this form
            moments = np.array(["NaT"], dtype="datetime64[us]")
        if not np.isnat(moments).any():
            return moments.astype(np.int64).astype(np.float64) * 1e-6
    quick = _clock_seconds(cells) if kind == "clock" else None
    if quick is not None:
        return quick
    return np.array([_seconds(cell, kind, index) for index, cell in enumerate(cells)], dtype=np.float64)


def _clock_seconds(cells: Sequence[str]) -> NDArray[np.float64] | None:
    """Clock times that are all of one form, digits and colons; None where they are not."""
    marks = {cell.count(":") for cell in cells}
    if len(marks) > 1 or not marks <= {1, 2}:
        return None
    text = ":".join(cells).replace("'", "").replace('"', "").replace(",", ".")
    try:
        parts = np.fromiter(map(float, text.split(":")), np.float64).reshape(len(cells), -1)
    except ValueError:
        return None
    if not np.isfinite(parts).all() or (parts < 0).any() or (parts[:, -1] >= 61).any():
        return None
    return np.asarray(parts @ np.array([3600.0, 60.0, 1.0])[-parts.shape[1] :], dtype=np.float64)


def scale_of_epoch(values: NDArray[np.float64]) -> float | None:
    """Seconds of one unit where the numbers are of this century's Unix time."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return None
    return next((scale for low, high, scale in _EPOCHS if low <= finite.min() and finite.max() < high), None)


def scale_of_rate(pace: Pace, fs: float | None) -> float | None:
    """Seconds of one unit of numbers whose unit is not stated, from what rate they would be of; None is unclear.

    Args:
        pace: in units of the column.
        fs: the rate that the user states, Hz.
    """
    if fs is not None:
        return next((scale for scale in _SCALES if math.isclose(pace.fs / scale, fs, rel_tol=0.01)), None)
    if pace.fs == 1 and pace.packet == 1:
        return None  # a count of samples, or milliseconds at 1000 Hz
    return next((scale for scale in _SCALES if _USUAL_HZ[0] <= pace.fs / scale <= _USUAL_HZ[1]), None)


def pace_of(stamps: NDArray[np.float64]) -> Pace | None:
    """Rate, jitter and packets of the head's stamps; holes are left out of account. None: too few, or no clock."""
    stamps = stamps[np.isfinite(stamps)]
    at = np.flatnonzero(np.diff(stamps)) + 1
    if len(stamps) < _FEWEST_ROWS or len(at) < _FEWEST_CHANGES:
        return None
    rows, steps = np.diff(at), np.diff(stamps[at])
    if np.mean(steps > 0) < 0.9:
        return None
    each = steps / rows
    usual = float(np.median(each[steps > 0]))
    clean = np.mean(each <= 1.5 * usual) >= 0.9
    kept = (each > 0) & (each <= (1.5 if clean else 3.0) * usual)
    if not kept.any():
        return None
    step = float(steps[kept].sum() / rows[kept].sum()) if clean else _slope(at, stamps[at])
    if not step > 0:
        return None
    lag = stamps[at] - stamps[at[0]] - (at - at[0]) * step
    low, high = np.percentile(lag - _running_median(lag), [2, 98])
    jitter = 0.5 * float(high - low)
    return Pace(1 / step, jitter, float(np.median(rows)), min(1.0, 2 * jitter / float(steps[kept].sum())))


def _slope(places: NDArray[np.int64], stamps: NDArray[np.float64]) -> float:
    """Seconds a row of uneven stamps: the median over spans so long that jitter is small, and a hole spoils few."""
    span = max(1, len(stamps) // _SPANS)
    return float(np.median((stamps[span:] - stamps[:-span]) / (places[span:] - places[:-span])))


def _running_median(lag: NDArray[np.float64]) -> NDArray[np.float64]:
    half = min(_AROUND, (len(lag) - 1) // 2)
    padded = np.pad(lag, half, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1)
    return np.asarray(np.median(windows, axis=1), dtype=np.float64)


def rounded_rate(pace: Pace) -> float:
    """The rate in whole Hz where the stamps allow it, else as they have it."""
    whole = round(pace.fs)
    if whole and abs(pace.fs - whole) <= whole * min(2e-3, max(2e-4, pace.certainty)):
        return float(whole)
    return float(f"{pace.fs:.7g}")


def _seconds(cell: str, kind: StampKind, index: int) -> float:
    if is_missing(cell):
        return math.nan
    held = bare(cell)
    compact = _COMPACT.match(held)
    if compact:
        held = f"{compact[1]}T{compact[2]}:{compact[3]}:{compact[4]}{compact[5] or ''}"
    found = _STAMP.match(held)
    if found is None or (kind == "date" and found["date"] is None):
        raise BadCellError(index, held, "which is not a time as the lines before have it. Correct it")
    whole, _, fraction = found["s"].replace(",", ".").replace(":", ".").partition(".")
    hours = int(found["h"] or 0)
    if found["half"]:
        hours = hours % 12 + (12 if found["half"][0] in "pP" else 0)
    seconds = hours * 3600.0 + int(found["m"]) * 60.0 + float(f"{whole}.{fraction or 0}")
    if kind == "clock":
        return seconds
    day = _day_number(found["date"])
    if day is None:
        raise BadCellError(index, held, "which has a date that cannot be. Correct it")
    zone = (found["zone"] or "").replace(":", "")
    shift = int(zone[:3]) * 3600 + int(zone[0] + zone[3:]) * 60 if zone[:1] in ("+", "-") else 0
    return day * DAY_S + seconds - shift


def _day_number(text: str) -> int | None:
    """Day of a date with the year in front, or day.month.year; None where day and month cannot be known."""
    parts = [text[:4], text[4:6], text[6:]] if text.isdecimal() else re.split(r"[-./]", text)
    if "." in text and len(parts[2]) == 4:
        parts.reverse()
    if len(parts[0]) != 4:
        return None
    try:
        return date(*map(int, parts)).toordinal()
    except ValueError:
        return None
