"""A resampled signal keeps its times and amplitudes, and has no frequencies that the new rate cannot represent."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import resample_poly

from ecgmoe_edge.errors import SignalError
from ecgmoe_edge.streaming.signal.resampling import Ends, Method, read_linear, resample


def _sine(frequency: float, fs: float, seconds: float = 10.0) -> NDArray[np.float64]:
    return np.asarray(np.sin(2 * np.pi * frequency * np.arange(round(seconds * fs)) / fs))


@pytest.mark.parametrize("method", ["polyphase", "linear"])
@pytest.mark.parametrize(("fs", "rate"), [(360.0, 128.0), (128.0, 360.0), (250.0, 1000.0), (257.0, 250.0)])
def test_a_resampled_sine_is_the_sine_of_that_rate(fs: float, rate: float, method: Method) -> None:
    made = resample(_sine(7.0, fs), fs, rate, method=method)
    assert abs(len(made) - 10.0 * rate) <= 1
    inner = slice(64, -64)
    wanted = _sine(7.0, rate, 11.0)[: len(made)]
    np.testing.assert_allclose(made[inner], wanted[inner], atol=5e-3 if method == "polyphase" else 2e-2)


def test_frequencies_above_half_the_new_rate_are_removed_except_by_linear_interpolation() -> None:
    wave = _sine(100.0, 360.0)
    assert np.abs(resample(wave, 360.0, 128.0))[64:-64].max() < 0.01
    assert np.abs(resample(wave, 360.0, 128.0, method="linear")).max() > 0.3


@pytest.mark.parametrize("method", ["polyphase", "linear"])
def test_invalid_samples_stay_invalid_and_affect_no_others(method: Method) -> None:
    leads = np.stack([_sine(2.0, 360.0), _sine(3.0, 360.0), np.full(3600, np.nan)])
    leads[1, 720:1080] = np.nan
    made = resample(leads, 360.0, 128.0, method=method)
    assert made.shape == (3, 1280)
    assert np.isfinite(made[0]).all()
    missing = np.flatnonzero(np.isnan(made[1])) / 128.0
    assert missing.tolist() == pytest.approx(np.arange(256, 384) / 128.0, abs=1 / 128)
    assert np.isnan(made[2]).all()


def test_invalid_samples_are_bridged_on_request() -> None:
    gaps = np.where(np.arange(3600) % 900 < 5, np.nan, 1.0)
    np.testing.assert_allclose(resample(gaps, 360.0, 128.0, missing="bridge"), 1.0, atol=5e-3)
    assert resample(np.full(3600, np.nan), 360.0, 128.0, missing="bridge").shape == (0,)


@pytest.mark.parametrize("ends", ["line", "mean", "constant"])
def test_the_polyphase_filter_is_that_of_scipy(ends: Ends) -> None:
    leads = np.random.default_rng(0).normal(3.0, 1.0, (2, 1000))
    made = resample(leads, 360.0, 250.0, ends=ends)
    np.testing.assert_array_equal(made, resample_poly(leads, 25, 36, axis=1, padtype=ends))
    np.testing.assert_array_equal(resample(leads, 360.0, 360.0), leads)


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), float("inf")])
def test_an_impossible_rate_is_refused(rate: float) -> None:
    with pytest.raises(SignalError, match="rates above 0"):
        resample(np.zeros(10), 360.0, rate)


def test_each_row_is_read_at_its_own_positions_within_its_ends() -> None:
    rows = np.arange(20, dtype=np.float32).reshape(2, 10)
    read = read_linear(rows, np.array([[0.0, 2.5, -3.0], [1.25, 9.0, 30.0]]))
    np.testing.assert_allclose(read, [[0.0, 2.5, 0.0], [11.25, 19.0, 19.0]], atol=2e-3)
