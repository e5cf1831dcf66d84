"""Rhythm scores by duration: EC57 scores atrial fibrillation by duration, not by beat.

Se by duration is the share of the annotated time of a rhythm in which the monitor reported this rhythm. +P by duration
is the share of the reported time in which this rhythm is annotated (EC57:2012, 4.5.2, for atrial fibrillation). The
score uses the start and end times that the monitor reports. A detection delay therefore lowers Se only if the monitor
does not set the start time back to the beginning of the rhythm.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.records.annotations import RhythmSegment
from ecgmoe_edge.streaming.events import Rhythm

#: Annotated rhythms, mapped to the classes of the model; atrial flutter (AFL) is "other", as in EC57.
RHYTHMS = ("N", "AF", "other")
ANSWERS = ("N", "AF", "other", "noisy", "none")
_CLASS_OF_ANNOTATION = {"N": "N", "AFIB": "AF"}


def rhythm_durations(
    annotated: Sequence[RhythmSegment], reported: Sequence[Rhythm], fs: float, first_s: float
) -> NDArray[np.float64]:
    """Seconds of each annotated rhythm in which each rhythm was reported.

    Args:
        annotated: annotated segments, in samples.
        reported: rhythm events of the monitor. Events without an end, and events defined by RR intervals alone (such
            as tachycardia), are ignored.
        fs: sampling rate, Hz.
        first_s: start of the scored part, s.

    Returns:
        `(RHYTHMS, ANSWERS)` in s.
    """
    table = np.zeros((len(RHYTHMS), len(ANSWERS)))
    reported_s = [(ANSWERS.index(one.label), one.from_s, one.to_s) for one in reported if _is_of_model(one)]
    for segment in annotated:
        start, end = max(segment.start / fs, first_s), segment.end / fs
        if end <= start:
            continue
        row = table[RHYTHMS.index(_CLASS_OF_ANNOTATION.get(segment.label, "other"))]
        answered_s = 0.0
        for answer, from_s, to_s in reported_s:
            overlap_s = max(0.0, min(end, to_s or 0.0) - max(start, from_s))
            row[answer] += overlap_s
            answered_s += overlap_s
        row[ANSWERS.index("none")] += max(0.0, end - start - answered_s)
    return table


def reported_af(events: Sequence[Rhythm]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return when a model reported atrial fibrillation, as `af_durations` takes it.

    Args:
        events: rhythm events, in order; those without an end are ignored.

    Returns:
        Times at which atrial fibrillation begins or ends, (n,) in s; seconds of it up to each of them, (n,).
    """
    spans = [(one.from_s, one.to_s) for one in events if one.label == "AF" and _is_of_model(one)]
    times = np.array(spans, np.float64).reshape(-1)
    lengths = np.diff(times, prepend=0.0)
    lengths[::2] = 0.0  # the time before a begin
    return times, np.cumsum(lengths)


def af_durations(
    annotated: Sequence[RhythmSegment],
    times: NDArray[np.float64],
    reported_s: NDArray[np.float64],
    fs: float,
    first_s: float,
) -> NDArray[np.float64]:
    """Seconds in which atrial fibrillation is annotated, reported, or both.

    Args:
        annotated: annotated segments, in samples; time outside them is not scored.
        times: (n,) in s, ascending.
        reported_s: seconds of reported atrial fibrillation up to each of these times, (n,); linear between them, and
            constant before the first and after the last.
        fs: sampling rate, Hz.
        first_s: start of the scored part, s.

    Returns:
        (3,) seconds: annotated and reported, annotated only, reported only.
    """
    seconds = np.zeros(3)
    for segment in annotated:
        start, end = max(segment.start / fs, first_s), segment.end / fs
        if end <= start:
            continue
        inside_s = float(np.diff(np.interp([start, end], times, reported_s))[0]) if len(times) else 0.0
        if _CLASS_OF_ANNOTATION.get(segment.label) == "AF":
            seconds += (inside_s, end - start - inside_s, 0.0)
        else:
            seconds[2] += inside_s
    return seconds


def _is_of_model(event: Rhythm) -> bool:
    return event.to_s is not None and event.limit is None and event.label in ANSWERS
