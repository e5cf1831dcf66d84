"""Selects the ECG signals of an EDF file by labels, units and rates; a remark names the ignored signals."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ecgmoe_edge.errors import RecordError, UsageError
from ecgmoe_edge.records.formats.edf.header import EdfHeader, EdfSignal
from ecgmoe_edge.records.names import unique_names
from ecgmoe_edge.records.recording import Remark, is_voltage, millivolts_per

_ECG = re.compile(r"(?<![a-z])e[ck]g", re.IGNORECASE)  # EDF+ writes "ECG II"; others EKG1, "EEG EKG-Ref", "POL ECG"
#: Names of leads without the word ECG.
_LEAD = re.compile(
    r"(lead[ _-]*)?(i{1,3}|av[rlf]|v[1-9]r?|v[xyz]|ml ?(i{1,3}|[1-3])|mcl ?[1-6]|c[mcsrb]5|mod\.? ?v[1-6])",
    re.IGNORECASE,
)
#: Labels of signals other than an ECG; the last line matches the electrodes of the 10-20 system.
_OTHER = re.compile(
    r"\b(eeg|eog|emg|ecog|seeg|meg|erg|egg|gsr|eda|scl|ppg|pleth|puls|resp|breath|flow|nasal|oral|therm|temp|thor|abd|"
    r"chin|leg|tib|snor|mic|sound|audio|pos|body|acc|gyro|mag|light|batt|stat|trig|mark|event|sync|dc ?\d|sp ?o2|sao2|"
    r"press|cpap|leak|imp|roc|loc|e[12]-)"
    r"|^(fp|af|fc|ft|cp|tp|po|[fctpoam])(\d{1,2}|z)(-\w+)?$",
    re.IGNORECASE,
)
_COARSEST_MV = 0.05  # mV per count; a larger step indicates a wrong unit or wrong limits
_LISTED = 8


@dataclass(frozen=True)
class EcgSignals:
    """The selected signals, all of the same sampling rate."""

    signals: tuple[EdfSignal, ...]
    names: tuple[str, ...]  # unique names
    units: tuple[str, ...]
    fs: float  # Hz
    remarks: tuple[Remark, ...]


def ecg_signals(header: EdfHeader, name: str, unit: str | None) -> EcgSignals:
    """Select the ECG signals of a file.

    If labels name an ECG or its leads, these signals are selected; otherwise every voltage whose label names no other
    signal. If they have several rates, the rate of most signals is used, and in case of a tie the higher one. A remark
    names the ignored signals.

    Args:
        header: the header of the file.
        name: name of the file, for messages.
        unit: unit that the user states for ECG signals without a unit.

    Raises:
        RecordError: there is no ECG signal, or none with a scale.
        UsageError: a unit is stated neither by the file nor by the user, or by both.
    """
    samples = [signal for signal in header.signals if not signal.is_annotation and signal.samples]
    if not samples:
        raise RecordError(f"{name} contains annotations and no signal. Name the recording that they belong to.")
    named = [one for one in samples if _is_ecg(one.label) and (is_voltage(one.unit) or not one.unit)]
    found = named or [one for one in samples if is_voltage(one.unit) and not _OTHER.search(one.label)]
    labelled = [one for one in samples if _is_ecg(one.label)]
    if not found and labelled:
        raise RecordError(
            f"Signal {labelled[0].label!r} of {name} is in {labelled[0].unit!r}, which is not a voltage. Name a file "
            "that contains an ECG in volts, or correct the unit with EDFbrowser."
        )
    if not found:
        raise RecordError(
            f"No signal of {name} is labelled as an ECG; it has {_listed(header, samples)}. Name a file that contains "
            "an ECG, or correct the label with EDFbrowser."
        )
    remarks = []
    if not named:
        remarks.append(
            Remark("lead", f"No label of {name} names an ECG: every voltage is read whose label names no other signal.")
        )
    scaled = [one for one in found if one.gain is not None]
    if not scaled:
        raise RecordError(
            f"Signal {found[0].label!r} of {name} has no scale: its limits are equal or are not numbers. Export the "
            "recording again, or correct them with EDFbrowser."
        )
    rate = max({one.samples for one in scaled}, key=lambda n: (sum(one.samples == n for one in scaled), n))
    chosen = [one for one in scaled if one.samples == rate]
    ignored = [one for one in samples if one not in chosen]
    fs = header.rate(chosen[0])
    if ignored:
        remarks.append(
            Remark("lead", f"{name} is read at {fs:g} Hz, the rate of its ECG. Ignored: {_listed(header, ignored)}.")
        )
    names = unique_names([one.label or f"signal {header.signals.index(one) + 1}" for one in chosen])
    units = _units(chosen, unit, name)
    return EcgSignals(tuple(chosen), names, units, fs, (*remarks, *_remarks_on_scale(chosen, names, units)))


def _is_ecg(label: str) -> bool:
    return _ECG.search(label) is not None or _LEAD.fullmatch(label) is not None


def _units(chosen: Sequence[EdfSignal], stated: str | None, name: str) -> tuple[str, ...]:
    without = [one.label for one in chosen if not one.unit]
    if without and stated is None:
        raise UsageError(f"Signal {without[0]!r} of {name} states no unit: give --unit, such as uV or mV.")
    if stated is not None:
        if not without:
            raise UsageError(f"{name} states its own rate and unit: omit --fs and --unit.")
        millivolts_per(stated)
    return tuple(one.unit or stated or "" for one in chosen)


def _remarks_on_scale(chosen: Sequence[EdfSignal], names: Sequence[str], units: Sequence[str]) -> list[Remark]:
    remarks = []
    for one, label, unit in zip(chosen, names, units, strict=True):
        step = abs(one.gain or 0.0) * millivolts_per(unit)
        if step > _COARSEST_MV:
            remarks.append(
                Remark(
                    "gain",
                    f"One count of {label} is {step:g} mV, too coarse for an ECG: its unit or limits are likely "
                    "wrong. Correct them with EDFbrowser.",
                    (label,),
                )
            )
        if one.digital is not None and one.digital[0] > one.digital[1]:
            remarks.append(
                Remark("gain", f"The digital limits of {label} are reversed; its polarity may be wrong.", (label,))
            )
    return remarks


def _listed(header: EdfHeader, signals: Sequence[EdfSignal]) -> str:
    shown = [
        f"{one.label or 'no label'} ({one.unit or 'no unit'}, {header.rate(one):g} Hz)" for one in signals[:_LISTED]
    ]
    more = len(signals) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
