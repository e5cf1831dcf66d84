"""Poor beats are not added to the patient history, except if a patient has only poor beats."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.streaming.beats import BeatContext
from ecgmoe_edge.streaming.frontend import FrontEnd
from ecgmoe_edge.streaming.patient.lead_history import LeadHistory
from ecgmoe_edge.streaming.patient.rr_history import IRREGULAR_SHARE, RR_FEATURE_NAMES, RRHistory
from ecgmoe_edge.streaming.signal.quality import POOR_QUALITY
from ecgmoe_edge.streaming.signal.windows import BEAT_GRID

FS = 250.0
RR_KNOWN, TO_MEDIAN_OF_64, TO_MEDIAN_OF_300 = map(
    RR_FEATURE_NAMES.index, ("RR known", "log RR / median of 64", "log RR / median of 300")
)
R = int(np.flatnonzero(BEAT_GRID == 0)[0])


def a_window(height_mv: float) -> NDArray[np.float32]:
    return np.asarray(height_mv * np.exp(-0.5 * (BEAT_GRID / 1.5) ** 2), np.float32)


def an_ecg(seconds: float) -> NDArray[np.float64]:
    t = np.arange(round(seconds * FS)) / FS
    x = 0.01 * np.random.default_rng(1).normal(size=t.size)
    for r in np.arange(0.6, seconds - 1.0, 0.83):
        for after, width, height in ((-0.16, 0.022, 0.12), (0.0, 0.011, 1.0), (0.27, 0.05, 0.3)):
            x += height * np.exp(-0.5 * ((t - r - after) / width) ** 2)
    return x


def electrode_motion(seconds: float, size_mv: float) -> NDArray[np.float64]:
    walk = np.cumsum(np.random.default_rng(0).normal(size=round(seconds * FS)))
    walk -= np.convolve(walk, np.ones(125) / 125, "same")
    return np.asarray(size_mv * walk / walk.std())


def built(x: NDArray[np.float64]) -> list[BeatContext]:
    front = FrontEnd(FS)
    return [item for item in [*front.push(x[None]), *front.flush()] if isinstance(item, BeatContext)]


def test_half_a_minute_of_electrode_motion_changes_neither_amplitude_nor_template() -> None:
    x = an_ecg(120.0)
    x[15000:22500] += electrode_motion(30.0, 2.0)
    beats = built(x)
    before = [beat for beat in beats if 30.0 < beat.sample / FS < 59.0]
    usual = float(np.median([beat.amplitude for beat in before]))
    later = [beat for beat in beats if beat.sample / FS > 60.0]
    assert len(later) > 50
    assert max(abs(beat.amplitude / usual - 1.0) for beat in later) < 0.1
    assert max(np.abs(beat.template - before[-1].template).max() for beat in later) < 0.1 * usual
    moving = [beat for beat in later if 70.0 < beat.sample / FS < 88.0]
    assert not any(beat.in_history for beat in moving)
    assert all(beat.in_history for beat in before)
    assert all(beat.in_history for beat in later if beat.sample / FS > 95.0)


def test_a_patient_with_only_poor_beats_has_a_history_of_the_better_ones() -> None:
    history = LeadHistory(BEAT_GRID.size, R)
    qualities = np.random.default_rng(2).uniform(0.001, 0.05, 200)
    remembered = [history.remember(a_window(1.0 if q > 0.02 else 5.0), q) for q in qualities.tolist()]
    assert sum(remembered) > 100
    assert history.amplitude(a_window(3.0)) == 1.0
    assert history.template(a_window(3.0))[R] == 1.0


def test_a_good_beat_is_always_remembered() -> None:
    history = LeadHistory(BEAT_GRID.size, R)
    assert all(history.remember(a_window(1.0), quality) for quality in (1.0, 0.9, 0.11, 1.0, 0.2))
    assert not history.remember(a_window(1.0), 0.05)


def test_poor_beats_are_remembered_if_the_quality_stays_poor() -> None:
    history = LeadHistory(BEAT_GRID.size, R)
    for _ in range(300):
        history.remember(a_window(1.0), 1.0)
    for _ in range(250):
        history.remember(a_window(2.0), 0.05)
    assert history.amplitude(a_window(1.0)) == 2.0


def test_rr_intervals_beside_a_poor_beat_are_not_remembered() -> None:
    undisturbed, disturbed = RRHistory(), RRHistory()
    for rr_s in np.random.default_rng(3).uniform(0.75, 0.85, 40).tolist():
        undisturbed.add(rr_s)
        disturbed.add(rr_s)
    for rr_s in (0.3, 0.5, 1.7) * 10:
        features, sequence = disturbed.add(rr_s, remember=False)
        assert features[RR_KNOWN] == sequence[1, -1] == 1.0
    expected, _ = undisturbed.add(0.8)
    features, sequence = disturbed.add(0.8)
    np.testing.assert_array_equal(features, expected)
    assert sequence[0, -1] == features[TO_MEDIAN_OF_300]


def test_poor_intervals_before_any_other_are_unknown() -> None:
    features, sequence = RRHistory().add(0.8, remember=False)
    assert features[RR_KNOWN] == 0.0
    assert not sequence.any()


def test_the_rr_history_of_a_stream_contains_no_poor_beats() -> None:
    x = an_ecg(120.0)
    x[15000:22500] += electrode_motion(30.0, 6.0)
    beats = built(x)
    poor = [beat for beat in beats if beat.quality < POOR_QUALITY]
    assert len(poor) > 15
    later = [beat for beat in beats if 96.0 < beat.sample / FS < 110.0]
    assert max(abs(float(beat.rr_features[TO_MEDIAN_OF_64])) for beat in later) < 0.02
    assert max(float(beat.rr_features[IRREGULAR_SHARE]) for beat in later) < 0.2
