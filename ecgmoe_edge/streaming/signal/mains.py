"""Mains hum of one lead: how strong it is, second by second, and when a notch goes in or out.

The band-passed signal is measured in blocks of one second, counted from the signal's start, each in four parts. A part
gives one phasor for each mains frequency (a quadrature sum). Hum has the same amplitude in all four, and a phase that
advances evenly, from which its frequency follows; a QRS complex falls into one part or two, and muscle noise has a new
phase in each. Two things decide, how steady the phasors are and the hum's share of the power. A notch goes

- in: for two blocks in a row (16.7 Hz, which lies within the QRS band: for three). With the first block of a signal at
  once, and from its first sample on, since the detector still learns.
- out: for ten blocks in a row less than a quarter of the share that is asked for to put it in.

Decisions fall at the ends of blocks alone, so they do not depend on how the signal is cut.
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
from ecgmoe_edge.streaming.signal.ordered_sum import ordered_sum, plain_sum

MainsChoice: TypeAlias = int | Literal["auto"] | None
AUTO: Final = "auto"

_PARTS = 4
_PART_S = 0.25
_HIGHEST_MEASURED = 0.485  # of the rate: nearer to half of it the phase of a tone is unknown


@dataclass(frozen=True)
class _Hum:
    """A mains frequency, and when hum is believed."""

    frequency_hz: float
    off_hz: float  # by so much it may be off, the device's clock included
    share: float  # of the power in the monitoring band
    steadiness: float  # power of the phasors' mean over their mean power
    blocks: int  # in a row, but at the signal's start


_HUMS = (
    _Hum(50.0, 0.8, 0.15, 0.8, 2),
    _Hum(60.0, 0.8, 0.15, 0.8, 2),
    _Hum(50.0 / 3.0, 0.4, 0.5, 0.9, 3),  # railways; a model and the detector live in this band
)
_LEAST_MV = 0.01  # amplitude in the monitoring band: less disturbs nothing
# On DS1 hum has at most 0.07 of a block's power, but for one block of 0.18; none of 16.7 Hz has more than 0.2. A 50 Hz
# tone of a fifth of the QRS has 0.15.
_OUT_SHARE = 0.25  # of the share that puts the notch in
_OUT_BLOCKS = 10


@dataclass(frozen=True)
class Tone:
    """Hum in one block: h[n] = Re(phasor * exp(2j pi frequency_hz n / fs)), n from the block's first sample on."""

    frequency_hz: float
    phasor: complex  # mV in the monitoring band
    share: float  # of the power in the monitoring band, 0 to 1


@dataclass(frozen=True)
class NotchChange:
    """A decision at the end of a block, before sample `at`, about the nominal frequency number `hum`."""

    at: int
    since: int  # first sample of that block: from here on the hum is known
    hum: int
    nominal_hz: float
    tone: Tone
    notch: bool  # it goes in, or out


class HumWatch:
    """Watches one lead in the monitoring band, before any notch; fs in Hz."""

    def __init__(self, fs: float) -> None:
        part = round(_PART_S * fs)
        self.block = _PARTS * part
        self._fs, self._part = fs, part
        self.hums = [k for k, hum in enumerate(_HUMS) if hum.frequency_hz < _HIGHEST_MEASURED * fs]
        angles = 2.0 * np.pi / fs * np.outer([_HUMS[k].frequency_hz for k in self.hums], np.arange(self.block))
        waves = np.concatenate((np.cos(angles), -np.sin(angles))) * (2.0 / part)
        # Two rows a frequency, (samples of a part, 1, rows, parts); amplitude 1 gives a phasor of size 1.
        self._waves = np.moveaxis(waves.reshape(1, -1, _PARTS, part), 3, 0).copy()
        self._least_shares = _OUT_SHARE * np.array([_HUMS[k].share for k in self.hums])
        self._rest = np.empty(self.block)
        self.notches: set[int] = set()  # numbers of the frequencies of which the notch is in
        self.tones: dict[int, Tone] = {}  # hum in the last block, by the number of its frequency
        self.restart(0)

    def restart(self, at: int) -> None:
        """A new signal begins at sample `at`; what notches are in stays so until it is measured."""
        self._held = 0  # samples of the block that is not full
        self._start = at  # of that block
        self._is_first = True
        self._above = dict.fromkeys(self.hums, 0)  # blocks in a row
        self._below = dict.fromkeys(self.hums, 0)

    @property
    def due(self) -> int:
        """Samples that must have arrived before the next decision can fall."""
        near = self._is_first or any(
            self._below[hum] + 1 >= _OUT_BLOCKS if hum in self.notches else self._above[hum] + 1 >= _HUMS[hum].blocks
            for hum in self.hums
        )
        return self._start + (self.block if near else 2 * self.block)

    def process(self, y: NDArray[np.float64]) -> list[NotchChange]:
        """Decisions that `y` (samples,), mV, makes certain, in order."""
        held = self._held + y.size
        if held < self.block:
            self._rest[self._held : held] = y
            self._held = held
            return []
        z = np.concatenate((self._rest[: self._held], y)) if self._held else y
        count = z.size // self.block
        self._held = z.size - count * self.block
        self._rest[: self._held] = z[count * self.block :]
        # Samples of a part come first: numpy adds along the first axis row by row, in their order, and fast.
        parts = np.moveaxis(z[: count * self.block].reshape(count, 1, _PARTS, self._part), 3, 0).copy()
        sums = np.add.reduce(parts * self._waves, axis=0)  # (count, rows, parts)
        phasors = sums[:, : len(self.hums)] + 1j * sums[:, len(self.hums) :]
        powers = ordered_sum(np.add.reduce(parts[:, :, 0] ** 2, axis=0), 1) / self.block
        # The power of a mean is never above the mean power: where that is little, there is no hum.
        parts_power = 0.5 * ordered_sum(phasors.real**2 + phasors.imag**2, 2) / _PARTS
        is_worth = parts_power >= self._least_shares * powers[:, None]
        self.tones.clear()
        changes: list[NotchChange] = []
        if not is_worth.any() and not self.notches and not any(self._above.values()):
            self._start += count * self.block
            self._is_first = False
            return changes
        worth = is_worth.tolist()
        for k in range(count):
            self.tones.clear()
            for row, hum in enumerate(self.hums):
                if worth[k][row]:
                    tone, steadiness = self._tone(phasors[k, row].tolist(), float(powers[k]), hum)
                    self._decide(hum, tone, steadiness, changes)
                elif self._above[hum] or hum in self.notches:
                    self._decide(hum, Tone(_HUMS[hum].frequency_hz, 0j, 0.0), 0.0, changes)
            self._start += self.block
            self._is_first = False
        return changes

    def _tone(self, phasors: Sequence[complex], power: float, hum: int) -> tuple[Tone, float]:
        """The tone that the parts' phasors have in common, and how steady they are, 0 to 1."""
        mean_power = plain_sum(abs(p) ** 2 for p in phasors) / _PARTS
        turn = cmath.phase(_sum_of([b * a.conjugate() for a, b in pairwise(phasors)]))  # from part to part
        off_hz = turn / (2.0 * math.pi * self._part / self._fs)
        if not mean_power or abs(off_hz) > _HUMS[hum].off_hz:
            return Tone(_HUMS[hum].frequency_hz, 0j, 0.0), 0.0
        # A part's phasor has the phase of its middle; turned back to that of the block's first sample.
        straight = [p * cmath.exp(-1j * turn * (j + 0.5)) for j, p in enumerate(phasors)]
        common = _sum_of(straight) / _PARTS
        share = min(1.0, 0.5 * abs(common) ** 2 / power)
        return Tone(_HUMS[hum].frequency_hz + off_hz, common, share), abs(common) ** 2 / mean_power

    def _decide(self, hum: int, tone: Tone, steadiness: float, changes: list[NotchChange]) -> None:
        limits = _HUMS[hum]
        is_hum = steadiness >= limits.steadiness and abs(tone.phasor) >= _LEAST_MV
        if is_hum:
            self.tones[hum] = tone
        self._above[hum] = self._above[hum] + 1 if is_hum and tone.share >= limits.share else 0
        little = not is_hum or tone.share < _OUT_SHARE * limits.share
        self._below[hum] = self._below[hum] + 1 if little else 0
        stop = self._start + self.block
        if hum in self.notches:
            if self._below[hum] >= _OUT_BLOCKS:
                self.notches.remove(hum)
                self._above[hum] = 0
                changes.append(NotchChange(stop, self._start, hum, limits.frequency_hz, tone, notch=False))
        elif self._above[hum] >= (1 if self._is_first else limits.blocks):
            self.notches.add(hum)
            self._below[hum] = 0
            changes.append(NotchChange(stop, self._start, hum, limits.frequency_hz, tone, notch=True))


class HumFilter:
    """The notches of one lead, each put in where its hum is measured; fs in Hz."""

    def __init__(self, fs: float) -> None:
        self._fs = fs
        self._watch = HumWatch(fs)
        self._notches: dict[int, Notch] = {}  # by the number of the frequency, those that can be had at this rate
        self._reported: set[int] = set()  # hum for which there is no notch at this rate
        self._news: list[tuple[int, Mains]] = []
        self.block = self._watch.block

    def restart(self, at: int) -> None:
        """A new signal begins at sample `at`."""
        self._watch.restart(at)

    @property
    def due(self) -> int:
        """Samples that must have arrived before the next decision."""
        return self._watch.due

    def begin(self, y: NDArray[np.float64]) -> None:
        """Measure the first block (samples,) of a signal: its notches start with its first sample."""
        for change in self._watch.process(y):
            self.change(change)
        for hum, notch in self._notches.items():
            tone = self._watch.tones.get(hum)
            notch.start(*((tone.frequency_hz, tone.phasor) if tone else (_HUMS[hum].frequency_hz, 0j)))

    def measure(self, y: NDArray[np.float64]) -> list[NotchChange]:
        """Decisions that further samples (n,) make certain; those from before `at` are to be filtered first."""
        return self._watch.process(y)

    def change(self, change: NotchChange) -> Notch | None:
        """Put a notch in, or take it out; gives one that was put in and starts with sample `since` of the change."""
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
        self._news.append((change.at, event))
        return notch

    def process(self, y: NDArray[np.float64]) -> NDArray[np.float64]:
        """Samples (n,) in the monitoring band, filtered by all notches that are in."""
        for notch in self._notches.values():
            y = notch.process(y)
        return y

    def news(self) -> list[tuple[int, Mains]]:
        """What was decided since the last call, each with the samples that had arrived then."""
        news = self._news
        if news:
            self._news = []
        return news


def _sum_of(values: Iterable[complex]) -> complex:
    total = 0j
    for value in values:
        total += value
    return total
