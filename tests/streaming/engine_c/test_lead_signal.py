"""One lead in C: flatline, mains hum, candidates, windows and quality are those of the Python class."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from signal_in_c import CANDIDATE, CLIPPING, FLATLINE, FLOAT, MAINS, NOTCH_STATES, SignalInC

from ecgmoe_edge.calibration_data import load_calibration
from ecgmoe_edge.streaming.events import Flatline, Mains
from ecgmoe_edge.streaming.qrs.candidates import Candidate
from ecgmoe_edge.streaming.signal.flatline import FlatlineDetector
from ecgmoe_edge.streaming.signal.lead import LeadSignal
from ecgmoe_edge.streaming.signal.mains import AUTO, MainsChoice
from ecgmoe_edge.streaming.signal.quality import SignalQuality
from ecgmoe_edge.streaming.signal.resampling import resample
from ecgmoe_edge.streaming.signal.windows import BEAT_GRID, RPEAK_GRID

_KINDS = ("flat", "rail")
_BLOCK = 40  # samples in each call of the Python class


def recording(fs: float, seconds: float, first_s: float = 0.0) -> NDArray[np.float64]:
    x = load_calibration().signal[0, int(360 * first_s) :][: int(360 * seconds)]
    return resample(x, 360.0, fs)


# -- flatline and clipping


def clipped_and_flat(seed: int, fs: float) -> NDArray[np.float64]:
    """Return a coarse signal with constant stretches, at its limits or not, and clipped waves."""
    rng = np.random.default_rng(seed)
    x = recording(fs, 40.0, 50.0 * seed)
    low, high = np.quantile(x, rng.uniform(0.0, 0.04)), np.quantile(x, rng.uniform(0.94, 1.0))
    x = np.clip(np.round(x / 0.01) * 0.01, np.round(low, 2), np.round(high, 2))
    for at in rng.integers(0, x.size, 12).tolist():
        length = int(rng.choice((0.1, 0.6, 0.99, 1.0, 1.01, 2.5)) * fs)
        value = rng.choice((float(x.min()), float(x.max()), float(x[at]), 12.0, 0.0))
        x[at : at + length] = value
    return x


@pytest.mark.parametrize("fs", [100.0, 250.0, 1000.0])
@pytest.mark.parametrize("seed", range(3))
def test_flatline_and_clipping_are_reported_alike(fs: float, seed: int) -> None:
    x = clipped_and_flat(seed, fs)
    reference, engine = FlatlineDetector(fs), SignalInC(fs)
    breaks = {int(0.3 * x.size), int(0.31 * x.size), int(0.8 * x.size)}
    for at in range(0, x.size, _BLOCK):
        part = x[at : at + _BLOCK].copy()
        stop = at + part.size
        expected = [
            (
                FLATLINE if isinstance(report.event, Flatline) else CLIPPING,
                report.known_at,
                report.event.sample,
                report.event.samples,
                -1 if report.signal_end is None else report.signal_end,
                -1 if report.signal_begin is None else report.signal_begin,
                _KINDS.index(report.event.kind) if isinstance(report.event, Flatline) else 0,
            )
            for report in reference.process(part, at)
        ]
        engine.call("lead_flatline", part, part.size, float(at))
        assert [tuple(row[:7]) for row in engine.rows()] == expected
        for r in (stop - 1, stop - int(0.3 * fs), stop - int(4.5 * fs)):
            clipped = reference.clipped(r - 10, r + 11, stop) > 0
            assert bool(engine.call("lead_clipped", float(r - 10), float(r + 11))) is clipped
        if any(at <= each < stop for each in breaks):
            left = [(event.sample, event.samples) for event in reference.break_off(stop)]
            reference.restart(stop + 7)
            engine.call("lead_end_flatline", float(stop))
            assert [tuple(row[2:4]) for row in engine.rows()] == left
            reference.restart(stop + 7)
            engine.call("lead_restart", float(stop + 7))


# -- quality


def test_quality_and_peaks_that_are_no_qrs_are_judged_alike() -> None:
    rng = np.random.default_rng(2)
    reference, engine = SignalQuality(), SignalInC(250.0)
    t = np.arange(BEAT_GRID.size) - 45
    outcomes = []
    for beat in range(2500):
        if rng.random() < 0.01:
            reference.restart()
            engine.call("quality_restart")
        small = rng.random() < 0.4 or beat > 2000
        height = rng.uniform(0.05, 0.3) if small else rng.uniform(0.6, 2.0)
        width = 9.0 if small and rng.random() < 0.7 else 1.6
        window = height * np.exp(-((t / width) ** 2)) + 0.15 * np.exp(-(((t + 22) / 8.0) ** 2))
        window += rng.choice((0.001, 0.01, 0.1, 0.0)) * rng.normal(size=t.size) + 0.002 * t * rng.normal()
        single = window.astype(np.float32)
        seen, clipped = int(rng.choice((60, 45, 30, 18, 17, 0))), bool(rng.random() < 0.1)
        expected = reference.of_beat(single.copy(), 45, seen=seen, clipped=clipped)
        assert engine.call("quality_of_beat", single, 45, seen, int(clipped)) == pytest.approx(expected, rel=1e-11)
        assert bool(engine.call("quality_no_qrs")) is reference.no_qrs
        outcomes.append(reference.no_qrs)
    assert 100 < sum(outcomes) < 1500


# -- the whole lead


class BothLeads:
    """A lead in Python and the same in C, with the same samples."""

    def __init__(
        self, fs: float, *, notch: MainsChoice = AUTO, invert: bool = False, grid: NDArray[np.int64] = BEAT_GRID
    ) -> None:
        self.fs, self.grid, self.at = fs, grid, 0
        self.reference = LeadSignal(0, fs, grid, mains=notch, invert=invert)
        self.engine = SignalInC(fs, grid=grid, notch=notch, invert=invert)
        self.candidates = self.mains = self.windows = 0
        self._waiting: list[int] = []

    def begin(self, at: int) -> None:
        self.at = at
        for name in ("lead_restart", "lead_begin"):
            self.engine.call(name, float(at))
        self.reference.restart(at)
        self.reference.begin(at)
        self._waiting.clear()

    def process(self, x: NDArray[np.float64]) -> None:
        for first in range(0, x.size, _BLOCK):
            part = x[first : first + _BLOCK].copy()
            self.reference.detect_flatline(part, self.at)
            self.engine.call("lead_flatline", part, part.size, float(self.at))
            self.engine.rows()
            found = self.reference.process(part)
            events = self.reference.mains_events()
            self.engine.call("lead_push", part, part.size)
            self.at += part.size
            self._compare([each.candidate for each in found], events)
            self._compare_beats()

    def break_off(self) -> None:
        found = self.reference.break_off(self.at)
        self.engine.call("lead_break_off", float(self.at))
        self._compare([each.candidate for each in found], [])

    def _compare(self, found: list[Candidate], events: list[tuple[int, Mains]]) -> None:
        made = self.engine.rows()
        expected = [(each.at, each.known_at, each.sample) for each in found]
        assert [tuple(row[1:4]) for row in made if row[0] == CANDIDATE] == expected
        energies = [row[4] for row in made if row[0] == CANDIDATE]
        assert energies == pytest.approx([each.energy for each in found], rel=1e-9)
        self.candidates += len(expected)
        self._waiting += [each.sample for each in found]
        mains = [row for row in made if row[0] == MAINS]
        assert [(*row[1:4], NOTCH_STATES[int(row[4])]) for row in mains] == [
            (known_at, event.sample, event.frequency_hz, event.notch) for known_at, event in events
        ]
        for row, (_, event) in zip(mains, events, strict=True):
            if event.share is None:
                assert np.isnan(row[5:7]).all()
            else:
                assert row[5:7] == pytest.approx([event.share, event.amplitude_mv], rel=1e-9, abs=1e-15)
        self.mains += len(mains)

    def _compare_beats(self) -> None:
        """Compare window and quality of the beats that are complete by now."""
        while self._waiting and self.at > self._waiting[0] + self.reference.window.after:
            r = self._waiting.pop(0)
            window, made = self.reference.window_of(r), np.zeros(self.grid.size, np.float32)
            assert bool(self.engine.call("lead_shows", float(r))) is self.reference.shows(r)
            self.engine.call("lead_window", float(r), made)
            np.testing.assert_allclose(made, window, rtol=3e-7, atol=1e-9)
            quality = self.reference.quality_of(window, r, self.at)
            assert self.engine.call("lead_quality", float(r), window) == pytest.approx(quality, rel=1e-10)
            assert bool(self.engine.call("lead_no_qrs")) is self.reference.shows_no_qrs
            self.windows += 1


def hum(fs: float, n: int, frequency_hz: float, size_mv: float) -> NDArray[np.float64]:
    wave: NDArray[np.float64] = size_mv * np.cos(2 * np.pi * frequency_hz * np.arange(n) / fs + 0.7)
    return wave


@pytest.mark.parametrize(
    ("fs", "notch", "invert", "grid"),
    [
        (100.0, AUTO, False, BEAT_GRID),
        (250.0, AUTO, True, BEAT_GRID),
        (250.0, 60, False, BEAT_GRID),
        (100.0, 50, False, RPEAK_GRID),
        (360.0, None, False, RPEAK_GRID),
        (1000.0, AUTO, False, BEAT_GRID),
    ],
)
def test_candidates_windows_and_quality_are_the_same(
    fs: float, notch: MainsChoice, invert: bool, grid: NDArray[np.int64]
) -> None:
    x = recording(fs, 40.0, 100.0)
    both = BothLeads(fs, notch=notch, invert=invert, grid=grid)
    both.begin(17)
    both.process(x[: x.size // 2])
    both.break_off()
    both.begin(both.at + 90)
    both.process(x[x.size // 2 :])
    both.break_off()
    assert both.candidates > 50
    assert both.windows > 40


@pytest.mark.parametrize("fs", [100.0, 250.0, 500.0])
def test_notches_are_switched_on_and_off_alike(fs: float) -> None:
    x = recording(fs, 84.0)
    part = x.size // 6
    x[:part] += hum(fs, part, 50.02, 0.5)
    x[2 * part : 3 * part] += hum(fs, part, 16.6, 1.5)
    last = x.size - 5 * part
    x[5 * part :] += hum(fs, last, 50.0, 0.7) + hum(fs, last, 59.9, 1.0)
    both = BothLeads(fs)
    both.begin(0)
    both.process(x)
    both.break_off()
    both.begin(both.at)  # notches that are on stay on until the new signal is measured
    both.process(x[-part:])
    both.process(recording(fs, 15.0))
    both.break_off()
    assert both.mains >= (5 if fs > 200 else 1)


def test_a_signal_that_ends_in_its_first_second_is_searched_as_it_is() -> None:
    fs = 250.0
    both = BothLeads(fs)
    both.begin(0)
    both.process(recording(fs, 0.9, 3.0) + hum(fs, 225, 50.0, 0.2))
    both.break_off()
    assert both.candidates > 0


def test_steps_and_tails_of_spikes_are_no_beats() -> None:
    fs = 500.0
    rng = np.random.default_rng(8)
    x = 0.3 * recording(fs, 60.0, 30.0)
    both = BothLeads(fs)
    both.begin(0)
    n = x.size
    for at in range(int(2 * fs), n - int(fs), int(1.7 * fs)):
        kind = at % 4
        t = np.arange(int(0.2 * fs)) / fs
        if kind == 0:
            x[at:] += rng.uniform(-1, 1)
            x[at : at + int(0.3 * fs)] = x[at]
        elif kind == 1:
            x[at : at + int(0.5 * fs)] = 1.5 + 0.001 * np.arange(int(0.5 * fs))
        else:
            x[at : at + t.size] += 1.5 * np.exp(-t / 0.02) + 0.4 * np.exp(-0.5 * ((t - 0.08) / 0.025) ** 2) * (kind - 2)
    done = 0
    for at in range(int(2 * fs), n - int(fs), int(1.7 * fs)):
        if at % 4 >= 2:
            both.process(x[done : at - 2])
            done = at - 2
            both.reference.spike(at - 2, 2)
            both.engine.call("lead_spike", float(at - 2), 2)
    both.process(x[done:])
    both.break_off()
    assert both.candidates > 20


def test_bridged_and_clipped_samples_lower_the_quality_alike() -> None:
    fs = 250.0
    x = np.clip(recording(fs, 60.0), -0.4, 1.1)
    both = BothLeads(fs)
    both.begin(0)
    rng = np.random.default_rng(4)
    done = 0
    for at in np.sort(rng.integers(300, x.size - 300, 120)).tolist():
        if at < done + 20:
            continue
        both.process(x[done:at])
        width = int(rng.integers(1, 11))
        both.reference.bridge(at, at + width)
        both.engine.call("lead_bridge", float(at), float(at + width))
        done = at
    both.process(x[done:])
    assert both.windows > 40


def test_the_state_of_a_lead_is_small() -> None:
    flags = (*FLOAT, "-DECGMOE_MAX_FS=250", "-DECGMOE_MAX_LEADS=1")
    assert SignalInC(250.0, flags=flags).sizes()[1] < 8_000
