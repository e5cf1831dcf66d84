"""Patient history and model inputs in C against the Python classes."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from labels_in_c import FLOAT, StagesInC
from numpy.typing import NDArray

from ecgmoe_edge.streaming.features import model_inputs
from ecgmoe_edge.streaming.patient.lead_history import LeadHistory
from ecgmoe_edge.streaming.patient.rr_history import RRHistory
from ecgmoe_edge.streaming.patient.shapes import ShapeMemory
from ecgmoe_edge.streaming.signal.windows import BEAT_GRID

POINTS = BEAT_GRID


def intervals(fs: float, n: int, seed: int) -> list[int]:
    """RR intervals in samples of all kinds: sinus rhythm, fibrillation, ectopic beats, pauses, unknown (0)."""
    random = np.random.default_rng(seed)
    seconds = 0.8 + 0.05 * np.sin(np.arange(n) / 5)
    fibrillates = (np.arange(n) // 150) % 2 == 1
    seconds[fibrillates] = random.uniform(0.3, 1.4, fibrillates.sum())
    seconds *= np.where(random.random(n) < 0.06, 0.6, 1.0)
    seconds[random.random(n) < 0.01] = 9.0
    seconds[random.random(n) < 0.01] = 0.05
    samples = np.maximum(np.rint(seconds * fs), 1).astype(int)
    samples[random.random(n) < 0.02] = 0
    samples[random.random(n) < 0.002] = 10**6
    return [int(number) for number in samples]


def windows(n: int, seed: int) -> NDArray[np.float32]:
    """Beat windows of three forms with noise, mV."""
    random = np.random.default_rng(seed)
    out = 0.03 * random.standard_normal((n, POINTS.size))
    for row, form in zip(out, random.choice(3, n, p=(0.8, 0.15, 0.05)), strict=True):
        width, height = ((3, 1.1), (7, -1.4), (5, 0.6))[form]
        row += height * random.normal(1, 0.05) * np.exp(-0.5 * (POINTS / width) ** 2)
        row += 0.2 * np.exp(-0.5 * ((POINTS - 32 - 4 * form) / 6) ** 2)
    return out.astype(np.float32)


@pytest.mark.parametrize("fs", [100.0, 250.0, 360.0, 1000.0])
def test_the_features_of_rr_intervals_are_those_of_python(fs: float) -> None:
    reference, stages = RRHistory(), StagesInC(fs)
    remembered = np.random.default_rng(4).random(1200) < 0.9
    for samples, remember in zip(intervals(fs, 1200, 3), remembered.tolist(), strict=True):
        features, sequence = reference.add(samples / fs if samples else None, remember=remember)
        own_features, own_sequence = stages.rr_add(samples, remember)
        np.testing.assert_allclose(own_features, features, rtol=2e-7, atol=1e-9)
        np.testing.assert_allclose(own_sequence, sequence, rtol=2e-7, atol=1e-9)


def test_the_features_of_rr_intervals_in_32_bits_are_close() -> None:
    reference, stages = RRHistory(), StagesInC(250.0, flags=FLOAT)
    for samples in intervals(250.0, 1200, 5):
        features, _ = reference.add(samples / 250.0 if samples else None)
        np.testing.assert_allclose(stages.rr_add(samples, True)[0], features, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("best", [1.0, 0.25, 0.05])
def test_the_template_and_the_amplitude_are_those_of_python(best: float) -> None:
    reference, stages = LeadHistory(POINTS.size, int(np.flatnonzero(POINTS == 0)[0])), StagesInC()
    qualities = best * np.random.default_rng(6).random(900)
    qualities[300:450] *= 0.02
    remembered = 0
    for window, quality in zip(windows(900, 7), qualities.tolist(), strict=True):
        assert stages.template(window).tolist() == reference.template(window).tolist()
        assert stages.amplitude(window) == np.float32(reference.amplitude(window))  # as the model gets it
        is_remembered = reference.remember(window, quality)
        remembered += is_remembered
        assert stages.remember(window, quality) == is_remembered
    assert 200 < remembered < 900


def test_the_template_in_32_bits_is_within_the_step_of_its_windows() -> None:
    reference, stages = LeadHistory(POINTS.size, int(np.flatnonzero(POINTS == 0)[0])), StagesInC(flags=FLOAT)
    qualities = (0.2 * np.random.default_rng(6).random(700)).tolist()
    same = 0
    for window, quality in zip(windows(700, 8), qualities, strict=True):
        np.testing.assert_allclose(stages.template(window), reference.template(window), atol=2.0 / 32767)
        same += stages.remember(window, quality) == reference.remember(window, quality)
    assert same >= 700 - 1


def test_a_history_of_zeros_stays_zero_in_32_bits() -> None:
    stages = StagesInC(flags=FLOAT)
    nothing = np.zeros(POINTS.size, np.float32)
    assert stages.remember(nothing, 1.0)
    assert not stages.template(nothing).any()


@pytest.mark.parametrize("flags", [(), FLOAT])
def test_the_correction_by_shapes_is_that_of_python(flags: tuple[str, ...]) -> None:
    random = np.random.default_rng(9)
    reference, stages = ShapeMemory(0.9, 0.85), StagesInC(flags=flags)
    stages.c.shapes_init(ctypes.c_double(0.9), ctypes.c_double(0.85))
    beats = windows(1500, 10)
    beats[::97] += random.normal(0, 1, (len(beats[::97]), POINTS.size)).astype(np.float32)  # forms that come once
    beats[700] = 0.0
    for k, beat in enumerate(beats):
        margin, ratio = float(random.normal(-2, 4)), None if k % 11 == 0 else float(random.normal(-0.05, 0.2))
        expected = reference.correction(beat, margin, ratio)
        assert stages.correction(beat, margin, ratio) == pytest.approx(expected, abs=1e-3 if flags else 1e-11)


@pytest.mark.parametrize("flags", [(), FLOAT])
def test_the_inputs_of_the_model_are_those_of_python(flags: tuple[str, ...]) -> None:
    random = np.random.default_rng(11)
    stages, history = StagesInC(flags=flags), RRHistory()
    beats = windows(400, 12)
    templates = np.roll(beats, 1, axis=0)
    beats[3], templates[4] = 0.0, 0.0
    amplitudes = random.choice((1.0, 0.3, 0.02, 0.0), 400).astype(np.float32)
    for window, template, amplitude, rr in zip(beats, templates, amplitudes, intervals(250.0, 400, 13), strict=True):
        rr_features, _ = history.add(rr / 250.0 if rr else None)
        beat, features = model_inputs(window[None], template[None], np.array([amplitude]), rr_features[None])
        own_beat, own_features = stages.model_inputs(window, template, float(amplitude), rr_features)
        assert own_beat.tolist() == beat[0].tolist()
        np.testing.assert_allclose(own_features, features[0], rtol=1e-6, atol=4e-6)
