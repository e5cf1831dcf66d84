"""Mains hum in one lead: its strength, second by second, and when a notch is switched on or off.

The band-passed signal is measured in blocks of one second, counted from the start of the signal. Each block has four
parts, and each part gives one phasor for each mains frequency (a quadrature sum). Hum has the same amplitude in all
four parts, and a phase that advances evenly; from this advance follows its exact frequency. A QRS complex lies in one
part or two, and muscle noise has another phase in each. Two criteria decide: how steady the phasors are, and the hum's
share of the power. A notch is switched

- on after two blocks with hum in a row (three at 16.7 Hz, which lies within the QRS band). In the first block of a
  signal, one is enough, and the notch then starts with the first sample, since the detector is still learning.
- off after ten blocks in a row in which the hum's share is below a quarter of the share that switches it on.

Decisions are made only at the ends of blocks, so they are the same for any chunking of the signal.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.streaming.events import Mains, NotchState
from ecgmoe_edge.streaming.signal.filters import HIGHEST_NOTCH, Notch
from ecgmoe_edge.streaming.signal.sums import ordered_sum, plain_sum

MainsChoice: TypeAlias = int | Literal["auto"] | None
AUTO: Final = "auto"

PARTS = 4
PART_S = 0.25
# Highest mains frequency that is measured, as a fraction of the sampling rate. Closer to half of it, the phase of a
# tone is not determined.
HIGHEST_MEASURED = 0.485


@dataclass(frozen=True)
class HumLimits:
    """A mains frequency, and the criteria for hum at it."""

    frequency_hz: float
    off_hz: float  # largest deviation, the error of the device's clock included
    share: float  # smallest share of the power in the monitoring band
    steadiness: float  # smallest ratio of the power of the mean phasor to the mean power of the phasors
    blocks: int  # number of blocks in a row that switch the notch on, except at the start of a signal


# In DS1, hum has at most 0.07 of a block's power, except for 0.18 in one block; at 16.7 Hz no block has more than 0.2.
# A 50 Hz tone with a fifth of the amplitude of the QRS complex has 0.15.
HUMS = (
    HumLimits(50.0, 0.8, 0.15, 0.8, 2),
    HumLimits(60.0, 0.8, 0.15, 0.8, 2),
    HumLimits(50.0 / 3.0, 0.4, 0.5, 0.9, 3),  # railways; the model and the detector use this band
)
LEAST_MV = 0.01  # smallest amplitude in the monitoring band; weaker hum does not disturb
OFF_SHARE = 0.25  # share below which the notch is switched off, as a fraction of the share that switches it on
OFF_BLOCKS = 10


@dataclass(frozen=True)
class Tone:
    """Hum in one block: h[n] = Re(phasor * exp(2j pi frequency_hz n / fs)), where n = 0 is the block's first sample."""

    frequency_hz: float
    phasor: complex  # mV in the monitoring band
    share: float  # share of the power in the monitoring band, 0 to 1


@dataclass(frozen=True)
class NotchChange:
    """A decision at the end of a block."""

    at: int  # number of the sample after the block, which is also the `known_at` of the decision
    since: int  # first sample of the block, from which on the hum is known
    hum: int  # index of the mains frequency
    nominal_hz: float
    tone: Tone
    notch: bool  # whether the notch is switched on, or off


class HumDetector:
    """Measures the hum of one lead in the monitoring band, before any notch.

    Args:
        fs: sampling rate, Hz.
    """

    def __init__(self, fs: float) -> None:
        part = round(PART_S * fs)
        self.block = PARTS * part
        self._fs, self.part = fs, part
        self.hums = [k for k, hum in enumerate(HUMS) if hum.frequency_hz < HIGHEST_MEASURED * fs]
        angles = 2.0 * np.pi / fs * np.outer([HUMS[k].frequency_hz for k in self.hums], np.arange(self.block))
        waves = np.concatenate((np.cos(angles), -np.sin(angles))) * (2.0 / part)
        # (samples of a part, 1, rows, parts), two rows for each frequency; amplitude 1 gives a phasor of size 1.
        self._waves = np.moveaxis(waves.reshape(1, -1, PARTS, part), 3, 0).copy()
        self._least_shares = OFF_SHARE * np.array([HUMS[k].share for k in self.hums])
        self._rest = np.empty(self.block)
        self.notches: set[int] = set()  # indices of the frequencies with a notch
        self.tones: dict[int, Tone] = {}  # hum in the last block, by the index of its frequency
        self.restart(0)

    def restart(self, at: int) -> None:
        """Start a new signal at sample `at`; the notches stay until it is measured."""
        self._held = 0  # number of samples of the block that is not full
        self._start = at  # first sample of that block
        self._is_first = True
        self._above = dict.fromkeys(self.hums, 0)  # number of blocks in a row with enough hum to switch a notch on
        self._below = dict.fromkeys(self.hums, 0)  # number of blocks in a row with so little that it is switched off

    @property
    def due(self) -> int:
        """Samples that must have arrived before the next decision is possible."""
        is_near = self._is_first or any(
            self._below[hum] + 1 >= OFF_BLOCKS if hum in self.notches else self._above[hum] + 1 >= HUMS[hum].blocks
            for hum in self.hums
        )
        return self._start + (self.block if is_near else 2 * self.block)

    def process(self, y: NDArray[np.float64]) -> list[NotchChange]:
        """Return the decisions that become certain by samples `y` (n,), mV, in order."""
        held = self._held + y.size
        if held < self.block:
            self._rest[self._held : held] = y
            self._held = held
            return []
        z = np.concatenate((self._rest[: self._held], y)) if self._held else y
        count = z.size // self.block
        self._held = z.size - count * self.block
        self._rest[: self._held] = z[count * self.block :]
        # The samples of a part are the first axis, over which numpy adds row by row: in their order, and fast.
        parts = np.moveaxis(z[: count * self.block].reshape(count, 1, PARTS, self.part), 3, 0).copy()
        sums = np.add.reduce(parts * self._waves, axis=0)  # (count, rows, parts)
        phasors = sums[:, : len(self.hums)] + 1j * sums[:, len(self.hums) :]
        powers = ordered_sum(np.add.reduce(parts[:, :, 0] ** 2, axis=0), 1) / self.block
        # The power of the mean phasor is at most the mean power of the phasors: if this is small, there is no hum.
        mean_powers = 0.5 * ordered_sum(phasors.real**2 + phasors.imag**2, 2) / PARTS
        may_be_hum = mean_powers >= self._least_shares * powers[:, None]
        self.tones.clear()
        changes: list[NotchChange] = []
        if not may_be_hum.any() and not self.notches and not any(self._above.values()):
            self._start += count * self.block
            self._is_first = False
            return changes
        may_be = may_be_hum.tolist()
        for k in range(count):
            self.tones.clear()
            for row, hum in enumerate(self.hums):
                if may_be[k][row]:
                    tone, steadiness = self._tone(phasors[k, row].tolist(), float(powers[k]), hum)
                    self._decide(hum, tone, steadiness, changes)
                elif self._above[hum] or hum in self.notches:
                    self._decide(hum, Tone(HUMS[hum].frequency_hz, 0j, 0.0), 0.0, changes)
            self._start += self.block
            self._is_first = False
        return changes

    def _tone(self, phasors: Sequence[complex], power: float, hum: int) -> tuple[Tone, float]:
        """Return the tone that the phasors of the parts have in common, and their steadiness, 0 to 1.

        Args:
            phasors: one phasor for each part.
            power: power of the block, mV^2.
            hum: index of the mains frequency.
        """
        mean_power = plain_sum(abs(p) ** 2 for p in phasors) / PARTS
        turn = cmath.phase(_sum_of([b * a.conjugate() for a, b in pairwise(phasors)]))  # phase advance in each part
        off_hz = turn / (2.0 * math.pi * self.part / self._fs)
        if not mean_power or abs(off_hz) > HUMS[hum].off_hz:
            return Tone(HUMS[hum].frequency_hz, 0j, 0.0), 0.0
        # A part's phasor has the phase of the part's middle; it is turned back to that of the block's first sample.
        aligned = [p * cmath.exp(-1j * turn * (j + 0.5)) for j, p in enumerate(phasors)]
        common = _sum_of(aligned) / PARTS
        share = min(1.0, 0.5 * abs(common) ** 2 / power)
        return Tone(HUMS[hum].frequency_hz + off_hz, common, share), abs(common) ** 2 / mean_power

    def _decide(self, hum: int, tone: Tone, steadiness: float, changes: list[NotchChange]) -> None:
        """Decide on one notch at the end of a block, and append a change to `changes`."""
        limits = HUMS[hum]
        is_hum = steadiness >= limits.steadiness and abs(tone.phasor) >= LEAST_MV
        if is_hum:
            self.tones[hum] = tone
        self._above[hum] = self._above[hum] + 1 if is_hum and tone.share >= limits.share else 0
        is_little = not is_hum or tone.share < OFF_SHARE * limits.share
        self._below[hum] = self._below[hum] + 1 if is_little else 0
        stop = self._start + self.block
        if hum in self.notches:
            if self._below[hum] >= OFF_BLOCKS:
                self.notches.remove(hum)
                self._above[hum] = 0
                changes.append(NotchChange(stop, self._start, hum, limits.frequency_hz, tone, notch=False))
        elif self._above[hum] >= (1 if self._is_first else limits.blocks):
            self.notches.add(hum)
            self._below[hum] = 0
            changes.append(NotchChange(stop, self._start, hum, limits.frequency_hz, tone, notch=True))


class HumFilter:
    """The notches of one lead, each switched on while hum is measured at its frequency.

    Args:
        fs: sampling rate, Hz.
    """

    def __init__(self, fs: float) -> None:
        self._fs = fs
        self._detector = HumDetector(fs)
        self._notches: dict[int, Notch] = {}  # by the index of the frequency; only those possible at this rate
        self._reported: set[int] = set()  # frequencies reported as not possible at this rate
        self._events: list[tuple[int, Mains]] = []
        self.block = self._detector.block

    def restart(self, at: int) -> None:
        """Start a new signal at sample `at`."""
        self._detector.restart(at)

    @property
    def due(self) -> int:
        """Samples that must have arrived before the next decision is possible."""
        return self._detector.due

    def begin(self, y: NDArray[np.float64]) -> None:
        """Measure the first block `y` (samples,) of a signal; its notches start with its first sample."""
        for change in self._detector.process(y):
            self.change(change)
        for hum, notch in self._notches.items():
            tone = self._detector.tones.get(hum)
            notch.start(*((tone.frequency_hz, tone.phasor) if tone else (HUMS[hum].frequency_hz, 0j)))

    def measure(self, y: NDArray[np.float64]) -> list[NotchChange]:
        """Return the decisions that become certain by samples `y` (n,).

        The caller filters the samples before `NotchChange.at`, and then calls `change`.
        """
        return self._detector.process(y)

    def change(self, change: NotchChange) -> Notch | None:
        """Switch a notch on or off.

        Returns:
            A notch that was switched on, in its state at sample `change.since`; else None.
        """
        notch, tone = None, change.tone
        state: NotchState = "out"
        if not change.notch:
            if self._notches.pop(change.hum, None) is None:
                return None
        elif change.nominal_hz < HIGHEST_NOTCH * self._fs:
            notch, state = Notch(self._fs, tone.frequency_hz), "in"
            notch.start(tone.frequency_hz, tone.phasor)
            self._notches[change.hum] = notch
        elif change.hum not in self._reported:
            self._reported.add(change.hum)
            state = "not possible at this rate"
        else:
            return None
        sample = change.since if change.notch else change.at
        event = Mains(sample, sample / self._fs, round(change.nominal_hz, 1), state, tone.share, abs(tone.phasor))
        self._events.append((change.at, event))
        return notch

    def process(self, y: NDArray[np.float64]) -> NDArray[np.float64]:
        """Filter samples `y` (n,) of the monitoring band by all notches that are switched on."""
        for notch in self._notches.values():
            y = notch.process(y)
        return y

    def events(self) -> list[tuple[int, Mains]]:
        """Return the events since the last call, each with its `known_at`."""
        events = self._events
        if events:
            self._events = []
        return events


def _sum_of(values: Iterable[complex]) -> complex:
    total = 0j
    for value in values:
        total += value
    return total
