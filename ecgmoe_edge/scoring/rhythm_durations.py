"""How long each annotated rhythm was called what: EC57 scores atrial fibrillation by duration, not by beat.

Se by duration is the share of the annotated time of a rhythm that was called so, +P the share of the time called so
that was annotated so (EC57:2012, 4.5.2 for atrial fibrillation). What counts is when the monitor says a rhythm lasted,
with the time that it took to make up its mind counted against it only as far as it did not date the rhythm back.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.records.annotations import RhythmSegment
from ecgmoe_edge.streaming.events import Rhythm

#: Annotated rhythms as the model's classes have them; atrial flutter (AFL) is "other", as it is for EC57.
RHYTHMS = ("N", "AF", "other")
ANSWERS = ("N", "AF", "other", "noisy", "none")
_OF_ANNOTATION = {"N": "N", "AFIB": "AF"}


def rhythm_durations(
    annotated: Sequence[RhythmSegment], said: Sequence[Rhythm], fs: float, first_s: float
) -> NDArray[np.float64]:
    """Seconds of each annotated rhythm under each answer, (RHYTHMS, ANSWERS).

    Args:
        annotated: segments, in samples.
        said: the monitor's rhythm events; those without an end, and those that RR intervals alone define, are passed
            over.
        fs: samples a second, Hz.
        first_s: what comes before is not scored.
    """
    table = np.zeros((len(RHYTHMS), len(ANSWERS)))
    stretches = [(ANSWERS.index(one.label), one.from_s, one.to_s) for one in said if _is_models(one)]
    for segment in annotated:
        start, end = max(segment.start / fs, first_s), segment.end / fs
        if end <= start:
            continue
        row = table[RHYTHMS.index(_OF_ANNOTATION.get(segment.label, "other"))]
        called = 0.0
        for answer, from_s, to_s in stretches:
            overlap = max(0.0, min(end, to_s or 0.0) - max(start, from_s))
            row[answer] += overlap
            called += overlap
        row[ANSWERS.index("none")] += max(0.0, end - start - called)
    return table


def _is_models(event: Rhythm) -> bool:
    return event.to_s is not None and event.limit is None and event.label in ANSWERS
