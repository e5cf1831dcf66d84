"""Checks whether a recording shows an ECG, and whether its amplitude, sampling rate and leads are plausible.

The streaming front end detects the beats in the first minutes with a signal. Before that, leads with an implausible
amplitude are scaled to the amplitude of an ECG, so that beats are found even if the unit is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.errors import SignalError
from ecgmoe_edge.records.recording import Lead, Recording, Remark, choose_leads, is_voltage, millivolts_per, no_voltage
from ecgmoe_edge.streaming.beats import BeatContext
from ecgmoe_edge.streaming.events import NO_ECG, LeadChange
from ecgmoe_edge.streaming.frontend import FrontEnd
from ecgmoe_edge.streaming.input_checks import distinct_names
from ecgmoe_edge.streaming.signal.filters import check_rate
from ecgmoe_edge.streaming.unusable import LARGEST_MV

#: Length of the signal that is checked, s; it starts where the signal starts.
CHECKED_S: Final = 120.0
#: Plausible peak-to-peak amplitude of a QRS complex at the skin, mV.
PLAUSIBLE_MV: Final = (0.05, 20.0)
#: Plausible RR intervals, s (240 to 20 bpm); a regular rhythm outside indicates a wrong sampling rate.
PLAUSIBLE_RR_S: Final = (0.25, 3.0)

_BLOCK_S = 30.0
_WINDOW_S = 2.0  # contains at least one beat at 30 bpm
_QRS_S = 0.060  # before and after R
_TYPICAL_MV = 1.5
_SCALED_BELOW_MV, _SCALED_ABOVE_MV = 0.2, 20.0  # the front end needs no scaling between these amplitudes
_RAIL_SHARE = 0.5  # a lead with more samples at its largest or smallest value has no signal
_SHOWN_SHARE = 0.5  # a lead must show an ECG for at least this share of the time
_MUCH_MISSING = 0.2  # a larger share of invalid samples gets a remark
_LEAST_QUALITY = 0.1  # beats of lower quality are ignored
_CLEAR_QUALITY = 0.5  # quality of a clear ECG
_LEAST_BEATS = 5  # fewer beats define no rhythm
_REGULAR = 0.25  # largest ratio of interquartile range to median of the RR intervals in a regular rhythm
_UNITS = ("uV", "mV", "nV", "V")
_LIKELY_MV = (0.1, 10.0)
_COMMON_RATES_HZ = (100.0, 125.0, 128.0, 200.0, 250.0, 256.0, 300.0, 360.0, 500.0, 512.0, 1000.0)
_LIKELY_RR_S = (0.45, 1.5)
_USUAL_RR_S = 0.85


@dataclass(frozen=True)
class Plausibility:
    """Result of a plausibility check. Leads are indices into the recording, in the requested order."""

    with_signal: tuple[int, ...]  # leads that have a signal of any kind
    usable: tuple[int, ...]  # leads that show an ECG
    remarks: tuple[Remark, ...]
    problem: str | None = None  # a sentence that says why none of these leads can be used


@dataclass(frozen=True)
class _Detection:
    """Beats and leads that the front end found."""

    samples: NDArray[np.int64]  # (beats,) R peaks
    rr_s: NDArray[np.float64]  # RR intervals before good beats, s; before all beats if few are good
    quality: float  # mean quality of the second half of the beats; 0 if there are none
    good: NDArray[np.bool_]  # (beats,) whether the quality of the beat is sufficient
    shown: tuple[bool, ...]  # whether each lead showed an ECG for most of the time


def plausibility_remarks(recording: Recording, leads: Sequence[Lead] | None = None) -> tuple[Remark, ...]:
    """Remarks of `check_plausibility` about a recording; if there is a problem, it is the last remark.

    Raises:
        RecordError: there is no such lead, or the signal cannot be read.
    """
    checked = check_plausibility(recording, leads)
    return checked.remarks + ((Remark("lead", checked.problem),) if checked.problem else ())


def check_plausibility(recording: Recording, leads: Sequence[Lead] | None = None) -> Plausibility:
    """Check leads in the first `CHECKED_S` seconds in which any of them has a signal.

    Args:
        recording: the recording; it is read only as far as needed.
        leads: names or indices; None checks all voltages and adds a remark about each other lead.

    Raises:
        RecordError: there is no such lead, a named lead is not a voltage, or the signal cannot be read.
    """
    positions = choose_leads(recording.leads, leads, recording.name)
    remarks: list[Remark] = []
    if leads is None:
        remarks += [_not_a_voltage(recording, at) for at in positions if not is_voltage(recording.units[at])]
        positions = [at for at in positions if is_voltage(recording.units[at])]
        if not positions:
            return Plausibility((), (), tuple(remarks), no_voltage(recording))
    try:
        check_rate(recording.fs)
    except SignalError as reason:
        return Plausibility((), (), tuple(remarks), str(reason))
    signal = _first_minutes(recording, positions)
    names = [recording.leads[at] for at in positions]
    without_signal = {row: why for row, x in enumerate(signal) if (why := _no_signal_reason(x)) is not None}
    if len(without_signal) == len(positions):
        why = "; ".join(f"lead {names[row]} {reason}" for row, reason in without_signal.items())
        return Plausibility((), (), tuple(remarks), f"{recording.name} contains no signal: {why}.")
    for row, why in without_signal.items():
        remarks.append(Remark("lead", f"Lead {names[row]} {why} in its first minutes.", (names[row],)))
    with_signal = [row for row in range(len(positions)) if row not in without_signal]
    for row in with_signal:
        gone = np.isnan(signal[row])
        if gone.mean() >= _MUCH_MISSING:
            lengths_s = f"{gone.sum() / recording.fs:.0f} of its first {len(gone) / recording.fs:.0f} s"
            text = f"Lead {names[row]} has no valid samples for {lengths_s}: beats in this time are missed."
            remarks.append(Remark("lead", text, (names[row],)))
    return _check_signals(recording, [positions[row] for row in with_signal], signal[with_signal], remarks)


def _check_signals(
    recording: Recording, leads: Sequence[int], signal: NDArray[np.float64], remarks: Sequence[Remark]
) -> Plausibility:
    """Check leads that all have a signal.

    Args:
        recording: the recording.
        leads: indices of the leads.
        signal: `(leads, n)` in mV.
        remarks: remarks made before.
    """
    names = [recording.leads[at] for at in leads]
    scaled = np.stack([_scaled(x, recording.fs) for x in signal])
    detection = _detect(scaled, recording.fs)
    rate_remark = _rate_remark(detection, scaled, recording.fs)
    if rate_remark is not None:
        return Plausibility(tuple(leads), tuple(leads), (*remarks, rate_remark))
    shown = [k for k, is_shown in enumerate(detection.shown) if is_shown and detection.good.any()]
    if not shown:
        why = f"No beat was found in {recording.name} ({', '.join(names)}): it shows no ECG."
        return Plausibility(tuple(leads), (), tuple(remarks), why)
    amplitude_remarks = _amplitude_remarks(recording, [leads[k] for k in shown], signal[shown], detection)
    lead_remarks = [
        Remark("lead", f"Lead {name} shows no ECG in its first minutes.", (name,))
        for k, name in enumerate(names)
        if k not in shown
    ]
    return Plausibility(tuple(leads), tuple(leads[k] for k in shown), (*remarks, *amplitude_remarks, *lead_remarks))


def remarks_json(remarks: Sequence[Remark]) -> list[dict[str, Any]]:
    """Remarks for JSON output.

    >>> remarks_json([Remark("lead", "Lead V1 has no valid sample.", ("V1",))])
    [{'kind': 'lead', 'leads': ['V1'], 'text': 'Lead V1 has no valid sample.'}]
    """
    return [{"kind": one.kind, "leads": list(one.leads), "text": one.text} for one in remarks]


def _not_a_voltage(recording: Recording, position: int) -> Remark:
    name, unit = recording.leads[position], recording.units[position]
    return Remark("lead", f"Lead {name} is in {unit}, which is not a voltage: it is ignored.", (name,))


def _first_minutes(recording: Recording, positions: Sequence[int]) -> NDArray[np.float64]:
    """The first minutes in which any lead has a signal, `(leads, n)` in mV; values that are not finite are NaN."""
    kept: list[NDArray[np.float64]] = []
    is_signal, samples = False, 0
    for block in recording.blocks(_BLOCK_S, leads=list(positions)):
        finite = np.where(np.isfinite(block), block, np.nan)
        if not is_signal:
            is_signal = any(_no_signal_reason(x) is None for x in finite)
            kept.clear()  # the blocks before contain no signal
        kept.append(finite)
        samples += finite.shape[1] if is_signal else 0
        if samples >= CHECKED_S * recording.fs:
            break
    return np.concatenate(kept, axis=1) if kept else np.empty((len(positions), 0))


def _no_signal_reason(x: NDArray[np.float64]) -> str | None:
    """Why a lead, `(n,)` in mV, has no signal; None if it has one."""
    valid = x[~np.isnan(x)]
    if not valid.size:
        return "has no valid sample"
    low, high = float(valid.min()), float(valid.max())
    if abs(level := float(np.median(valid))) > LARGEST_MV > high - low:
        return f"is at about {level:g} mV, so its baseline, gain or unit is wrong"
    if low == high:
        return f"is constant at {low:g} mV"
    if max(np.mean(valid == low), np.mean(valid == high)) > _RAIL_SHARE:
        return "is clipped for most of the time"
    return None


def _scaled(x: NDArray[np.float64], fs: float) -> NDArray[np.float64]:
    """A lead, `(n,)` in mV, without offset, and scaled to the amplitude of an ECG if its amplitude is implausible."""
    centred = x - np.nanmedian(x)
    size = max(2, round(_WINDOW_S * fs))
    whole = len(x) // size * size
    windows = centred[:whole].reshape(-1, size) if whole else centred[None]
    windows = windows[~np.isnan(windows).all(axis=1)]
    heights = np.nanmax(windows, axis=1) - np.nanmin(windows, axis=1) if len(windows) else np.zeros(1)
    height = float(np.median(heights)) or float(np.nanmax(centred) - np.nanmin(centred))
    return centred if _SCALED_BELOW_MV <= height <= _SCALED_ABOVE_MV else centred * (_TYPICAL_MV / height)


def _detect(x: NDArray[np.float64], fs: float) -> _Detection:
    front_end = FrontEnd(fs, distinct_names([str(k) for k in range(len(x))]), grid=None)
    items = [*front_end.push(x), *front_end.flush()]
    beats = [item for item in items if isinstance(item, BeatContext)]
    quality = np.array([beat.quality for beat in beats])
    good = quality >= _LEAST_QUALITY
    counted = good if good.sum() >= _LEAST_BEATS else np.ones(len(beats), bool)
    rr_s = [beat.rr_s for beat, counts in zip(beats, counted.tolist(), strict=True) if counts and beat.rr_s is not None]
    return _Detection(
        samples=np.array([beat.sample for beat in beats], np.int64),
        rr_s=np.array(rr_s),
        quality=float(quality[len(beats) // 2 :].mean()) if beats else 0.0,
        good=good,
        shown=tuple(_shown(items, str(k), x.shape[1]) for k in range(len(x))),
    )


def _shown(items: Sequence[object], lead: str, n: int) -> bool:
    """Whether a lead showed an ECG for most of the time, according to the lead changes of the front end."""
    changes = [(item.sample, item.others.get(lead) == NO_ECG) for item in items if isinstance(item, LeadChange)]
    without = sum(end - start for (start, is_none), (end, _) in pairwise([*changes, (n, False)]) if is_none)
    return without < _SHOWN_SHARE * n


def _is_regular(detection: _Detection) -> bool:
    if len(detection.rr_s) < _LEAST_BEATS:
        return False
    low, middle, high = np.percentile(detection.rr_s, (25, 50, 75))
    return bool(high - low <= _REGULAR * middle)


def _rate_remark(detection: _Detection, x: NDArray[np.float64], fs: float) -> Remark | None:
    """A remark if the heart rate is plausible only at another sampling rate."""
    rr_s = float(np.median(detection.rr_s)) if len(detection.rr_s) else 0.0
    is_odd = _is_regular(detection) and not PLAUSIBLE_RR_S[0] <= rr_s <= PLAUSIBLE_RR_S[1]
    if not is_odd and detection.good.any() and any(detection.shown):
        return None
    likely = _likely_rate(x[0], fs)
    if likely is None and not (is_odd and detection.quality >= _CLEAR_QUALITY):
        return None
    found = f"a heart rate of {60.0 / rr_s:.0f} bpm" if is_odd else "no beat"
    what = f", but a plausible ECG at about {likely:g} Hz" if likely else ", which is not plausible"
    option = f"--fs {likely:g}" if likely else "the true rate with --fs"
    return Remark("rate", f"At {fs:g} Hz it shows {found}{what}. Give {option}, or correct the rate in the header.")


def _likely_rate(x: NDArray[np.float64], fs: float) -> float | None:
    """The common sampling rate at which a lead shows the most typical plausible heart rate; None if there is none."""
    found = []
    for rate in _COMMON_RATES_HZ:
        if abs(rate / fs - 1.0) < 0.1:
            continue
        detection = _detect(x[None], rate)
        if not (detection.quality >= _CLEAR_QUALITY and detection.shown[0] and _is_regular(detection)):
            continue
        rr_s = float(np.median(detection.rr_s))
        if _LIKELY_RR_S[0] <= rr_s <= _LIKELY_RR_S[1]:
            found.append((abs(np.log(rr_s / _USUAL_RR_S)), rate))
    return min(found)[1] if found else None


def _amplitude_remarks(
    recording: Recording, leads: Sequence[int], x: NDArray[np.float64], detection: _Detection
) -> Iterator[Remark]:
    """Remarks about leads with an implausible QRS amplitude; leads with the same fault share a remark."""
    half = max(1, round(_QRS_S * recording.fs))
    odd: dict[tuple[str | None, bool], list[tuple[str, float]]] = {}
    for lead, row in zip(leads, x, strict=True):
        name, unit = recording.leads[lead], recording.units[lead]
        around = [row[max(0, r - half) : r + half + 1] for r in detection.samples[detection.good].tolist()]
        heights = [float(np.nanmax(part) - np.nanmin(part)) for part in around if not np.isnan(part).all()]
        height = float(np.median(heights)) if heights else 1.0
        if not PLAUSIBLE_MV[0] <= height <= PLAUSIBLE_MV[1]:
            odd.setdefault((_likely_unit(height / millivolts_per(unit)), height > PLAUSIBLE_MV[1]), []).append(
                (name, height)
            )
    for (likely, _), found in odd.items():
        names = tuple(name for name, _ in found)
        what = f"R waves of about {_number(found[0][1])} mV in {', '.join(names)}"
        if likely is None:
            text = f"{what}: the unit or the gain is probably wrong; give --unit, or correct it in the header."
        else:
            text = f"{what}: the values are probably {likely}; give --unit {likely}, or correct the unit in the header."
        yield Remark("amplitude", text, names)


def _likely_unit(value: float) -> str | None:
    """The unit in which `value`, the amplitude of an R wave as stored in the file, is plausible."""
    low, high = _LIKELY_MV
    return next((unit for unit in _UNITS if low <= value * millivolts_per(unit) <= high), None)


def _number(value: float) -> str:
    rounded = float(f"{value:.2g}")
    return f"{rounded:,.0f}" if rounded >= 100 else f"{rounded:g}"
