"""RR features, template features, beat windows, decision rules and beat shapes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from ecgmoe_edge.streaming.decision import Decision, DecisionRule
from ecgmoe_edge.streaming.features import FEATURE_NAMES, N_FEATURES, model_inputs
from ecgmoe_edge.streaming.patient.rr_history import (
    IRREGULAR_SHARE,
    RR_FEATURE_NAMES,
    RR_MEMORY,
    TO_MEAN_OF_8,
    RRHistory,
)
from ecgmoe_edge.streaming.patient.shapes import ShapeMemory
from ecgmoe_edge.streaming.rhythm.tracker import RhythmTracker
from ecgmoe_edge.streaming.signal.windows import BEAT_GRID, WIDE_GRID, WindowSampler
from ecgmoe_edge.tasks import BEAT_CLASSES, RHYTHM_CLASSES


def test_names_and_numbers_of_features_agree() -> None:
    assert len(FEATURE_NAMES) == N_FEATURES == 27
    assert len(set(FEATURE_NAMES)) == 27


def test_relative_features_are_zero_in_a_steady_rhythm_and_negative_for_an_early_beat() -> None:
    memory = RRHistory()
    for _ in range(40):
        features, _ = memory.add(0.8)
    named = dict(zip(RR_FEATURE_NAMES, features, strict=True))
    assert named["log RR / median of 300"] == pytest.approx(0.0, abs=1e-6)
    assert named["irregular share of 32"] == 0.0
    features, sequence = memory.add(0.5)
    named = dict(zip(RR_FEATURE_NAMES, features, strict=True))
    assert named["log RR / median of 300"] == pytest.approx(np.log(0.5 / 0.8), abs=1e-6)
    assert sequence[0, -1] == pytest.approx(np.log(0.5 / 0.8), abs=1e-6)


def test_rr_features_do_not_depend_on_the_heart_rate() -> None:
    intervals = np.random.default_rng(0).normal(0.8, 0.05, 60)
    slow, fast = RRHistory(), RRHistory()
    for rr in intervals:
        features_slow, sequence_slow = slow.add(float(rr))
        features_fast, sequence_fast = fast.add(float(rr) / 1.7)
    np.testing.assert_allclose(features_slow, features_fast, atol=1e-5)
    np.testing.assert_allclose(sequence_slow, sequence_fast, atol=1e-5)


def test_an_unknown_interval_has_features_and_mask_zero_and_is_not_remembered() -> None:
    memory = RRHistory()
    for rr in (0.8, 0.82, 0.78):
        memory.add(rr)
    features, sequence = memory.add(None)
    assert not features[: RR_FEATURE_NAMES.index("length of memory")].any()
    assert not sequence[:, -1].any()
    after, _ = memory.add(0.8)
    assert dict(zip(RR_FEATURE_NAMES, after, strict=True))["log RR / median of 64"] == pytest.approx(0.0, abs=0.03)
    flat = np.ones((1, BEAT_GRID.size), np.float32)
    beat, scaled = model_inputs(flat, flat, np.ones(1, np.float32), features[None])
    assert not scaled[0, : RR_FEATURE_NAMES.index("RR known") + 1].any()
    assert beat.shape == (1, 2, BEAT_GRID.size)


def test_the_memory_of_rr_intervals_is_bounded() -> None:
    memory = RRHistory()
    for rr in np.random.default_rng(1).uniform(0.5, 1.2, 3 * RR_MEMORY):
        features, _ = memory.add(float(rr))
    assert features[-1] == pytest.approx(1.0)


def test_a_beat_has_the_same_inputs_alone_and_in_a_batch() -> None:
    random = np.random.default_rng(2)
    windows, templates = random.normal(0, 1, (2, 9, BEAT_GRID.size)).astype(np.float32)
    amplitude = random.uniform(0.3, 2.0, 9).astype(np.float32)
    rr = random.normal(0, 0.2, (9, 15)).astype(np.float32)
    beat, features = model_inputs(windows, templates, amplitude, rr)
    for k in range(9):
        one_beat, one_features = model_inputs(
            windows[k : k + 1], templates[k : k + 1], amplitude[k : k + 1], rr[k : k + 1]
        )
        np.testing.assert_allclose(beat[k], one_beat[0], atol=1e-6)
        np.testing.assert_allclose(features[k], one_features[0], atol=1e-4)
    assert np.abs(beat).max() <= 6.0
    assert np.abs(features).max() <= 4.0


def test_inputs_do_not_depend_on_gain_and_unit() -> None:
    random = np.random.default_rng(3)
    windows, templates = random.normal(0, 1, (2, 5, BEAT_GRID.size)).astype(np.float32)
    amplitude, rr = np.ones(5, np.float32), np.zeros((5, 15), np.float32)
    small = model_inputs(windows, templates, amplitude, rr)
    large = model_inputs(1000 * windows, 1000 * templates, 1000 * amplitude, rr)
    for a, b in zip(small, large, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


@pytest.mark.parametrize("fs", [100.0, 128.0, 250.0, 360.0, 1000.0])
@pytest.mark.parametrize("grid", [BEAT_GRID, WIDE_GRID])
def test_a_window_is_the_signal_on_the_model_s_grid(fs: float, grid: np.ndarray) -> None:
    sampler = WindowSampler(fs, grid)
    t = np.arange(-sampler.before, sampler.after + 1) / fs
    window = sampler.read(np.sin(2 * np.pi * 5.0 * t))
    inner = slice(2, -2)
    np.testing.assert_allclose(window[inner], np.sin(2 * np.pi * 5.0 * grid / 128.0)[inner], atol=5e-3)


def test_a_window_ends_in_time_for_its_label() -> None:
    assert all(WindowSampler(fs, BEAT_GRID).after <= 0.3 * fs for fs in range(100, 1001))


def _rr(irregular_share: float, ratio: float = 1.0) -> NDArray[np.float32]:
    """RR features of a beat that comes after `ratio` times the mean of the eight intervals before."""
    features = np.zeros(len(RR_FEATURE_NAMES), np.float32)
    features[IRREGULAR_SHARE], features[TO_MEAN_OF_8] = irregular_share, math.log(ratio)
    return features


def test_an_irregular_rhythm_lowers_the_logit_of_s_only() -> None:
    logits = np.array([1.0, 1.5, -3.0, -4.0], np.float32)
    assert int(np.argmax(Decision(DecisionRule(), BEAT_CLASSES).apply(logits, _rr(0.0), None))) == 1
    guarded = Decision(DecisionRule(), BEAT_CLASSES).apply(logits, _rr(0.9), None)
    assert int(np.argmax(guarded)) == 0
    np.testing.assert_allclose(guarded[[0, 2, 3]], logits[[0, 2, 3]])


NORMAL = np.array([4.0, -3.0, -4.0, -5.0], np.float32)
EARLY = np.array([1.0, 1.5, -3.0, -4.0], np.float32)
AF, OTHER = np.array([-3.0, 4.0, -1.0, -3.0], np.float32), np.array([-1.0, -3.0, 4.0, -3.0], np.float32)


def _after_forty(rhythm: NDArray[np.float32], rule: DecisionRule | None = None) -> Decision:
    decision = Decision(rule or DecisionRule(), BEAT_CLASSES, RHYTHM_CLASSES)
    for _ in range(40):
        decision.apply(NORMAL, _rr(0.9), None, rhythm)
    return decision


def test_frequent_s_are_no_fibrillation_if_the_model_has_rhythm_classes() -> None:
    fibrillating = _after_forty(AF).apply(EARLY, _rr(0.9), None, AF)
    assert int(np.argmax(fibrillating)) == 0
    np.testing.assert_allclose(fibrillating[[0, 2, 3]], EARLY[[0, 2, 3]])
    assert int(np.argmax(_after_forty(OTHER).apply(EARLY, _rr(0.9), None, OTHER))) == 1


def test_a_rule_can_keep_the_label_s_if_the_rhythm_is_regular_at_present() -> None:
    assert int(np.argmax(_after_forty(AF).apply(EARLY, _rr(0.1), None, AF))) == 0
    gated = _after_forty(AF, DecisionRule(fibrillation_irregular=True))
    assert int(np.argmax(gated.apply(EARLY, _rr(0.1), None, AF))) == 1


def test_one_beat_with_a_high_probability_of_af_among_many_without_does_not_change_the_label_s() -> None:
    assert int(np.argmax(_after_forty(OTHER).apply(EARLY, _rr(0.9), None, AF))) == 1


def test_a_v_margin_that_is_high_in_all_beats_of_a_patient_is_subtracted() -> None:
    decision = Decision(DecisionRule(), BEAT_CLASSES)
    logits = np.array([0.0, -6.0, 0.3, -6.0], np.float32)
    first = decision.apply(logits, _rr(0.0), None)
    for _ in range(400):
        last = decision.apply(logits, _rr(0.0), None)
    assert int(np.argmax(first)) == 2
    assert int(np.argmax(last)) == 0


def _qrs(width: float) -> NDArray[np.float32]:
    return np.exp(-0.5 * ((BEAT_GRID / 128.0) / width) ** 2).astype(np.float32)


def test_an_uncertain_beat_gets_the_label_of_the_other_beats_of_its_shape() -> None:
    decision = Decision(DecisionRule(), BEAT_CLASSES)
    narrow, wide = _qrs(0.012), _qrs(0.05)
    uncertain = np.array([1.0, -5.0, 0.0, -5.0], np.float32)
    for k in range(30):
        decision.apply(NORMAL if k % 3 else CERTAIN_V, _rr(0.0), narrow if k % 3 else wide)
    assert int(np.argmax(decision.apply(uncertain, _rr(0.0), wide))) == 2
    assert int(np.argmax(decision.apply(uncertain, _rr(0.0), narrow))) == 0
    assert int(np.argmax(decision.apply(uncertain, _rr(0.0), None))) == 0


def _one_shape(ratio_of_v: float, rhythm: NDArray[np.float32] | None = None, irregular: float = 0.0) -> Decision:
    """The decision rules after 40 ventricular beats among 120 normal ones with the same QRS complex."""
    decision = Decision(DecisionRule(), BEAT_CLASSES, () if rhythm is None else RHYTHM_CLASSES)
    for k in range(120):
        decision.apply(NORMAL, _rr(irregular), _qrs(0.012), rhythm)
        if k % 3 == 0:
            decision.apply(CERTAIN_V, _rr(irregular, ratio_of_v), _qrs(0.012), rhythm)
    return decision


CERTAIN_V = np.array([-2.0, -5.0, 2.0, -5.0], np.float32)
UNCERTAIN_V = np.array([0.0, -5.0, 1.5, -5.0], np.float32)


def test_early_ventricular_beats_with_a_normal_qrs_are_distinguished_from_normal_beats() -> None:
    assert int(np.argmax(_one_shape(0.75).apply(UNCERTAIN_V, _rr(0.0, 0.75), _qrs(0.012)))) == 2
    on_time = _one_shape(0.75).apply(UNCERTAIN_V, _rr(0.0), _qrs(0.012))
    assert int(np.argmax(on_time)) == 0  # like nearly all beats of its shape that come on time


@pytest.mark.parametrize(("early_share", "counts"), [(0.0, False), (0.85, True)])
def test_the_early_beats_of_a_shape_count_by_their_share(early_share: float, counts: bool) -> None:
    memory, early, on_time = ShapeMemory(0.9, early_share), math.log(0.75), 0.0
    for k in range(60):
        memory.correction(_qrs(0.012), -6.0, on_time)
        if k % 6 == 0:
            memory.correction(_qrs(0.012), 4.0, early)
    assert (memory.correction(_qrs(0.012), 1.5, early) > -3.0) == counts
    assert memory.correction(_qrs(0.012), 1.5, on_time) < -3.0


@pytest.mark.parametrize(("rhythm", "irregular"), [(AF, 0.0), (None, 0.9)])
def test_in_fibrillation_early_beats_of_a_shape_are_not_kept_apart(
    rhythm: NDArray[np.float32] | None, irregular: float
) -> None:
    early = _one_shape(0.75, rhythm, irregular).apply(UNCERTAIN_V, _rr(irregular, 0.75), _qrs(0.012), rhythm)
    assert int(np.argmax(early)) == 0


def test_the_margin_of_a_shape_without_early_beats_applies_to_its_first_early_beat() -> None:
    memory = ShapeMemory(0.9, 0.85)
    for _ in range(20):
        memory.correction(_qrs(0.012), -3.0, 0.0)
    assert memory.correction(_qrs(0.012), -3.0, math.log(0.7)) == pytest.approx(0.0, abs=1e-9)


def test_the_t_wave_belongs_to_the_shape() -> None:
    memory, t = ShapeMemory(0.9, 0.85), np.exp(-0.5 * ((BEAT_GRID / 128.0 - 0.2) / 0.04) ** 2).astype(np.float32)
    upright, turned = _qrs(0.012) + 0.3 * t, _qrs(0.012) - 0.3 * t
    for _ in range(20):
        memory.correction(upright, -4.0, 0.0)
    assert memory.correction(turned, 1.0, 0.0) == 0.0  # a new shape
    assert memory.correction(upright, 1.0, 0.0) < -3.0


def test_shapes_differ_in_form_and_size_and_the_oldest_is_replaced() -> None:
    memory = ShapeMemory(0.9, 0.85)
    for _ in range(10):
        assert memory.correction(_qrs(0.012), -3.0, 0.0) == pytest.approx(0.0, abs=1e-9)
    assert memory.correction(_qrs(0.012), 1.0, 0.0) < -3.0
    assert memory.correction(2.0 * _qrs(0.012), 1.0, 0.0) == 0.0  # the same form, twice as large, is a new shape
    rng = np.random.default_rng(0)
    for _ in range(40):  # more new shapes than the memory has
        memory.correction(rng.standard_normal(len(BEAT_GRID)).astype(np.float32), 0.0, 0.0)
    assert memory.correction(_qrs(0.012), 1.0, 0.0) == 0.0


def test_rhythms_begin_and_end_with_their_times() -> None:
    tracker = RhythmTracker(("N", "AF"))
    events = []
    for k in range(20):
        events += tracker.beat(
            0.5 * k, 500.0 if k else None, "V" if 8 <= k < 12 else "N", np.array([2.0, 0.0], np.float32)
        )
    events += tracker.interrupt(9.8, lead_lost=False)
    phases = [(e.label, e.phase) for e in events]
    assert phases.count(("V run", "begin")) == phases.count(("V run", "end")) == 1
    assert phases.count(("tachycardia", "begin")) == phases.count(("tachycardia", "end")) == 1
    run = next(e for e in events if e.label == "V run" and e.to_s is not None)
    assert (run.from_s, run.to_s) == (4.0, 5.5)
    assert ("N", "begin") in phases
    for time_s in (11.5, 13.0, 14.5, 16.0, 17.5):
        tracker.beat(time_s, 1500.0, "N", None)
    pause = tracker.beat(20.0, 2500.0, "N", None)
    assert [(e.label, e.from_s, e.to_s) for e in pause] == [("pause", 17.5, None), ("pause", 17.5, 20.0)]
