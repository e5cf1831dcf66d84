"""One lead: filters, candidates for a beat, beat windows, quality, flatline and clipping."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.streaming.events import Clipping, Flatline, Mains
from ecgmoe_edge.streaming.qrs.candidates import Candidate, CandidateFinder
from ecgmoe_edge.streaming.qrs.lead_memory import LeadCandidate
from ecgmoe_edge.streaming.signal.filters import HIGHEST_NOTCH, monitoring_band
from ecgmoe_edge.streaming.signal.flatline import FlatlineDetector, FlatlineReport
from ecgmoe_edge.streaming.signal.history import History
from ecgmoe_edge.streaming.signal.mains import AUTO, HumFilter, MainsChoice
from ecgmoe_edge.streaming.signal.pacing import COMPLEX_END_S, R_AFTER_SPIKE_S, TAIL_S, is_tail, r_on_tail
from ecgmoe_edge.streaming.signal.quality import EXAMINED, SignalQuality
from ecgmoe_edge.streaming.signal.windows import MODEL_RATE_HZ, RPEAK_GRID, WindowSampler

SEARCH_BACK_S = 5.0  # longest time after which a beat may still be detected
RAW_S = 1.6  # unfiltered signal in memory: hum is measured for a second before R peaks are searched
# A step of the signal is no beat. It leads to or from a constant level ...
STEP_S = (0.080, 0.150)  # ... which is looked for in this time before and after R
LEVEL_SHARE = (
    0.5  # ... and its distance from the level on the other side is at least this fraction of the wave's height
)
# ... or it lies between two straight lines on different levels, as in a counter, a saw tooth or a square wave:
BESIDE_S = (0.050, 0.150)  # the lines are looked for in this time before and after R
STRAIGHT = 0.02  # largest distance from a straight line, as a fraction of the step's height
PLATEAU = 0.9  # the step is at least this fraction of the signal's range near R: no R peak stands above the levels
SPIKE_REACH_S = 0.13  # largest distance from a pacing spike to the peak of energy that the spike alone causes
NEAR_S = 0.050  # time on both sides of R in which clipped and bridged samples lower the quality


class LeadSignal:
    """Takes the samples of one lead and keeps some seconds of them.

    With `mains` "auto", the first second of a signal is kept back until it is known whether it contains hum. The
    detector learns for longer than that, so no beat is reported later.

    Args:
        number: number of the lead.
        fs: sampling rate, Hz.
        grid: points of a beat window at 128 Hz, counted from R.
        before: number of samples needed before an R peak, if more than those of the window.
        mains: "auto" for a notch while hum is measured; 50 or 60 for a constant notch; None for none.
        invert: whether to invert the signal.

    Raises:
        SignalError: `mains` is none of these.
    """

    def __init__(
        self,
        number: int,
        fs: float,
        grid: NDArray[np.int64] = RPEAK_GRID,
        before: int = 0,
        *,
        mains: MainsChoice = None,
        invert: bool = False,
    ) -> None:
        self.number = number
        self._fs = fs
        self.sign = -1.0 if invert else 1.0
        self.window = WindowSampler(fs, grid)
        self._r_index = int(np.flatnonzero(grid == 0)[0])
        notch_hz = None if isinstance(mains, str) and mains == AUTO else mains
        self.band = monitoring_band(fs, notch_hz)  # refuses any other text or number
        self._hum = HumFilter(fs) if isinstance(mains, str) else None
        self._mains_events: list[tuple[int, Mains]] = []
        # A requested notch that is not possible at this rate; None once that is reported.
        self._impossible_hz = mains if isinstance(mains, int) and mains >= HIGHEST_NOTCH * fs else None
        self._kept_back: list[NDArray[np.float64]] | None = None  # band-passed signal until its hum is known
        self.raw = History(round(RAW_S * fs))
        self.signal = History(max(before, self.window.before) + round(SEARCH_BACK_S * fs))
        self.finder = CandidateFinder(fs, self.signal)
        self._flatline = FlatlineDetector(fs)
        self._quality = SignalQuality()
        self.step = tuple(round(step_s * fs) for step_s in STEP_S)
        self.beside = tuple(round(beside_s * fs) for beside_s in BESIDE_S)
        self.after_spike, self.complex_end = round(R_AFTER_SPIKE_S * fs), round(COMPLEX_END_S * fs)
        self.spike_reach, self.tail = round(SPIKE_REACH_S * fs), round(TAIL_S * fs)
        self._spikes: deque[tuple[int, int]] = deque()  # first sample and width of each spike in `raw`
        self._bridged: deque[tuple[int, int]] = deque()  # first sample and end (exclusive) of each hole in `signal`
        self.near = round(NEAR_S * fs)
        self.examined = tuple(round(points * fs / MODEL_RATE_HZ) for points in EXAMINED)
        self.reach = self.finder.reach
        self.restart(0)

    def restart(self, at: int) -> None:
        """End the signal, as on all leads; the next sample has number `at`."""
        self.present = False
        self.signal.restart(at)
        self._flatline.restart(at)

    def begin(self, at: int) -> None:
        """Start a new signal at sample `at`."""
        self.present = True
        if self._impossible_hz is not None:
            event = Mains(at, at / self._fs, self._impossible_hz, "not possible at this rate", None, None)
            self._mains_events.append((at + 1, event))
            self._impossible_hz = None
        self.raw.restart(at)
        self.signal.restart(at)
        self.band.reset()
        if self._hum is not None:
            self._hum.restart(at)
            self._kept_back = []
        self.finder.restart(at)
        self._quality.restart()

    def break_off(self, known_at: int) -> list[LeadCandidate]:
        """Return the remaining candidates when no more samples come, which is certain at `known_at`."""
        found: list[LeadCandidate] = []
        if self._kept_back:
            found = self._find(np.concatenate(self._kept_back))
            self._kept_back = None
        return found + self._plausible(self.finder.break_off(known_at))

    def end(self) -> None:
        """End the signal."""
        self.present = False

    @property
    def due(self) -> int:
        """Samples that must have arrived before this lead can have a new candidate or notch."""
        if self._hum is None:
            return self.finder.due
        return self._hum.due if self._kept_back is not None else min(self.finder.due, self._hum.due)

    def flatline_due(self, stop: int) -> int:
        """Return the samples that must have arrived before flatline or clipping can be reported.

        Args:
            stop: number of samples that `detect_flatline` has processed.
        """
        return self._flatline.due(stop)

    def detect_flatline(self, x: NDArray[np.float64], at: int) -> list[FlatlineReport]:
        """Return flatline and clipping in usable samples `x` (n,), mV, the first of which has number `at`."""
        return self._flatline.process(x, at)

    def end_flatline(self, at: int) -> list[Flatline | Clipping]:
        """Return what is not reported yet; the usable samples end before sample `at`."""
        left = self._flatline.break_off(at)
        self._flatline.restart(at)
        return left

    def process(self, x: NDArray[np.float64]) -> list[LeadCandidate]:
        """Return the candidates that become known by samples `x` (n,) in mV, at least one, of a present signal."""
        self.raw.release()
        self.raw.append(x)
        y = self.band.process(self.sign * x)
        self.signal.release()
        if self._hum is None:
            return self._find(y)
        if self._kept_back is not None:
            self._kept_back.append(y)
            if self.raw.stop < self._hum.due:
                return []
            y = np.concatenate(self._kept_back)
            self._kept_back = None
            self._hum.begin(y[: self._hum.block])
            rest = y[self._hum.block :]
        else:
            rest = y
        found: list[LeadCandidate] = []
        for change in self._hum.measure(rest):
            count = change.at - self.signal.stop
            found += self._find(self._hum.process(y[:count]))
            y = y[count:]
            notch = self._hum.change(change)
            if notch is not None:
                # Only candidates are searched again. `signal` is not changed, so that a beat that was complete before
                # this decision has the same window for any chunking.
                block = self.signal.between(change.since, change.at)
                self.finder.run_again(change.since, notch.process(block))
        return found + self._find(self._hum.process(y)) if y.size else found

    def mains_events(self) -> list[tuple[int, Mains]]:
        """Return the events about mains hum since the last call, each with its `known_at`."""
        if self._hum is not None:
            return self._hum.events()
        events, self._mains_events = self._mains_events, []
        return events

    def _find(self, y: NDArray[np.float64]) -> list[LeadCandidate]:
        """Return the candidates that become known by samples `y` (n,) of the filtered signal."""
        self.signal.append(y)
        return self._plausible(self.finder.process(y))

    def _plausible(self, candidates: list[Candidate]) -> list[LeadCandidate]:
        """Leave out steps of the signal and pacing spikes; move an R peak on the tail of a spike to the QRS complex."""
        for candidate in candidates if self._spikes else ():
            self._move_off_tail(candidate)
        return [
            LeadCandidate(candidate.known_at, self.number, candidate)
            for candidate in candidates
            if not self._is_step(candidate.sample, candidate.known_at) and not self._is_spike(candidate)
        ]

    def _is_step(self, r: int, arrived: int) -> bool:
        """Whether a candidate is a step to or from a constant level, or between two straight lines."""
        near, far = self.step
        last = min(r + far, arrived)
        return (
            self._is_level(self.raw.between(r + near, last), self.raw.between(r - far, r), r, r + near)
            or self._is_level(self.raw.between(r - far, r - near), self.raw.between(r, last), r - near, r)
            or self._is_straight_step(r, arrived)
        )

    def _is_level(self, side: NDArray[np.float64], other: NDArray[np.float64], first: int, stop: int) -> bool:
        """Whether the signal is constant on one side of R, far from its level on the other.

        Args:
            side: samples on the side that may be constant.
            other: samples on the other side.
            first: first of the samples between R and `side`, which show how high the wave is.
            stop: end of these samples (exclusive).
        """
        shortest = (self.step[1] - self.step[0]) // 2
        if side.size < shortest or not other.size or side[0] != side[-1] or side.min() != side.max():
            return False
        level = float(np.median(other))
        height = float(np.abs(self.raw.between(first, stop) - level).max(initial=0.0))
        return abs(float(side[0]) - level) >= LEVEL_SHARE * height

    def _is_straight_step(self, r: int, arrived: int) -> bool:
        """Whether there are straight lines on both sides of R, far from each other."""
        near, far = self.beside
        before, after = self.raw.between(r - far, r - near), self.raw.between(r + near, min(r + far, arrived))
        if before.size < far - near or after.size < (far - near) // 2:
            return False
        middle = self.raw.between(r - near, r + near)
        rise = near * (before[-1] - before[0]) / (before.size - 1), near * (after[-1] - after[0]) / (after.size - 1)
        height = abs(float(after[0] - rise[1]) - float(before[-1] + rise[0]))
        if height < PLATEAU * float(middle.max() - middle.min()):
            return False
        return all(_off_line(side) <= STRAIGHT * height for side in (before, after))

    def spike(self, sample: int, width: int) -> None:
        """Note that a pacing spike was removed from the samples that come next."""
        self._spikes.append((sample, width))

    def bridge(self, start: int, stop: int) -> None:
        """Note that samples `start` to `stop` (exclusive) are a bridge over a hole and not measured."""
        while self._bridged and self._bridged[0][1] <= self.signal.start:
            self._bridged.popleft()
        self._bridged.append((start, stop))

    def _measured(self, r: int) -> float:
        """The measured (not bridged) fraction of all that quality depends on, times that of the signal near R."""
        measured = 1.0
        for first, stop in ((r - self.examined[0], r + self.examined[1]), (r - self.near, r + self.near + 1)):
            bridged = sum(max(0, min(stop, end) - max(first, begin)) for begin, end in self._bridged)
            measured *= 1.0 - bridged / (stop - first)
        return measured

    def _is_spike(self, candidate: Candidate) -> bool:
        """Whether the energy of a candidate is that of the tail of a pacing spike."""
        while self._spikes and self._spikes[0][0] < self.raw.start:
            self._spikes.popleft()
        for sample, width in self._spikes:
            if candidate.at - self.spike_reach <= sample <= candidate.at:
                end = sample + width
                after = self.raw.between(end, min(max(candidate.at, end + self.tail), candidate.known_at))
                before = self.raw.between(sample - 1, sample)
                if after.size and before.size and is_tail(after - before[0], self._fs):
                    return True
        return False

    def _move_off_tail(self, candidate: Candidate) -> None:
        """Move an R peak that lies on the tail of a pacing spike to the QRS complex on this tail, if there is one."""
        for sample, width in self._spikes:
            end = sample + width
            if sample <= candidate.sample <= end + self.after_spike:
                after = self.raw.between(end, min(end + self.complex_end, candidate.known_at))
                before = self.raw.between(sample - 1, sample)
                r = r_on_tail(after - before[0], self._fs) if after.size > self.after_spike and before.size else None
                if r is not None:
                    candidate.sample = end + r

    def shows(self, r: int) -> bool:
        """Whether the whole window of a beat with its R peak at sample `r` has arrived."""
        return self.present and self.signal.start <= r and r + self.window.after < self.signal.stop

    def window_of(self, r: int) -> NDArray[np.float32]:
        """Return the window (points,) in mV of a beat with its R peak at sample `r`; zero where there is no signal."""
        return self.window.read(self.between(r - self.window.before, r + self.window.after + 1))

    def quality_of(self, window: NDArray[np.float32], r: int, arrived: int) -> float:
        """Return the quality of the next beat of this lead, 0 to 1.

        Args:
            window: the beat's window (points,), mV.
            r: sample of the R peak.
            arrived: clipping counts if it is known when so many samples have arrived.
        """
        clipped = self._flatline.clipped(r - self.near, r + self.near + 1, arrived) > 0
        seen = int((r - self.signal.start) * MODEL_RATE_HZ / self._fs)
        return self._measured(r) * self._quality.of_beat(window, self._r_index, seen=seen, clipped=clipped)

    @property
    def shows_no_qrs(self) -> bool:
        """Whether this lead shows no QRS complex in the beat that `quality_of` was last called for."""
        return self._quality.no_qrs

    def between(self, start: int, stop: int) -> NDArray[np.float64]:
        """Return samples `start` to `stop` (exclusive) of the filtered signal, mV; zero where there is no signal."""
        held = self.signal.between(start, stop)
        if held.size == stop - start:
            return held
        stretch = np.zeros(stop - start)
        offset = max(0, self.signal.start - start)
        stretch[offset : offset + held.size] = held
        return stretch


def _off_line(x: NDArray[np.float64]) -> float:
    """Largest distance of `x` (samples,), at least two, from the straight line through its ends."""
    line = x[0] + (x[-1] - x[0]) / (x.size - 1) * np.arange(x.size)
    return float(np.abs(x - line).max())
