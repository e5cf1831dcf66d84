"""The intake in C passes on the samples, holes, spikes and times of the Python class."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from numpy.typing import NDArray
from signal_in_c import FLOAT, GAP_REASONS, HOLE, PIECE, SPIKE, SignalInC

from ecgmoe_edge.calibration_data import load_calibration
from ecgmoe_edge.streaming.events import GapReason
from ecgmoe_edge.streaming.signal.intake import Intake

LOSSES: tuple[GapReason, ...] = ("link", "device overflow", "host overflow")


@dataclass
class Passed:
    """All that an intake passes on, sample by sample."""

    samples: list[tuple[float, ...]] = field(
        default_factory=list
    )  # number, leads usable, out of range, lost by, known at
    values: list[list[float]] = field(default_factory=list)
    holes: list[tuple[int, ...]] = field(default_factory=list)
    spikes: list[tuple[float, ...]] = field(default_factory=list)


class PythonIntake:
    """The Python class, fed sample by sample."""

    def __init__(self, fs: float, leads: int) -> None:
        self.intake, self.passed = Intake(fs, leads), Passed()
        self.leads, self.at = leads, 0

    def process(self, samples: NDArray[np.float64] | None, off: NDArray[np.bool_]) -> None:
        first = self.at
        pieces = self.intake.process(samples, off)
        for piece in pieces:
            for column in range(piece.samples.shape[1]):
                lost = -1 if piece.lost_by is None or piece.usable.any() else GAP_REASONS.index(piece.lost_by)
                # Of a sample that is passed on, how many had arrived is asked for all samples up to this one.
                known_at = self.intake.known_at(self.at + 1)
                masks = _mask(piece.usable), _mask(piece.out_of_range)
                self.passed.samples.append((self.at, *masks, lost, known_at))
                self.passed.values.append(piece.samples[:, column].tolist())
                self.at += 1
        if self.at > first:
            for hole in self.intake.holes(self.at):
                leads = sum(1 << k for k in hole.leads)
                self.passed.holes.append((hole.start, hole.stop, GAP_REASONS.index(hole.reason), leads))
            for spike in self.intake.spikes(self.at):
                self.passed.spikes.append((spike.sample, spike.width, spike.lead, spike.amplitude_mv))


def _mask(flags: NDArray[np.bool_]) -> int:
    return sum(1 << k for k, flag in enumerate(flags.tolist()) if flag)


def in_c(engine: SignalInC, leads: int) -> Passed:
    passed = Passed()
    for kind, *row in engine.rows():
        if kind == PIECE:
            lost = -1 if row[1] else row[3]  # of no meaning if a lead is usable
            passed.samples.append((row[0], row[1], row[2], lost, row[4]))
            passed.values.append(row[5 : 5 + leads])
        elif kind == HOLE:
            passed.holes.append((int(row[0]), int(row[1]), int(row[2]), int(row[3])))
        elif kind == SPIKE:
            passed.spikes.append(tuple(row[:4]))
    return passed


def faulty(fs: float, leads: int, seed: int, n: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return a signal with pacing spikes, NaN and values out of range, and random numbers, one for each sample."""
    rng = np.random.default_rng(seed)
    record = load_calibration().signal[0]
    x = np.stack([(1.0 - 0.3 * k) * record[1000 * seed + 37 * k :][:n] for k in range(leads)])
    for k in range(leads):
        for at in rng.integers(0, n - 8, n // 60).tolist():
            width = int(rng.integers(1, max(3, int(0.005 * fs))))
            x[k, at : at + width] += rng.choice((-1, 1)) * rng.uniform(0.3, 4)
        for at in rng.integers(0, n, n // 80).tolist():
            rows = slice(None) if rng.random() < 0.3 else k
            x[rows, at : at + int(rng.choice((1, 2, 5, int(0.041 * fs), int(0.1 * fs))))] = rng.choice(
                (np.nan, 2e7, np.inf)
            )
    x[:, rng.integers(0, n, n // 40)] = 0.1  # steps
    return x, rng.random(n)


def run(fs: float, leads: int, seed: int, n: int = 1300) -> tuple[Passed, Passed]:
    x, chance = faulty(fs, leads, seed, n)
    reference, engine = PythonIntake(fs, leads), SignalInC(fs, leads)
    off = np.zeros(leads, bool)
    mask = 0
    longest = int(0.04 * fs)
    for k in range(n):
        if chance[k] < 0.004:  # leads off and on again
            reference.process(None, off)
            engine.call("intake_finish")
            mask = int(1e6 * chance[k]) % (1 << leads)
            off = np.array([mask >> lead & 1 for lead in range(leads)], bool)
        if chance[k] > 0.99:  # losses that may be bridged, also one after the other
            for repeat in range(1 + int(chance[k] > 0.997)):
                lost = 1 + int(1e6 * chance[k] + repeat) % longest
                reason = LOSSES[int(1e6 * chance[k]) % 3]
                assert reference.intake.may_bridge(lost, reason)
                position = reference.at + reference.intake.waiting
                reference.process(reference.intake.lose(position, lost, reason), off)
                engine.call("intake_lose", lost, GAP_REASONS.index(reason), mask)
        reference.process(x[:, k : k + 1], off)
        engine.call("intake_push", x[:, k].copy(), mask)
        assert engine.call("intake_waiting") == reference.intake.waiting
    reference.process(None, off)
    engine.call("intake_finish")
    return reference.passed, in_c(engine, leads)


@pytest.mark.parametrize(("fs", "leads"), [(100.0, 1), (250.0, 1), (250.0, 3), (360.0, 2), (1000.0, 2)])
@pytest.mark.parametrize("seed", range(2))
def test_the_intake_passes_on_the_same(fs: float, leads: int, seed: int) -> None:
    expected, made = run(fs, leads, seed)
    assert made.samples == expected.samples
    assert np.array_equal(made.values, expected.values, equal_nan=True)
    assert sorted(made.holes) == sorted(expected.holes)
    assert made.spikes == expected.spikes
    assert len(made.holes) > 2
    if fs >= 250:
        assert len(made.spikes) > 2


def test_the_state_of_the_intake_is_small() -> None:
    assert SignalInC(250.0, flags=(*FLOAT, "-DECGMOE_MAX_FS=250", "-DECGMOE_MAX_LEADS=1")).sizes()[0] < 600
