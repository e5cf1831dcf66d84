"""R peaks in hard signals: tall T waves, wide beats, pacing, gain, baseline wander, noise, pauses, silence."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from ecgmoe_edge.streaming.beats import BeatContext
from ecgmoe_edge.streaming.frontend import FrontEnd, Item

FS = 250.0

Wave = tuple[float, float, float]  # s after R, width in s, mV
LEARNT_S = 2.5  # before this, there are no beats to compare a wave with
NORMAL: Sequence[Wave] = ((-0.16, 0.025, 0.12), (0.0, 0.012, 1.0), (0.03, 0.012, -0.15), (0.28, 0.05, 0.25))
WIDE: Sequence[Wave] = ((0.0, 0.045, 1.4), (0.09, 0.045, -0.6), (0.34, 0.07, -0.5))


def regular(seconds: float, rr_s: float = 0.85, *, seed: int = 0) -> NDArray[np.float64]:
    """Times of R peaks in s, with the variability of a calm heart."""
    times = 0.6 + np.cumsum(np.random.default_rng(seed).normal(rr_s, 0.04 * rr_s, int(seconds / rr_s) + 1))
    return times[times < seconds - 1.0]


def simulated(
    seconds: float,
    beats: Iterable[tuple[float, Sequence[Wave]]],
    *,
    fs: float = FS,
    noise_mv: float = 0.01,
    seed: int = 0,
) -> NDArray[np.float64]:
    """An ECG (samples,) in mV made of Gaussian waves, with white noise."""
    t = np.arange(round(seconds * fs)) / fs
    x = noise_mv * np.random.default_rng(seed).normal(size=t.size)
    for r, waves in beats:
        for after, width, height in waves:
            near = slice(max(0, int((r + after - 6 * width) * fs)), max(0, int((r + after + 6 * width) * fs)))
            x[near] += height * np.exp(-(((t[near] - r - after) / width) ** 2))
    return x


def detected(x: NDArray[np.float64], fs: float = FS, cuts: Iterable[int] = ()) -> list[BeatContext]:
    """R peaks in `x` (samples,), mV, which is pushed in chunks that end at `cuts`."""
    front = FrontEnd(fs, grid=None)
    pushed = [item for piece in np.split(x, list(cuts)) for item in front.push(piece[None])]
    return beats_in([*pushed, *front.flush()])


def beats_in(items: Iterable[Item]) -> list[BeatContext]:
    return [item for item in items if isinstance(item, BeatContext)]


def facts(peaks: Iterable[BeatContext], since: int = 0) -> list[tuple[object, ...]]:
    """Values of R peaks for comparison, with times counted from sample `since`."""
    return [(p.sample - since, p.known_at - since, p.ready_at - since, p.search_back, p.rr_s, p.quality) for p in peaks]


def times(peaks: Iterable[BeatContext], fs: float = FS) -> NDArray[np.float64]:
    return np.array([peak.sample / fs for peak in peaks])


def missed_and_false(
    found: NDArray[np.float64], truth: NDArray[np.float64], *, tolerance_s: float = 0.05
) -> tuple[int, int]:
    missed = sum(not np.any(np.abs(found - r) < tolerance_s) for r in truth)
    false = sum(not np.any(np.abs(truth - r) < tolerance_s) for r in found)
    return missed, false


@pytest.mark.parametrize("fs", [100.0, 128.0, 250.0, 500.0, 1000.0])
@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("taller", [2.0, 4.0])
def test_t_waves_several_times_taller_than_the_qrs_are_no_beats(fs: float, sign: float, taller: float) -> None:
    waves = ((0.0, 0.012, 0.4), (0.03, 0.012, -0.1), (0.28, 0.05, 0.4 * taller))
    truth = regular(60.0)
    x = sign * simulated(60.0, [(r, waves) for r in truth], fs=fs)
    assert missed_and_false(times(detected(x, fs), fs), truth) == (0, 0)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_wide_early_beats_are_found_once_each(sign: float) -> None:
    normal = regular(90.0)
    wide = normal[4::7] + 0.5  # before the next normal beat, which is left out
    truth = np.sort(np.concatenate((np.delete(normal, np.arange(5, normal.size, 7)), wide)))
    x = sign * simulated(90.0, [(r, WIDE if r in wide else NORMAL) for r in truth])
    assert missed_and_false(times(detected(x)), truth, tolerance_s=0.1) == (0, 0)


@pytest.mark.parametrize("fs", [250.0, 1000.0])
def test_a_paced_beat_with_its_spike_is_one_r_peak(fs: float) -> None:
    truth = regular(60.0, rr_s=0.9)
    spike: Wave = (-0.06, 1.2 / fs, 2.0)
    x = simulated(60.0, [(r, (spike, *WIDE)) for r in truth], fs=fs)
    assert missed_and_false(times(detected(x, fs), fs), truth, tolerance_s=0.15) == (0, 0)


@pytest.mark.parametrize("gain", [0.1, 10.0])
def test_a_sudden_change_of_gain_costs_two_beats_at_most(gain: float) -> None:
    truth = regular(90.0)
    x = simulated(90.0, [(r, NORMAL) for r in truth], noise_mv=0.005)
    x[round(40 * FS) :] *= gain
    found = times(detected(x))
    missed, false = missed_and_false(found, truth)
    assert missed <= 2
    assert false <= 1
    assert missed_and_false(found[found > 45.0], truth[truth > 45.0]) == (0, 0)


def test_beats_of_fifty_microvolts_are_found() -> None:
    truth = regular(60.0)
    x = 0.05 * simulated(60.0, [(r, NORMAL) for r in truth], noise_mv=0.02)
    assert missed_and_false(times(detected(x)), truth) == (0, 0)


def test_baseline_wander_of_three_millivolts_changes_nothing() -> None:
    truth = regular(60.0)
    x = simulated(60.0, [(r, NORMAL) for r in truth])
    x += 3.0 * np.sin(2 * np.pi * 0.3 * np.arange(x.size) / FS)
    assert missed_and_false(times(detected(x)), truth) == (0, 0)


def test_tall_p_waves_long_before_the_qrs_are_no_beats() -> None:
    waves = ((-0.22, 0.025, 0.35), *NORMAL[1:])
    truth = regular(60.0)
    found = times(detected(simulated(60.0, [(r, waves) for r in truth])))
    assert missed_and_false(found[found > LEARNT_S], truth[truth > LEARNT_S]) == (0, 0)


def test_a_small_beat_among_large_ones_is_found_by_search_back_at_the_latest() -> None:
    truth = regular(90.0)
    small = tuple((after, width, 0.22 * height) for after, width, height in NORMAL)
    x = simulated(90.0, [(r, small if k % 9 == 5 else NORMAL) for k, r in enumerate(truth)], noise_mv=0.005)
    peaks = detected(x)
    assert missed_and_false(times(peaks), truth) == (0, 0)
    for peak in peaks[4:]:
        delay_s = (peak.known_at - peak.sample) / FS
        assert delay_s < 0.45 or peak.search_back


def test_a_flat_lead_gives_no_more_beats() -> None:
    truth = regular(40.0)
    x = simulated(40.0, [(r, NORMAL) for r in truth], noise_mv=0.002)
    last = truth[truth < 30.0][-1]
    x[round((last + 0.5) * FS) :] = 0.0
    found = times(detected(x))
    assert missed_and_false(found, truth[truth < 30.0]) == (0, 0)


def test_a_pause_of_three_seconds_has_no_beat_in_it() -> None:
    truth = regular(60.0)
    truth = np.concatenate((truth[truth < 30.0], truth[truth > 33.0]))
    x = simulated(60.0, [(r, NORMAL) for r in truth])
    assert missed_and_false(times(detected(x)), truth) == (0, 0)


def test_p_waves_without_qrs_are_no_beats() -> None:
    truth = regular(60.0)
    x = simulated(60.0, [(r, NORMAL if k % 5 else NORMAL[:1]) for k, r in enumerate(truth)])
    beats = truth[np.arange(truth.size) % 5 != 0]
    found = times(detected(x))
    assert missed_and_false(found[found > LEARNT_S], beats[beats > LEARNT_S]) == (0, 0)


@pytest.mark.parametrize("rr_s", [0.3, 0.45, 1.6])
def test_fast_and_slow_hearts(rr_s: float) -> None:
    waves = NORMAL if rr_s > 0.4 else NORMAL[1:3]
    truth = regular(60.0, rr_s)
    x = simulated(60.0, [(r, waves) for r in truth])
    found = times(detected(x))
    learnt = 4.0  # two seconds of learning may contain one beat or none
    assert missed_and_false(found[found > learnt], truth[truth > learnt]) == (0, 0)


def test_bursts_of_muscle_noise_cost_few_beats_and_add_few() -> None:
    truth = regular(120.0)
    x = simulated(120.0, [(r, NORMAL) for r in truth])
    random = np.random.default_rng(4)
    for start in range(20, 110, 20):
        x[start * 250 : (start + 5) * 250] += random.normal(0.0, 0.15, 5 * 250)
    missed, false = missed_and_false(times(detected(x)), truth)
    assert missed <= 1
    assert false <= 1


@pytest.mark.parametrize("fs", [128.0, 500.0])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_r_of_a_wide_biphasic_beat_is_its_first_deflection(fs: float, sign: float) -> None:
    biphasic = ((0.0, 0.04, 3.3), (0.17, 0.05, -3.6))
    truth = regular(60.0, rr_s=1.0)
    is_wide = np.arange(truth.size) % 6 == 4
    x = sign * simulated(
        60.0, [(r, biphasic if wide else NORMAL) for r, wide in zip(truth, is_wide, strict=True)], fs=fs
    )
    assert missed_and_false(times(detected(x, fs), fs), truth, tolerance_s=0.06) == (0, 0)


def test_a_level_learnt_from_noise_is_replaced_by_loud_peaks_of_one_waveform() -> None:
    truth = regular(30.0)
    truth = truth[truth > 6.0]
    x = simulated(30.0, [(r, NORMAL) for r in truth], noise_mv=0.01)
    found = times(detected(x))
    assert missed_and_false(found[found > 9.0], truth[truth > 9.0]) == (0, 0)


def test_no_state_of_the_signal_is_kept_across_a_gap() -> None:
    truth = regular(30.0)
    x = simulated(30.0, [(r, NORMAL) for r in truth])
    used = FrontEnd(FS, grid=None)
    used.push(5.0 * np.random.default_rng(1).normal(size=(1, 5000)))
    used.gap(5000, "link")
    after = beats_in([*used.push(x[None]), *used.flush()])
    assert facts(after, since=10_000) == facts(detected(x))


@pytest.mark.parametrize("fs", [128.0, 360.0])
def test_any_chunking_gives_the_same_r_peaks_with_noise_pauses_and_small_beats(fs: float) -> None:
    """In this signal, the detector waits, searches back and learns again; all values must be the same."""
    random = np.random.default_rng(1)
    truth = regular(60.0)
    truth = truth[(truth < 25.0) | (truth > 30.5)]
    waves = [tuple((a, w, random.uniform(0.1, 1.2) * h) for a, w, h in NORMAL) for _ in truth]
    x = simulated(60.0, zip(truth, waves, strict=True), fs=fs, noise_mv=0.06)
    x[round(45 * fs) :] *= 0.08
    whole = detected(x, fs)
    assert any(peak.search_back for peak in whole)
    assert any((peak.known_at - peak.sample) / fs > 0.3 and not peak.search_back for peak in whole)
    for chunk in (1, 7, round(0.02 * fs), round(0.9 * fs)):
        assert facts(detected(x, fs, range(chunk, x.size, chunk))) == facts(whole)


@pytest.mark.parametrize("fs", [128.0, 250.0, 360.0])
def test_noise_in_a_pause_of_ten_seconds_is_not_learnt_as_beats(fs: float) -> None:
    truth = regular(60.0)
    truth = truth[(truth < 25.0) | (truth > 35.0)]
    x = simulated(60.0, [(r, NORMAL) for r in truth], fs=fs, noise_mv=0.02)
    found = np.array([peak.sample for peak in detected(x, fs)]) / fs
    assert np.sum((found > 25.0) & (found < 34.9)) <= 1
    assert np.abs(found[:, None] - truth[None, :]).min(axis=0).max() < 0.05


def test_r_peaks_do_not_depend_on_later_samples() -> None:
    truth = regular(30.0)
    x = simulated(30.0, [(r, NORMAL) for r in truth], noise_mv=0.05)
    whole = detected(x)
    for stop in range(1500, x.size, 487):
        early = beats_in(FrontEnd(FS, grid=None).push(x[None, :stop]))
        assert facts(early) == facts(peak for peak in whole if peak.ready_at <= stop)
