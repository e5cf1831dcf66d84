"""Determines the role of each column of a table (time, sample counter, lead or other) and the unit of each lead."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.errors import RecordError, UsageError
from ecgmoe_edge.records.recording import Lead, OpenOptions, Remark, choose_leads, is_voltage, millivolts_per
from ecgmoe_edge.records.sample_table.cells import BadCellError, numbers_of
from ecgmoe_edge.records.sample_table.labels import (
    COUNTS,
    SECONDS,
    names_counter,
    names_heart_rate,
    names_lead,
    names_other_signal,
    names_time,
)
from ecgmoe_edge.records.sample_table.layout import Column, Layout
from ecgmoe_edge.records.sample_table.stamps import (
    StampKind,
    StampTiming,
    check_fractions,
    kind_of,
    rounded_rate,
    scale_of_epoch,
    scale_of_rate,
    seconds_of,
    timing_of,
)

NO_TIME_COLUMN = "none"  # value of `time_column` if the rows are evenly spaced
_SLOWEST_HZ, _FASTEST_HZ = 1.0, 100_000.0
_FEWEST_EVEN = 20  # fewest evenly increasing rows that make an unnamed column a time or counter column
_AGREE = 0.9
_LARGE_MV = 50.0  # the median absolute deviation of an ECG is smaller
_LISTED = 8  # most names in a remark
_RAIL_UV = 187_500.0  # value of an open input of an OpenBCI Cyton at its default gain


@dataclass(frozen=True)
class TimeColumn:
    """A time column, and its timing in the first rows."""

    column: Column
    kind: StampKind
    scale: float  # seconds per unit
    whole_numbers: bool
    timing: StampTiming | None  # None: there are too few time stamps


@dataclass(frozen=True)
class CounterColumn:
    """A sample counter."""

    column: Column
    step: float | None  # increment per row; None: it does not count evenly
    modulus: float | None  # the counter wraps to its start after this number of counts; None: no wrap in the first rows


@dataclass(frozen=True)
class Roles:
    """The roles of the columns of a table."""

    time: TimeColumn | None
    counter: CounterColumn | None
    leads: tuple[Column, ...]
    units: tuple[str, ...]  # unit of each lead
    scales: tuple[float, ...]  # mV per unit of each lead; 1 if it is not a voltage
    fs: float  # Hz
    remarks: tuple[Remark, ...]


def roles_of(layout: Layout, options: OpenOptions, name: str) -> Roles:
    """Determine the roles of the columns of a table from their names and their first rows.

    Args:
        layout: the layout of the table.
        options: properties that the user states.
        name: name of the file, for messages.

    Raises:
        RecordError: there is no such column, or no column that may be an ECG.
        UsageError: the sampling rate is unknown, or an option contradicts the file.
    """
    times, counters = _times_and_counters(layout, options, name)
    time = min(times, key=_evenness_key, default=None)
    counter = next((one for one in counters if one.step is not None), None)
    aside = {found.column.position for found in times} | {one.column.position for one in counters}
    leads, remarks = _lead_columns(layout, options, aside, name)
    fs, about_rate = _rate(layout, time, counter, options.fs, name)
    units, scales, about_units = _units(leads, layout.preamble.unit, options, name)
    implausible = _implausible_units(layout, leads, units, scales) if options.uv_per_lsb is None else []
    return Roles(
        time if time and time.timing else None, counter, leads, units, scales, fs,
        (*about_rate, *about_units, *remarks, *implausible),
    )  # fmt: skip


def cells_of(layout: Layout, column: Column) -> list[str]:
    """Cells of one column in the first rows."""
    return [row[column.position] for row in layout.rows]


def _head_numbers(layout: Layout, column: Column) -> NDArray[np.float64]:
    """Numbers of one column in the first rows; an invalid cell is NaN here and is reported when the row is read."""
    return _leniently(cells_of(layout, column), lambda cells: numbers_of(cells, column.decimal))


def _leniently(cells: list[str], read: Callable[[list[str]], NDArray[np.float64]]) -> NDArray[np.float64]:
    try:
        return read(cells)
    except BadCellError:
        return np.array([_one_or_nan(cell, read) for cell in cells], dtype=np.float64)


def _one_or_nan(cell: str, read: Callable[[list[str]], NDArray[np.float64]]) -> float:
    try:
        return float(read([cell])[0])
    except BadCellError:
        return math.nan


def _evenness_key(time: TimeColumn) -> tuple[bool, float, float]:
    timing = time.timing
    return (timing is None, timing.packet if timing else 0.0, timing.jitter if timing else 0.0)


def _times_and_counters(
    layout: Layout, options: OpenOptions, name: str
) -> tuple[list[TimeColumn], list[CounterColumn]]:
    if options.time_column is not None:
        if str(options.time_column).casefold() == NO_TIME_COLUMN:
            return [], [_counter(layout, one, use=False) for one in layout.columns if _is_clock(layout, one, ())]
        column = layout.columns[chosen_columns(layout, [options.time_column], name)[0]]
        time = _time(layout, column, options.fs, named=True)
        if time is None or time.timing is None:
            counter = _counter(layout, column)
            if counter.step is None:
                raise RecordError(
                    f"Column {column.name} of {name} does not increase like time. Name another with --time-column."
                )
            return [], [counter]
        return [time], [
            _counter(layout, one) for one in layout.columns if one is not column and _is_clock(layout, one, ())
        ]
    wanted = chosen_columns(layout, options.columns, name) if options.columns is not None else []
    times: list[TimeColumn] = []
    counters: list[CounterColumn] = []
    for column in layout.columns:
        if not _is_clock(layout, column, wanted):
            continue
        time = None if names_counter(column.label) else _time(layout, column, options.fs)
        if time is not None:
            times.append(time)
        else:
            counters.append(_counter(layout, column))
    return times, counters


def _is_clock(layout: Layout, column: Column, wanted: Sequence[int]) -> bool:
    """Whether a column is time or a counter, by its name or by its even increase."""
    if column.content == "stamps":
        return True
    if column.content != "numbers" or (column.unit and column.unit not in SECONDS and column.unit != "clock"):
        return False
    if names_counter(column.label) or column.unit:
        return True
    if names_time(column.label):  # such as `ECG timestamp`, and not `ECG in real time`
        return not names_lead(column.label) or timing_of(_head_numbers(layout, column)) is not None
    if column.position in wanted or names_lead(column.label):
        return False
    numbers = _head_numbers(layout, column)
    if len(numbers) < _FEWEST_EVEN or not np.isfinite(numbers).all():
        return _counter(layout, column).step is not None and column.position == 0 and len(layout.columns) > 1
    if _counter(layout, column).step is not None:
        return True
    timing = timing_of(numbers)
    return timing is not None and timing.is_even and bool(np.mean(np.diff(numbers) > 0) >= _AGREE)


def _time(layout: Layout, column: Column, fs: float | None, *, named: bool = False) -> TimeColumn | None:
    """The column as a time column; None if its numbers may also be a sample counter."""
    cells = cells_of(layout, column)
    kind: StampKind | None = "number"
    scale: float | None = 1.0
    whole = False
    if column.content == "stamps":
        check_fractions(cells, column.name)
        kind = kind_of(cells)
    else:
        numbers = _head_numbers(layout, column)
        whole = bool(np.all(np.mod(numbers[np.isfinite(numbers)], 1) == 0))
        timing = timing_of(numbers)
        scale = SECONDS.get(column.unit or "") or scale_of_epoch(numbers)
        if scale is None and timing is not None:
            scale = scale_of_rate(timing, fs) or (None if fs is None else scale_of_rate(timing, None))
            if scale is None and not named and whole and timing.packet == 1 and _counter(layout, column).step:
                return None
    if kind is None or scale is None:
        return TimeColumn(column, "number", 1.0, whole, None)
    stamps = _leniently(cells, lambda these: seconds_of(these, kind, column.decimal, scale))
    return TimeColumn(column, kind, scale, whole, timing_of(_over_midnight(stamps, kind)))


def _over_midnight(stamps: NDArray[np.float64], kind: StampKind) -> NDArray[np.float64]:
    if kind != "clock":
        return stamps
    return stamps + 86_400.0 * np.concatenate([[0], np.cumsum(np.diff(stamps) < -43_200.0)])


def _counter(layout: Layout, column: Column, *, use: bool = True) -> CounterColumn:
    numbers = _head_numbers(layout, column) if use and column.content == "numbers" else np.zeros(0)
    if len(numbers) < 3 or not np.isfinite(numbers).all() or np.any(np.mod(numbers, 1) != 0):
        return CounterColumn(column, None, None)
    steps = np.diff(numbers)
    step = float(np.median(steps))
    wraps = np.flatnonzero(steps < 0)
    modulus = float(numbers.max() - numbers.min() + step) if len(wraps) else None
    even = np.mean(steps == step) >= _AGREE and 0 < step <= 16 and (modulus is None or modulus >= 8 * step)
    if not even or (step > 1 and not names_counter(column.label)):
        return CounterColumn(column, None, None)
    return CounterColumn(column, step, modulus)


def chosen_columns(layout: Layout, wanted: Sequence[Lead], name: str) -> list[int]:
    """Indices of the columns that the user names by name, complete label or index.

    Raises:
        RecordError: there is no such column, or no column is named.
    """
    labels = [column.label for column in layout.columns]
    names = [column.name for column in layout.columns]
    return [
        labels.index(one) if isinstance(one, str) and one not in names and one in labels and one
        else choose_leads(names, [one], name)[0]
        for one in wanted
    ] or choose_leads(names, [], name)  # fmt: skip


def _lead_columns(
    layout: Layout, options: OpenOptions, aside: set[int], name: str
) -> tuple[tuple[Column, ...], list[Remark]]:
    if options.columns is not None:
        chosen = [layout.columns[position] for position in chosen_columns(layout, options.columns, name)]
        for column in chosen:
            if column.position in aside:
                raise RecordError(
                    f"Column {column.name} of {name} is a time column or a sample counter and not a lead. Do not name "
                    "it in --columns."
                )
        if len({column.position for column in chosen}) < len(chosen):
            raise RecordError(f"A column of {name} is named twice. Name each column once.")
        return tuple(chosen), []
    leads: list[Column] = []
    left: list[Column] = []
    for column in layout.columns:
        if column.position in aside or (column.content == "nothing" and not column.label):
            continue
        rate_beside_ecg = names_heart_rate(column.label) and any(names_lead(one.label) for one in layout.columns)
        (leads if _may_be_ecg(layout, column) and not rate_beside_ecg else left).append(column)
    if not leads:
        leads = [column for column in left if column.content == "numbers"]
        left = [column for column in left if column.content != "numbers"]
    if not leads:
        raise RecordError(
            f"No column of {name} can be an ECG: {', '.join(column.name for column in layout.columns)}. Name the "
            "columns with an ECG with --columns, or give a table with one column per lead."
        )
    names = ", ".join(column.name for column in left[:_LISTED])
    names += f" and {len(left) - _LISTED} more" if len(left) > _LISTED else ""
    text = f"Columns that are not an ECG by name, unit or content are ignored: {names}. Choose with --columns."
    return tuple(leads), [Remark("lead", text, tuple(column.name for column in left))] if left else []


def _may_be_ecg(layout: Layout, column: Column) -> bool:
    if column.content == "text" or names_other_signal(column.label):
        return False
    if layout.preamble.openbci and column.label and not names_lead(column.label):
        return False
    if column.unit and not is_voltage(column.unit) and column.unit != "count":
        return False
    if layout.preamble.openbci:
        numbers = np.abs(_head_numbers(layout, column))
        return not bool(np.all(np.abs(numbers - _RAIL_UV) < 1))
    return True


def _rate(
    layout: Layout, time: TimeColumn | None, counter: CounterColumn | None, fs: float | None, name: str
) -> tuple[float, list[Remark]]:
    if fs is not None and not (math.isfinite(fs) and fs > 0):
        raise RecordError(f"A sampling rate of {fs} Hz is invalid. Give the rate that {name} was recorded with.")
    stated = layout.preamble.fs
    if time is not None and time.timing is not None:
        measured = rounded_rate(time.timing)
        if not _SLOWEST_HZ <= measured <= _FASTEST_HZ:
            raise RecordError(
                f"The column {time.column.name} of {name} shows a rate of {measured:g} Hz, which is not plausible. "
                "State its unit in the header, such as `time [ms]`, or give --time-column none and --fs."
            )
        if fs is not None:
            if not math.isclose(measured, fs, rel_tol=0.01 + time.timing.certainty):
                raise UsageError(
                    f"The column {time.column.name} of {name} shows a rate of {measured:g} Hz, but --fs is {fs:g} Hz. "
                    "Omit --fs, or give --time-column none if the rows are evenly spaced."
                )
            text = f"Time is column {time.column.name}; its gaps are missing time."
            return float(fs), [Remark("time", text)]
        near = [rate for rate in stated if math.isclose(rate, measured, rel_tol=0.01 + time.timing.certainty)]
        if stated and not near:
            raise UsageError(
                f"The head of {name} states {stated[0]:g} Hz, but its column {time.column.name} shows {measured:g} Hz. "
                "Correct one, or give --time-column none and --fs."
            )
        rate = near[0] if near else measured
        text = f"The rate of {rate:g} Hz is that of column {time.column.name}; its gaps are missing time."
        return rate, [Remark("rate", text)]
    unclear = []
    if time is not None:
        text = f"The column {time.column.name} does not show the time of each row; the rows are taken as evenly spaced."
        unclear = [Remark("time", text)]
    if fs is not None:
        if stated and not any(math.isclose(rate, fs, rel_tol=0.01) for rate in stated):
            raise UsageError(f"The head of {name} states {stated[0]:g} Hz, but --fs is {fs:g} Hz. Omit --fs.")
        return float(fs), unclear
    if len(stated) == 1 and _SLOWEST_HZ <= stated[0] <= _FASTEST_HZ:
        return stated[0], [Remark("rate", f"The rate of {stated[0]:g} Hz is stated in the head of {name}."), *unclear]
    counts = f" (column {counter.column.name} may count samples, ms or s)" if counter else ""
    raise UsageError(
        f"{name} does not state its sampling rate{counts}: give --fs, in Hz, or name the time column with "
        "--time-column and its unit in its label, such as `time [ms]`."
    )


def _units(
    leads: Sequence[Column], common_unit: str | None, options: OpenOptions, name: str
) -> tuple[tuple[str, ...], tuple[float, ...], list[Remark]]:
    given = options.unit
    step = options.uv_per_lsb
    if step is not None and not (math.isfinite(step) and step > 0):
        raise UsageError(f"--uv-per-lsb {step} is invalid. Give the microvolts per count, above 0.")
    counts = step is not None if given is None else given.strip().casefold() in COUNTS
    if given is not None and not counts:
        millivolts_per(given)
        if step is not None:
            raise UsageError(f"--uv-per-lsb is for counts, but --unit is {given}. Omit one of them.")
    units, scales = [], []
    assumed: list[str] = []
    for lead in leads:
        unit = lead.unit or common_unit
        if unit is not None and given is not None and _differ(unit, given, counts=counts):
            raise UsageError(f"The head of {name} states {lead.name} in {unit}, but --unit is {given}. Omit --unit.")
        if step is not None and unit is not None and is_voltage(unit):
            raise UsageError(f"The head of {name} states {lead.name} in {unit}. Omit --uv-per-lsb.")
        if unit == "count" or (unit is None and counts):
            if step is None:
                raise UsageError(f"{lead.name} of {name} is in counts of its A/D converter: give --uv-per-lsb.")
            units.append("uV")
            scales.append(step / 1000)
            continue
        if unit is None:
            unit = given or "mV"
            assumed += [] if given else [lead.name]
        units.append(unit)
        scales.append(millivolts_per(unit) if is_voltage(unit) else 1.0)
    text = f"{name} does not state the unit of {', '.join(assumed)}: mV is assumed. Give --unit."
    return tuple(units), tuple(scales), [Remark("unit", text, tuple(assumed))] if assumed else []


def _differ(stated: str, given: str, *, counts: bool) -> bool:
    if stated == "count" or counts:
        return is_voltage(stated) or not counts
    return is_voltage(stated) and not math.isclose(millivolts_per(stated), millivolts_per(given))


def _implausible_units(
    layout: Layout, leads: Sequence[Column], units: Sequence[str], scales: Sequence[float]
) -> list[Remark]:
    """Remarks about leads of integers that are too large for their unit."""
    remarks = []
    for lead, unit, scale in zip(leads, units, scales, strict=True):
        numbers = _head_numbers(layout, lead)
        numbers = numbers[np.isfinite(numbers)]
        if not is_voltage(unit) or not len(numbers) or np.any(np.mod(numbers, 1) != 0):
            continue
        spread = float(np.median(np.abs(numbers - np.median(numbers)))) * scale
        widest = float(np.ptp(numbers)) * scale
        if spread > _LARGE_MV or widest > 4 * _LARGE_MV:
            likely = "uV or counts of an A/D converter (--unit uV, or --unit count with --uv-per-lsb)"
            text = f"{lead.name} has integers that span {widest:,.0f} mV in {unit}: it is likely in {likely}."
            remarks.append(Remark("unit", text, (lead.name,)))
    return remarks
