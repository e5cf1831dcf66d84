"""The classical measure of atrial fibrillation, which is scored beside every model of rhythm."""

from __future__ import annotations

import math

import numpy as np
import pytest
from annotated_records import irregular, regular
from numpy.typing import NDArray

from ecgmoe_edge.records.annotations import RhythmSegment
from ecgmoe_edge.scoring.cosen import FEWEST, THRESHOLD, af_seconds, cosen


def by_definition(rr: NDArray[np.float64]) -> float:
    """CoSEn with loops, as the paper writes it: pairs within 30 ms, template length 1."""
    one = two = 0
    for i in range(len(rr) - 1):
        for j in range(i + 1, len(rr) - 1):
            if abs(rr[i] - rr[j]) < 0.03:
                one += 1
                two += abs(rr[i + 1] - rr[j + 1]) < 0.03
    return -math.log(max(2 * two, 1) / max(2 * one, 1)) + math.log(0.06) - math.log(float(np.mean(rr)))


def test_it_is_the_measure_of_the_paper() -> None:
    rr = irregular(100)
    values = cosen(rr)
    assert np.isnan(values[: FEWEST - 1]).all()
    for end in (12, 20, 60, 64, 72, 96):
        window = rr[max(0, end - 64) : end]
        assert values[end - 1] == pytest.approx(by_definition(window))


def test_it_separates_fibrillation_from_breathing_and_from_bigeminy() -> None:
    breathing = 0.9 + 0.1 * np.sin(np.arange(400) / 4.0) + np.random.default_rng(3).normal(0.0, 0.005, 400)
    bigeminy = np.tile((0.6, 1.0), 200) + np.random.default_rng(4).normal(0.0, 0.005, 400)
    assert (cosen(irregular(400))[64:] >= THRESHOLD).mean() > 0.95
    for rr in (regular(400), breathing, bigeminy):
        assert (cosen(rr)[64:] < THRESHOLD).all()


def test_seconds_are_counted_by_the_intervals_that_beats_end() -> None:
    rr = np.concatenate([regular(300), irregular(300)])
    times = np.concatenate([[0.0], np.cumsum(rr)])
    change, end = round(float(times[300]), 3), float(times[-1])
    segments = [
        RhythmSegment("N", 0, round(change * 250)),
        RhythmSegment("AFIB", round(change * 250), round(end * 250)),
    ]
    both, missed, false = af_seconds(times, segments, 250.0, 0.0)
    assert both + missed == pytest.approx(end - change, abs=0.01)
    assert 0.0 < missed < 64 * 0.75  # the delay of the window
    assert false == 0.0
    later = af_seconds(times, segments, 250.0, change + 100.0)
    assert later.sum() == pytest.approx(end - change - 100.0, abs=0.01)


def test_a_record_without_a_beat_has_only_missed_fibrillation() -> None:
    assert af_seconds(np.zeros(0), [RhythmSegment("AFIB", 0, 2500)], 250.0, 0.0).tolist() == [0.0, 10.0, 0.0]
