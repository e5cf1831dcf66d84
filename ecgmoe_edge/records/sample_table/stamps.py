"""Parses time stamps (numbers, clock times and dates) and estimates their sampling rate and jitter."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.errors import RecordError
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
_NAMED_MONTH = re.compile(
    r"(?:[A-Za-z]{2,9}\.?,?\s+)?(?:(?P<d>\d{1,2})\.?[-. /](?P<m>[^\W\d_]{3,9})\.?[-. /,]+(?P<y>\d{4})"
    r"|(?P<m2>[^\W\d_]{3,9})\.?\s+(?P<d2>\d{1,2}),?\s+(?P<y2>\d{4}))(?=\D|\Z)"
)
_MONTHS = {
    name: number
    for number, names in enumerate(
        ("jan", "feb", "mar mär mrz", "apr", "may mai", "jun", "jul", "aug", "sep", "oct okt", "nov", "dec dez"),
        start=1,
    )
    for name in names.split()
}
_TIME_FIRST = re.compile(r"(\d+:[\d:.,]+)\s+(\d{1,4}[-./]\d{1,2}[-./]\d{2,4})\Z", re.ASCII)
_FRACTION = re.compile(r":(\d{1,2})[.,](\d{1,3})(?=\D|\Z)", re.ASCII)
_ISO = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d{1,6})?\Z", re.ASCII)
_EPOCHS = ((1e9, 4.1e9, 1.0), (1e12, 4.1e12, 1e-3), (1e15, 4.1e15, 1e-6), (1e18, 4.1e18, 1e-9))  # 2001 to 2099
_SCALES = (1.0, 1e-3, 1e-6, 1e-9, DAY_S)  # seconds per unit; spreadsheets count days
_USUAL_HZ = (50.0, 5000.0)  # for any number, at most one unit gives a rate in this range
_FEWEST_ROWS = 8
_FEWEST_CHANGES = 4
_LARGE_PACKET = 20  # rows; in larger packets, one row more or less changes the rate by less than 5 %
_SPANS = 8
_AROUND = 15  # stamps on each side for the running median of the lag


@dataclass(frozen=True)
class StampTiming:
    """Timing of the rows in the first lines, estimated from their stamps."""

    fs: float  # Hz
    jitter: float  # half of the range of the deviations of the stamps from even times, s
    packet: float  # median number of rows with the same stamp
    certainty: float  # relative error of fs

    @property
    def is_even(self) -> bool:
        """Whether a single missing sample can be seen in the difference of two consecutive stamps."""
        return self.packet == 1 and self.jitter < 0.25 / self.fs


def is_stamp(cell: str) -> bool:
    """Whether a cell is a clock time, a date, or both."""
    held = _usual_form(bare(cell))
    return bool(_STAMP.match(held) or _DATE_ALONE.match(held) or _COMPACT.match(held))


def _usual_form(stamp: str) -> str:
    """A stamp with the date as numbers and before the time, such as `2024-03-05 10:00:00` of `05-Mar-2024 10:00:00`."""
    stamp = stamp.strip("[]").strip()
    if stamp[:1].isdigit() and not (len(stamp) > 3 and (stamp[2].isalpha() or stamp[3].isalpha() or " " in stamp)):
        return stamp
    if found := _TIME_FIRST.match(stamp):
        return f"{found[2]} {found[1]}"
    named = _NAMED_MONTH.match(stamp)
    month = _MONTHS.get((named["m"] or named["m2"])[:3].casefold()) if named else None
    if named is None or month is None:
        return stamp
    day, year = named["d"] or named["d2"], named["y"] or named["y2"]
    return f"{year}-{month:02d}-{int(day):02d}{stamp[named.end() :]}"


def check_fractions(cells: Sequence[str], column: str) -> None:
    """Check that 8 ms is not written as `.8`: then fractions have different lengths, and none of them starts with 0.

    Raises:
        RecordError: fractions of a second lack leading zeros.
    """
    found = [one for cell in cells if (one := _FRACTION.search(cell)) is not None]
    fractions = {one[2] for one in found}
    if len({one[1] for one in found}) < 2 or len({len(text) for text in fractions}) < 2:
        return
    if not any(text.startswith("0") and text.strip("0") for text in fractions):
        raise RecordError(
            f"Column {column} has fractions of a second without leading zeros: 8 ms is written as .8. Write them as "
            ".008, or give --time-column none and --fs if the rows are evenly spaced."
        )


def kind_of(cells: Sequence[str]) -> StampKind | None:
    """Whether the stamps of a column are clock times or dates; None if they are dates without a time of day."""
    held = _usual_form(next((bare(cell) for cell in cells if not is_missing(cell)), ""))
    if _COMPACT.match(held):
        return "date"
    found = _STAMP.match(held)
    if found is None:
        return None
    return "date" if found["date"] and _day_number(found["date"]) is not None else "clock"


def seconds_of(cells: list[str], kind: StampKind, decimal: str, scale: float) -> NDArray[np.float64]:
    """Parse stamps to seconds since an arbitrary fixed time; missing stamps are NaN.

    Args:
        cells: cells of successive rows.
        kind: kind of the stamps.
        decimal: decimal mark of numbers.
        scale: seconds per unit of numbers.

    Raises:
        BadCellError: a cell is not a stamp of this kind.
    """
    if kind == "number":
        return numbers_of(cells, decimal) * scale
    if kind == "date" and _ISO.match(cells[0]):
        try:
            moments = np.array(cells, dtype="datetime64[us]")
        except ValueError:  # some stamps have another form
            moments = np.array(["NaT"], dtype="datetime64[us]")
        if not np.isnat(moments).any():
            return moments.astype(np.int64).astype(np.float64) * 1e-6
    quick = _plain_clock_seconds(cells) if kind == "clock" else None
    if quick is not None:
        return quick
    return np.array([_seconds(cell, kind, index) for index, cell in enumerate(cells)], dtype=np.float64)


def _plain_clock_seconds(cells: Sequence[str]) -> NDArray[np.float64] | None:
    """Seconds of clock times if all have the same form of digits and colons; otherwise None."""
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
    """Seconds per unit if the numbers are Unix times of this century; otherwise None."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return None
    return next((scale for low, high, scale in _EPOCHS if low <= finite.min() and finite.max() < high), None)


def scale_of_rate(timing: StampTiming, fs: float | None) -> float | None:
    """Seconds per unit of a time column without a unit: the unit that gives a plausible sampling rate.

    Args:
        timing: timing in units of the column.
        fs: sampling rate that the user states, Hz.

    Returns:
        Seconds per unit; None if the unit is ambiguous.
    """
    if fs is not None:
        return next((scale for scale in _SCALES if math.isclose(timing.fs / scale, fs, rel_tol=0.01)), None)
    if timing.fs == 1 and timing.packet == 1:
        return None  # a count of samples, or milliseconds at 1000 Hz
    return next((scale for scale in _SCALES if _USUAL_HZ[0] <= timing.fs / scale <= _USUAL_HZ[1]), None)


def timing_of(stamps: NDArray[np.float64]) -> StampTiming | None:
    """Estimate rate, jitter and packet size of stamps; gaps are ignored.

    Returns:
        The timing; None if there are too few stamps or they do not increase.
    """
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
    alike = kept & (np.abs(rows - np.median(rows)) <= 1)
    if np.median(rows) >= _LARGE_PACKET and 2 * alike.sum() >= len(rows):
        kept, clean = alike, np.True_  # the other packets have lost rows
    if not kept.any():
        return None
    step = float(steps[kept].sum() / rows[kept].sum()) if clean else _slope(at, stamps[at])
    if not step > 0:
        return None
    lag = stamps[at] - stamps[at[0]] - (at - at[0]) * step
    low, high = np.percentile(lag - _running_median(lag), [2, 98])
    jitter = 0.5 * float(high - low)
    return StampTiming(1 / step, jitter, float(np.median(rows)), min(1.0, 2 * jitter / float(steps[kept].sum())))


def _slope(places: NDArray[np.int64], stamps: NDArray[np.float64]) -> float:
    """Seconds per row of uneven stamps: the median over long spans, in which jitter is small and gaps are few."""
    span = max(1, len(stamps) // _SPANS)
    return float(np.median((stamps[span:] - stamps[:-span]) / (places[span:] - places[:-span])))


def _running_median(lag: NDArray[np.float64]) -> NDArray[np.float64]:
    half = min(_AROUND, (len(lag) - 1) // 2)
    padded = np.pad(lag, half, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1)
    return np.asarray(np.median(windows, axis=1), dtype=np.float64)


def rounded_rate(timing: StampTiming) -> float:
    """The sampling rate, rounded to an integer if the accuracy of the stamps permits it."""
    whole = round(timing.fs)
    if whole and abs(timing.fs - whole) <= whole * min(2e-3, max(2e-4, timing.certainty)):
        return float(whole)
    return float(f"{timing.fs:.7g}")


def _seconds(cell: str, kind: StampKind, index: int) -> float:
    if is_missing(cell):
        return math.nan
    held = _usual_form(bare(cell))
    compact = _COMPACT.match(held)
    if compact:
        held = f"{compact[1]}T{compact[2]}:{compact[3]}:{compact[4]}{compact[5] or ''}"
    found = _STAMP.match(held)
    if found is None or (kind == "date" and found["date"] is None):
        raise BadCellError(index, held, "which is not a time like those in the lines before. Correct it")
    whole, _, fraction = found["s"].replace(",", ".").replace(":", ".").partition(".")
    hours = int(found["h"] or 0)
    if found["half"]:
        hours = hours % 12 + (12 if found["half"][0] in "pP" else 0)
    seconds = hours * 3600.0 + int(found["m"]) * 60.0 + float(f"{whole}.{fraction or 0}")
    if kind == "clock":
        return seconds
    day = _day_number(found["date"])
    if day is None:
        raise BadCellError(index, held, "which has an invalid date. Correct it")
    zone = (found["zone"] or "").replace(":", "")
    shift = int(zone[:3]) * 3600 + int(zone[0] + zone[3:]) * 60 if zone[:1] in ("+", "-") else 0
    return day * DAY_S + seconds - shift


def _day_number(text: str) -> int | None:
    """Day number of a date as year-month-day or day.month.year; None if day and month are ambiguous."""
    parts = [text[:4], text[4:6], text[6:]] if text.isdecimal() else re.split(r"[-./]", text)
    if "." in text and len(parts[2]) == 4:
        parts.reverse()
    if len(parts[0]) != 4:
        return None
    try:
        return date(*map(int, parts)).toordinal()
    except ValueError:
        return None
