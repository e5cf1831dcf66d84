"""Selects the leads of a WFDB record, with names, units and a common sampling rate, and reports what was assumed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ecgmoe_edge.records.recording import Remark, is_voltage
from ecgmoe_edge.records.wfdb_files.header import ASSUMED_GAIN, SignalSpec
from ecgmoe_edge.records.wfdb_files.segments import ASSUMED_UNIT, Segment

_ECG_NAME = re.compile(
    r".*(?:ecg|ekg).*|(?:lead\s*)?-?(?:i{1,3}|av[rlf]|m?v[1-9]?r?|v[xyz]|[xyz]|ml(?:i{1,3})|mcl[1-9]?|c[mcs][1-9]|d[1-3])",
    re.IGNORECASE,
)
# Names of other signals that monitors record; without a unit they are not assumed to be in millivolts.
_OTHER_NAME = re.compile(
    r"(?:resp|pleth|abp|art\b|cvp|pap\b|bp\b|nbp|icp|spo2|co2|o2\b|etco2|hr\b|pulse|temp|flow|gsr|eda|emg|eog|acc).*"
    r"|(?:edf )?annot.*|marker.*|status|trigger.*|.*(?:gsr|respiration|pressure)",
    re.IGNORECASE,
)
_RATE_DIGITS = 3e-6  # relative rounding error of a rate written with six digits
_NO_UNIT = "NU"  # unit of WFDB records for signals without a physical unit
_UNCALIBRATED = ("adu", "lsb", "count", "counts", "raw", "digit", "digits", "bit", "bits", "a.u.", "au")


@dataclass(frozen=True)
class Leads:
    """The leads of a record."""

    signals: tuple[int, ...]  # index of each lead among the signals of the record
    names: tuple[str, ...]  # unique names
    units: tuple[str, ...]
    fs: float  # common sampling rate, Hz
    per_frame: int  # samples per frame at the common rate
    remarks: tuple[Remark, ...]


def select_leads(specs: Sequence[SignalSpec], record: str, frame_rate: float) -> Leads:
    """Select the leads of a record, with unique names and a common sampling rate.

    The common rate is the highest rate of the voltages that are named as an ECG lead, or of all voltages if none is.
    A slower lead is interpolated. A faster voltage would have to be decimated, which needs a filter: it is ignored
    with a remark.

    Args:
        specs: the signals of the record.
        record: name of the record, for messages.
        frame_rate: frame rate, Hz.
    """
    names = [spec.name or f"lead {position}" for position, spec in enumerate(specs)]
    units = [_unit_of(spec) for spec in specs]
    voltages = [position for position, unit in enumerate(units) if is_voltage(unit)]
    ecg = [position for position in voltages if _ECG_NAME.fullmatch(names[position])]
    rated = ecg or voltages or range(len(specs))
    per_frame = max((specs[position].per_frame for position in rated), default=1)
    fs = _rate(frame_rate, per_frame)
    faster = [position for position in voltages if specs[position].per_frame > per_frame]
    slower = [position for position in voltages if specs[position].per_frame < per_frame]
    kept = [position for position in range(len(specs)) if position not in set(faster)]
    remarks: list[Remark] = []
    if faster:
        ignored = tuple(names[position] for position in faster)
        remarks.append(
            Remark(
                "rate",
                f"{_leads(ignored, record)} ignored: the ECG leads have {fs:g} Hz, and faster leads are not decimated. "
                "Convert the record with PhysioNet's xform to read them.",
                ignored,
            )
        )
    unique = _unique([names[position] for position in kept])
    name_of = dict(zip(kept, unique, strict=True))
    if slower:
        fewer = tuple(name_of[position] for position in slower)
        remarks.append(
            Remark(
                "rate",
                f"{_leads(fewer, record)} sampled more slowly than the ECG leads, and interpolated linearly to "
                f"{fs:g} Hz.",
                fewer,
            )
        )
    twice = tuple(name for name, stated in zip(unique, (names[p] for p in kept), strict=True) if name != stated)
    if twice:
        text = f"{record} has leads with the same name: the later ones are renamed {', '.join(twice)}."
        remarks.append(Remark("lead", text, twice))
    return Leads(tuple(kept), tuple(unique), tuple(units[position] for position in kept), fs, per_frame, tuple(remarks))


def assumptions(leads: Leads, segments: Iterable[Segment], specs: Sequence[SignalSpec], record: str) -> list[Remark]:
    """Remarks about gains and units that the headers do not state, and about leads that are not calibrated.

    Args:
        leads: the selected leads.
        segments: the segments of the record.
        specs: the signals of the record.
        record: name of the record, for messages.
    """
    no_gain: set[int] = set()
    no_unit: set[int] = set()
    no_voltage: set[int] = set()
    uncalibrated: set[int] = set()
    tried = {id(sources): sources for sources in (segment.sources for segment in segments)}
    for sources in tried.values():
        for position in leads.signals:
            source = sources[position]
            if source is None or source.file is None:
                continue
            if source.spec.gain is None:
                no_gain.add(position)
            if source.spec.unit is None:
                (no_unit if _unit_of(source.spec) == ASSUMED_UNIT else no_voltage).add(position)
            elif source.spec.unit.casefold() in _UNCALIBRATED:
                uncalibrated.add(position)

    def named(positions: set[int]) -> tuple[str, ...]:
        return tuple(name for at, name in zip(leads.signals, leads.names, strict=True) if at in positions)

    found = []
    if no_gain:
        found.append(
            Remark(
                "gain",
                f"{_leads(named(no_gain), record)} without a gain in the header: {ASSUMED_GAIN:g} per {ASSUMED_UNIT} "
                f"is assumed. Write the true gain into {record}.hea, such as 1000/mV.",
                named(no_gain),
            )
        )
    if no_unit:
        found.append(
            Remark(
                "unit",
                f"{_leads(named(no_unit), record)} without a unit in the header: {ASSUMED_UNIT} is assumed. Write the "
                f"true unit after the gain in {record}.hea, such as 200/mV.",
                named(no_unit),
            )
        )
    if no_voltage:
        found.append(
            Remark(
                "unit",
                f"{_leads(named(no_voltage), record)} without a unit in the header and not named as an ECG: no voltage "
                f"is assumed. Write the unit after the gain in {record}.hea, such as 200/mV.",
                named(no_voltage),
            )
        )
    if uncalibrated:
        units = sorted({specs[position].unit or "" for position in uncalibrated})
        found.append(
            Remark(
                "unit",
                f"{_leads(named(uncalibrated), record)} not calibrated (unit {', '.join(units)}) and cannot be read. "
                f"Write gain and unit into {record}.hea, such as 200/mV.",
                named(uncalibrated),
            )
        )
    return found


def _rate(frame_rate: float, per_frame: int) -> float:
    """Sampling rate, Hz; an integer if only the frame rate was rounded, such as 0.0333333 for frames of 30 s."""
    rate = frame_rate * per_frame
    whole = round(rate)
    return float(whole) if per_frame > 1 and abs(rate - whole) < _RATE_DIGITS * rate else rate


def _unique(names: Sequence[str]) -> list[str]:
    taken: set[str] = set()
    unique = []
    for name in names:
        candidate, count = name, 2
        while candidate in taken:
            candidate, count = f"{name} ({count})", count + 1
        taken.add(candidate)
        unique.append(candidate)
    return unique


def _unit_of(spec: SignalSpec) -> str:
    if spec.unit is None:
        return _NO_UNIT if _OTHER_NAME.fullmatch(spec.name) else ASSUMED_UNIT
    return spec.unit


def _leads(names: Sequence[str], record: str) -> str:
    listed = ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
    return f"Lead {listed} of {record} is" if len(names) == 1 else f"Leads {listed} of {record} are"
