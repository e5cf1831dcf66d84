"""Is it an ECG, and are its amplitude, its rate and its leads plausible? A look at a recording before it is believed.

The streaming front end itself finds the beats, in the first minutes that hold a signal. Before, each lead of an
implausible height is brought to about that of an ECG: a wrong unit must not hide the beats by which it is known.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.errors import SignalError
from ecgmoe_edge.records.recording import Lead, Recording, Remark, choose_leads, is_voltage, millivolts_per
from ecgmoe_edge.streaming.beats import BeatContext
from ecgmoe_edge.streaming.events import NO_ECG, LeadChange
from ecgmoe_edge.streaming.frontend import FrontEnd
from ecgmoe_edge.streaming.input_checks import distinct_names
from ecgmoe_edge.streaming.signal.filters import check_rate

#: So much signal is looked at; what holds no signal before it is passed over.
LOOKED_AT_S: Final = 120.0
#: Height of a QRS complex, mV: less is nothing that an electrode on the skin gives, more nothing that a heart does.
PLAUSIBLE_MV: Final = (0.05, 20.0)
#: RR intervals, s, outside which a regular rhythm is more likely one of a wrong sampling rate: 240 and 20 a minute.
PLAUSIBLE_RR_S: Final = (0.25, 3.0)

_BLOCK_S = 30.0
_WINDOW_S = 2.0  # holds a beat at 30 a minute
_QRS_S = 0.060  # to either side of R
_TYPICAL_MV = 1.5
_SCALED_BELOW_MV, _SCALED_ABOVE_MV = 0.2, 20.0  # the front end works within as well as it can
_RAIL_SHARE = 0.5  # of the samples at the largest or at the smallest value
_SHOWN_SHARE = 0.5  # of the time that a lead must show an ECG
_LEAST_QUALITY = 0.1  # of a beat that says anything
_CLEAR_QUALITY = 0.5  # that a plain ECG has at least
_LEAST_BEATS = 5  # to speak of a rhythm
_REGULAR = 0.25  # interquartile range over median of the RR intervals
_UNITS = ("uV", "mV", "nV", "V")
_LIKELY_MV = (0.1, 10.0)
_COMMON_RATES_HZ = (100.0, 125.0, 128.0, 200.0, 250.0, 256.0, 300.0, 360.0, 500.0, 512.0, 1000.0)
_LIKELY_RR_S = (0.45, 1.5)
_USUAL_RR_S = 0.85


@dataclass(frozen=True)
class Judgement:
    """What the first minutes of a recording show. Leads are positions in the recording, in the order asked for."""

    moving: tuple[int, ...]  # leads that hold a signal, of whatever
    usable: tuple[int, ...]  # those of them that show an ECG
    remarks: tuple[Remark, ...]
    problem: str | None = None  # why nothing can be made of these leads, in a sentence


@dataclass(frozen=True)
class _Look:
    """What the front end found."""

    samples: NDArray[np.int64]  # (beats,) R peaks
    rr_s: NDArray[np.float64]  # to good beats; to all where these are few
    quality: float  # mean over the later half of the beats; 0 where there are none
    good: NDArray[np.bool_]  # (beats,) of fair quality
    shown: tuple[bool, ...]  # of each lead, whether it showed an ECG for most of the time


def judge(recording: Recording, leads: Sequence[Lead] | None = None) -> tuple[Remark, ...]:
    """What is implausible in the first minutes of a recording, as `examine` finds it; the problem is the last remark.

    Raises:
        RecordError: no such lead, or a signal that cannot be read.
    """
    seen = examine(recording, leads)
    return seen.remarks + ((Remark("lead", seen.problem),) if seen.problem else ())


def examine(recording: Recording, leads: Sequence[Lead] | None = None) -> Judgement:
    """Judge leads by the first `LOOKED_AT_S` seconds in which any of them holds a signal.

    Args:
        recording: read block by block, no further than needed.
        leads: names or positions; None takes all that are voltages, and remarks on the others.

    Raises:
        RecordError: no such lead, a named lead that is no voltage, or a signal that cannot be read.
    """
    positions = choose_leads(recording.leads, leads, recording.name)
    remarks: list[Remark] = []
    if leads is None:
        remarks += [_no_voltage(recording, at) for at in positions if not is_voltage(recording.units[at])]
        positions = [at for at in positions if is_voltage(recording.units[at])]
        if not positions:
            return Judgement((), (), tuple(remarks), f"No lead of {recording.name} is a voltage: it holds no ECG.")
    try:
        check_rate(recording.fs)
    except SignalError as reason:
        return Judgement((), (), tuple(remarks), str(reason))
    signal = _first_minutes(recording, positions)
    names = [recording.leads[at] for at in positions]
    still = {row: why for row, x in enumerate(signal) if (why := _why_still(x)) is not None}
    if len(still) == len(positions):
        why = "; ".join(f"lead {names[row]} {reason}" for row, reason in still.items())
        return Judgement((), (), tuple(remarks), f"{recording.name} holds no signal: {why}.")
    for row, why in still.items():
        remarks.append(Remark("lead", f"Lead {names[row]} {why} in its first minutes.", (names[row],)))
    moving = [row for row in range(len(positions)) if row not in still]
    return _of_moving(recording, [positions[row] for row in moving], signal[moving], remarks)


def _of_moving(
    recording: Recording, leads: Sequence[int], signal: NDArray[np.float64], remarks: Sequence[Remark]
) -> Judgement:
    """The judgement of leads that all hold a signal, (leads, n) mV; `remarks` are those so far."""
    names = [recording.leads[at] for at in leads]
    scaled = np.stack([_scaled(x, recording.fs) for x in signal])
    look = _look(scaled, recording.fs)
    of_rate = _rate_remark(look, scaled, recording.fs)
    if of_rate is not None:
        return Judgement(tuple(leads), tuple(leads), (*remarks, of_rate))
    shown = [k for k, is_shown in enumerate(look.shown) if is_shown and look.good.any()]
    if not shown:
        why = f"No beat was found in {recording.name} ({', '.join(names)}): it shows no ECG."
        return Judgement(tuple(leads), (), tuple(remarks), why)
    of_amplitude = _amplitude_remarks(recording, [leads[k] for k in shown], signal[shown], look)
    of_leads = [
        Remark("lead", f"Lead {name} shows no ECG in its first minutes.", (name,))
        for k, name in enumerate(names)
        if k not in shown
    ]
    return Judgement(tuple(leads), tuple(leads[k] for k in shown), (*remarks, *of_amplitude, *of_leads))


def remarks_json(remarks: Sequence[Remark]) -> list[dict[str, Any]]:
    """Remarks as JSON-ready mappings.

    >>> remarks_json([Remark("lead", "Lead V1 has no valid sample.", ("V1",))])
    [{'kind': 'lead', 'leads': ['V1'], 'text': 'Lead V1 has no valid sample.'}]
    """
    return [{"kind": one.kind, "leads": list(one.leads), "text": one.text} for one in remarks]


def _no_voltage(recording: Recording, position: int) -> Remark:
    name, unit = recording.leads[position], recording.units[position]
    return Remark("lead", f"Lead {name} is in {unit}, which is no voltage: it is left out.", (name,))


def _first_minutes(recording: Recording, positions: Sequence[int]) -> NDArray[np.float64]:
    """The first minutes in which a lead holds a signal, (leads, n) mV; what is not finite is NaN."""
    kept: list[NDArray[np.float64]] = []
    is_signal, samples = False, 0
    for block in recording.blocks(_BLOCK_S, leads=list(positions)):
        finite = np.where(np.isfinite(block), block, np.nan)
        if not is_signal:
            is_signal = any(_why_still(x) is None for x in finite)
            kept.clear()  # what came before holds no signal
        kept.append(finite)
        samples += finite.shape[1] if is_signal else 0
        if samples >= LOOKED_AT_S * recording.fs:
            break
    return np.concatenate(kept, axis=1) if kept else np.empty((len(positions), 0))


def _why_still(x: NDArray[np.float64]) -> str | None:
    """Why a lead, (n,) mV, holds no signal; None where it does."""
    valid = x[~np.isnan(x)]
    if not valid.size:
        return "holds no valid sample"
    low, high = float(valid.min()), float(valid.max())
    if low == high:
        return f"does not move from {low:g} mV"
    if max(np.mean(valid == low), np.mean(valid == high)) > _RAIL_SHARE:
        return "stands at its rail for most of the time"
    return None


def _scaled(x: NDArray[np.float64], fs: float) -> NDArray[np.float64]:
    """A lead without its offset, of about an ECG's height where its own is no ECG's."""
    centred = x - np.nanmedian(x)
    size = max(2, round(_WINDOW_S * fs))
    whole = len(x) // size * size
    windows = centred[:whole].reshape(-1, size) if whole else centred[None]
    windows = windows[~np.isnan(windows).all(axis=1)]
    heights = np.nanmax(windows, axis=1) - np.nanmin(windows, axis=1) if len(windows) else np.zeros(1)
    height = float(np.median(heights)) or float(np.nanmax(centred) - np.nanmin(centred))
    return centred if _SCALED_BELOW_MV <= height <= _SCALED_ABOVE_MV else centred * (_TYPICAL_MV / height)


def _look(x: NDArray[np.float64], fs: float) -> _Look:
    front_end = FrontEnd(fs, distinct_names([str(k) for k in range(len(x))]), grid=None)
    items = [*front_end.push(x), *front_end.flush()]
    beats = [item for item in items if isinstance(item, BeatContext)]
    quality = np.array([beat.quality for beat in beats])
    good = quality >= _LEAST_QUALITY
    counted = good if good.sum() >= _LEAST_BEATS else np.ones(len(beats), bool)
    rr_s = [beat.rr_s for beat, counts in zip(beats, counted.tolist(), strict=True) if counts and beat.rr_s is not None]
    return _Look(
        samples=np.array([beat.sample for beat in beats], np.int64),
        rr_s=np.array(rr_s),
        quality=float(quality[len(beats) // 2 :].mean()) if beats else 0.0,
        good=good,
        shown=tuple(_shown(items, str(k), x.shape[1]) for k in range(len(x))),
    )


def _shown(items: Sequence[object], lead: str, n: int) -> bool:
    """Whether a lead showed an ECG for most of the time, by the front end's own reports."""
    changes = [(item.sample, item.others.get(lead) == NO_ECG) for item in items if isinstance(item, LeadChange)]
    without = sum(end - start for (start, is_none), (end, _) in pairwise([*changes, (n, False)]) if is_none)
    return without < _SHOWN_SHARE * n


def _is_regular(look: _Look) -> bool:
    if len(look.rr_s) < _LEAST_BEATS:
        return False
    low, middle, high = np.percentile(look.rr_s, (25, 50, 75))
    return bool(high - low <= _REGULAR * middle)


def _rate_remark(look: _Look, x: NDArray[np.float64], fs: float) -> Remark | None:
    """A heart rate that is plausible at another sampling rate only."""
    rr_s = float(np.median(look.rr_s)) if len(look.rr_s) else 0.0
    is_odd = _is_regular(look) and not PLAUSIBLE_RR_S[0] <= rr_s <= PLAUSIBLE_RR_S[1]
    if not is_odd and look.good.any() and any(look.shown):
        return None
    likely = _likely_rate(x[0], fs)
    if likely is None and not (is_odd and look.quality >= _CLEAR_QUALITY):
        return None
    found = f"a heart rate of {60.0 / rr_s:.0f} a minute" if is_odd else "no beat"
    what = f", but a plausible ECG at about {likely:g} Hz" if likely else ", which is not plausible"
    option = f"--fs {likely:g}" if likely else "the true rate with --fs"
    return Remark("rate", f"At {fs:g} Hz it shows {found}{what}. Give {option}, or correct the rate in the header.")


def _likely_rate(x: NDArray[np.float64], fs: float) -> float | None:
    """The common rate at which a lead shows the most usual of plausible rhythms; None where it does at none."""
    found = []
    for rate in _COMMON_RATES_HZ:
        if abs(rate / fs - 1.0) < 0.1:
            continue
        look = _look(x[None], rate)
        if not (look.quality >= _CLEAR_QUALITY and look.shown[0] and _is_regular(look)):
            continue
        rr_s = float(np.median(look.rr_s))
        if _LIKELY_RR_S[0] <= rr_s <= _LIKELY_RR_S[1]:
            found.append((abs(np.log(rr_s / _USUAL_RR_S)), rate))
    return min(found)[1] if found else None


def _amplitude_remarks(
    recording: Recording, leads: Sequence[int], x: NDArray[np.float64], look: _Look
) -> Iterator[Remark]:
    """Leads whose QRS complexes are of no plausible height, together where they are so in the same way."""
    half = max(1, round(_QRS_S * recording.fs))
    odd: dict[tuple[str | None, bool], list[tuple[str, float]]] = {}
    for lead, row in zip(leads, x, strict=True):
        name, unit = recording.leads[lead], recording.units[lead]
        around = [row[max(0, r - half) : r + half + 1] for r in look.samples[look.good].tolist()]
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
    """The unit in which an R wave of `value`, as the file has it, is a usual one."""
    low, high = _LIKELY_MV
    return next((unit for unit in _UNITS if low <= value * millivolts_per(unit) <= high), None)


def _number(value: float) -> str:
    rounded = float(f"{value:.2g}")
    return f"{rounded:,.0f}" if rounded >= 100 else f"{rounded:g}"
