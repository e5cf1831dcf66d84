"""Filters, sums, medians, beat windows and tails of spikes in C give the numbers of the Python classes."""

from __future__ import annotations

import numpy as np
import pytest
from signal_in_c import FLOAT, SignalInC

from ecgmoe_edge.calibration_data import load_calibration
from ecgmoe_edge.streaming.signal.filters import Notch, monitoring_band
from ecgmoe_edge.streaming.signal.mains import MainsChoice
from ecgmoe_edge.streaming.signal.median import RunningMedian
from ecgmoe_edge.streaming.signal.pacing import COMPLEX_END_S, is_tail, r_on_tail
from ecgmoe_edge.streaming.signal.sums import MovingSums

RATES = (100.0, 250.0, 360.0, 1000.0)


@pytest.mark.parametrize("fs", RATES)
@pytest.mark.parametrize("notch", ["auto", 50, 60])
def test_the_monitoring_band_has_the_same_bits(fs: float, notch: MainsChoice) -> None:
    x = load_calibration().signal[0, :5000] + 300.0
    constant = notch if isinstance(notch, int) else None
    made = SignalInC(fs, notch=notch).filtered("filter_push", x)
    assert np.array_equal(made, monitoring_band(fs, constant).process(x))


@pytest.mark.parametrize("fs", RATES)
@pytest.mark.parametrize("offset_mv", [0.0, 300.0])
def test_the_monitoring_band_in_single_precision_is_exact_to_20_nanovolts(fs: float, offset_mv: float) -> None:
    x = np.tile(load_calibration().signal[0, :20000], 5) + offset_mv
    made = SignalInC(fs, notch=50, flags=FLOAT).filtered("filter_push", x)
    reference = monitoring_band(fs, 50).process(x.astype(np.float32).astype(np.float64))
    assert np.abs(made - reference).max() < 2e-5


@pytest.mark.parametrize("fs", RATES)
def test_a_notch_starts_within_a_tone_without_a_transient(fs: float) -> None:
    rng = np.random.default_rng(3)
    engine = SignalInC(fs)
    for frequency_hz in (50.0 / 3.0, 44.9, 16.5):
        x = rng.normal(size=2000)
        notch = Notch(fs, frequency_hz)
        notch.start(frequency_hz + 0.01, 0.4 - 0.3j)
        engine.call("notch_start", frequency_hz, frequency_hz + 0.01, 0.4, -0.3)
        assert np.abs(engine.filtered("notch_push", x) - notch.process(x)).max() < 1e-10


@pytest.mark.parametrize(("width", "block"), [(2, 100), (25, 250), (100, 1000), (7, 8)])
def test_moving_sums_have_the_same_bits(width: int, block: int) -> None:
    x = np.random.default_rng(5).normal(size=(3, 3 * block + 17)) ** 2
    over_width, over_block = np.empty_like(x), np.empty(x.shape[1])
    SignalInC(1000.0).call("sums_push", width, block, x, over_width, over_block, x.shape[1])
    expected = MovingSums(3, width, block).process(x)
    assert np.array_equal(over_width, expected[0])
    assert np.array_equal(over_block, expected[1])


@pytest.mark.parametrize("keep", [1, 2, 9, 32, 255])
def test_the_running_median_is_the_same(keep: int) -> None:
    numbers = np.random.default_rng(keep).integers(0, 40, 1000).astype(float).tolist()
    numbers += [0.25 * k for k in range(400)] + [-k / 3 for k in range(400)]
    reference = RunningMedian(keep)
    expected = []
    for number in numbers:
        reference.add(number)
        expected.append(reference.value())
    assert SignalInC(250.0).medians(numbers, keep) == expected


def test_tails_of_spikes_and_complexes_on_them_are_found_alike() -> None:
    rng = np.random.default_rng(11)
    found = {True: 0, False: 0}
    complexes = 0
    for fs in (250.0, 500.0, 1000.0):
        engine = SignalInC(fs)
        for _ in range(80):
            t = np.arange(int(COMPLEX_END_S * fs)) / fs
            after = rng.uniform(-3, 3) * np.exp(-t / rng.uniform(0.003, 0.08)) + rng.normal(0, 0.02, t.size)
            if rng.random() < 0.6:
                after += rng.uniform(-2, 2) * np.exp(-0.5 * ((t - rng.uniform(0.04, 0.14)) / 0.025) ** 2)
            n = int(rng.integers(int(0.04 * fs), t.size + 1))
            after = after[:n].copy()
            expected = is_tail(after, fs)
            assert bool(engine.call("tail_is", after, n)) is expected
            r = r_on_tail(after, fs)
            assert engine.call("tail_r", after, n) == (-1 if r is None else r)
            found[expected] += 1
            complexes += r is not None
    assert min(found.values()) > 20
    assert complexes > 20
