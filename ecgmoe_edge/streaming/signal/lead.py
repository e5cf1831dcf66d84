"""One lead: its filter, its candidates for a beat, the windows of its beats, flatline and clipping."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.streaming.events import Clipping, Flatline, Mains
from ecgmoe_edge.streaming.qrs.candidates import Candidate, CandidateFinder
from ecgmoe_edge.streaming.qrs.lead_memory import LeadCandidate
from ecgmoe_edge.streaming.signal.filters import HIGHEST_NOTCH, monitoring_band
from ecgmoe_edge.streaming.signal.history import History
from ecgmoe_edge.streaming.signal.mains import AUTO, HumFilter, MainsChoice
from ecgmoe_edge.streaming.signal.pacing import COMPLEX_END_S, R_AFTER_SPIKE_S, TAIL_S, is_tail, r_on_tail
from ecgmoe_edge.streaming.signal.quality import LOOKED_AT, SignalQuality
from ecgmoe_edge.streaming.signal.standstill import Standstill, Still
from ecgmoe_edge.streaming.signal.windows import MODEL_RATE_HZ, RPEAK_GRID, WindowSampler

_SEARCH_BACK_S = 5.0  # a beat may be found so late
_RAW_S = 1.6  # of the unfiltered signal that are kept: hum is measured for a second before R peaks are looked for
_STEP_S = (0.080, 0.150)  # beside R: a signal that stands still there, far off, went to its rail or left it: no beat
_BESIDE_S = (0.050, 0.150)  # before and after R: straight there, on two levels, the signal made a step ...
_STRAIGHT = 0.02  # of the step's height off a straight line at most
_PLATEAU = 0.9  # of what the signal does meanwhile is between the levels: nothing stands above them, as an R does
_SPIKE_REACH_S = 0.13  # from a spike to the peak of energy that it alone causes
_CLIPPED_S = 0.050  # either side of R, in which clipped and bridged samples cost quality


class LeadSignal:
    """Takes the samples of one lead and remembers some seconds of them.

    number: of the lead among the others. fs: Hz. grid: 128 Hz points of a beat's window round R. before: samples that
    are needed before an R peak, if more than the window's. mains: "auto" for a notch where hum is measured; 50 or 60
    for one that is always in. invert: turn the signal over.

    With "auto" the first second of a signal is kept back until it is known whether there is hum in it: the detector
    learns for longer than that, so nothing comes out later.
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
        self._sign = -1.0 if invert else 1.0
        self._window = WindowSampler(fs, grid)
        self._r_index = int(np.flatnonzero(grid == 0)[0])
        notch_hz = None if isinstance(mains, str) and mains == AUTO else mains
        self.band = monitoring_band(fs, notch_hz)  # refuses what is neither
        self._hum = HumFilter(fs) if isinstance(mains, str) else None
        self._news: list[tuple[int, Mains]] = []
        self._notch_hz = mains if isinstance(mains, int) and mains >= HIGHEST_NOTCH * fs else None  # asked for in vain
        self._kept_back: list[NDArray[np.float64]] | None = None  # band-passed, until its hum is known
        self.raw = History(round(_RAW_S * fs))
        self.signal = History(max(before, self._window.before) + round(_SEARCH_BACK_S * fs))
        self.finder = CandidateFinder(fs, self.signal)
        self._still = Standstill(fs)
        self._quality = SignalQuality()
        self._step = tuple(round(after_s * fs) for after_s in _STEP_S)
        self._after_spike, self._complex_end = round(R_AFTER_SPIKE_S * fs), round(COMPLEX_END_S * fs)
        self._spike_reach, self._tail = round(_SPIKE_REACH_S * fs), round(TAIL_S * fs)
        self._spikes: deque[tuple[int, int]] = deque()  # first sample and width, of the last second
        self._bridged: deque[tuple[int, int]] = deque()  # first sample and past the last, of the time that is kept
        self._beside = tuple(round(beside_s * fs) for beside_s in _BESIDE_S)
        self._near = round(_CLIPPED_S * fs)
        self._looked_at = tuple(round(points * fs / MODEL_RATE_HZ) for points in LOOKED_AT)
        self.reach = self.finder.reach
        self.restart(0)

    def restart(self, at: int) -> None:
        """The signal has ended everywhere; the next sample has number `at`."""
        self.present = False
        self.signal.restart(at)
        self._still.restart(at)

    def begin(self, at: int) -> None:
        """A new signal begins at sample `at`."""
        self.present = True
        if self._notch_hz is not None:
            time_s = at / self._fs
            self._news.append((at + 1, Mains(at, time_s, self._notch_hz, "not possible at this rate", None, None)))
            self._notch_hz = None
        self.raw.restart(at)
        self.signal.restart(at)
        self.band.reset()
        if self._hum is not None:
            self._hum.restart(at)
            self._kept_back = []
        self.finder.restart(at)
        self._quality.restart()

    def break_off(self, known: int) -> list[LeadCandidate]:
        """No more samples come, known once `known` have arrived. Gives the candidates that were not known before."""
        found: list[LeadCandidate] = []
        if self._kept_back:
            found = self._find(np.concatenate(self._kept_back))
            self._kept_back = None
        return found + self._beats_among(self.finder.break_off(known))

    def end(self) -> None:
        """The signal has ended."""
        self.present = False

    @property
    def due(self) -> int:
        """Samples that must have arrived before this lead can report anything new."""
        if self._hum is None:
            return self.finder.due
        return self._hum.due if self._kept_back is not None else min(self.finder.due, self._hum.due)

    def still_due(self, stop: int) -> int:
        """Samples that must have arrived before stillness can be reported, once `stop` of them have been watched."""
        return self._still.due(stop)

    def watch(self, x: NDArray[np.float64], at: int) -> list[Still]:
        """Flatline and clipping in usable samples (n,), mV, the first of which has number `at`."""
        return self._still.process(x, at)

    def stop_watching(self, at: int) -> list[Flatline | Clipping]:
        """The samples before `at` were the last usable ones: what was counted or lasts, and was not reported yet."""
        left = self._still.broken_off(at)
        self._still.restart(at)
        return left

    def process(self, x: NDArray[np.float64]) -> list[LeadCandidate]:
        """Candidates that samples (n,) in mV of a signal that is present make known, n at least 1."""
        self.raw.settle()
        self.raw.append(x)
        y = self.band.process(self._sign * x)
        self.signal.settle()
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
                # What beats are read from stays as it is: those that were complete before the decision had it so.
                block = self.signal.between(change.since, change.at)
                self.finder.run_again(change.since, notch.process(block))
        return found + self._find(self._hum.process(y)) if y.size else found

    def news(self) -> list[tuple[int, Mains]]:
        """Events on mains since the last call, each with the samples that had arrived then."""
        if self._hum is not None:
            return self._hum.news()
        news, self._news = self._news, []
        return news

    def _find(self, y: NDArray[np.float64]) -> list[LeadCandidate]:
        """Candidates that samples (n,) of the filtered signal make known."""
        self.signal.append(y)
        return self._beats_among(self.finder.process(y))

    def _beats_among(self, candidates: list[Candidate]) -> list[LeadCandidate]:
        """Those that are neither a step of the signal nor a pacing spike, with R beside the tail of one."""
        for candidate in candidates if self._spikes else ():
            self._move_off_tail(candidate)
        return [
            LeadCandidate(candidate.known, self.number, candidate)
            for candidate in candidates
            if not self._is_step(candidate.sample, candidate.known) and not self._is_spike(candidate)
        ]

    def _is_step(self, r: int, known: int) -> bool:
        """Whether what looks like a beat is a step to or from a level at which the signal stands, or off a line."""
        near, far = self._step
        last = min(r + far, known)
        return (
            self._is_level(self.raw.between(r + near, last), self.raw.between(r - far, r), r, r + near)
            or self._is_level(self.raw.between(r - far, r - near), self.raw.between(r, last), r - near, r)
            or self._is_straight_step(r, known)
        )

    def _is_level(self, still: NDArray[np.float64], beyond: NDArray[np.float64], first: int, stop: int) -> bool:
        """Whether the signal stands still on one side, far off what is `beyond` R, as seen from `first` to `stop`."""
        shortest = (self._step[1] - self._step[0]) // 2
        if still.size < shortest or not beyond.size or still[0] != still[-1] or still.min() != still.max():
            return False
        level = float(np.median(beyond))
        return abs(float(still[0]) - level) >= 0.5 * float(
            np.abs(self.raw.between(first, stop) - level).max(initial=0.0)
        )

    def _is_straight_step(self, r: int, known: int) -> bool:
        """Whether straight lines, one far off the other, lie on both sides: of a counter, saw tooth or square wave."""
        near, far = self._beside
        before, after = self.raw.between(r - far, r - near), self.raw.between(r + near, min(r + far, known))
        if before.size < far - near or after.size < (far - near) // 2:
            return False
        middle = self.raw.between(r - near, r + near)
        rise = near * (before[-1] - before[0]) / (before.size - 1), near * (after[-1] - after[0]) / (after.size - 1)
        height = abs(float(after[0] - rise[1]) - float(before[-1] + rise[0]))
        if height < _PLATEAU * float(middle.max() - middle.min()):
            return False
        return all(_bend(side) <= _STRAIGHT * height for side in (before, after))

    def spike(self, sample: int, width: int) -> None:
        """A pacing spike was taken out of the samples that come next."""
        self._spikes.append((sample, width))

    def bridge(self, start: int, stop: int) -> None:
        """Samples `start` to `stop` (not included) are no measurement: a straight line bridges a hole."""
        while self._bridged and self._bridged[0][1] <= self.signal.start:
            self._bridged.popleft()
        self._bridged.append((start, stop))

    def _measured(self, r: int) -> float:
        """How much of a beat is measured and not bridged, 0 to 1: in all that its quality looks at, times round R."""
        measured = 1.0
        for first, stop in ((r - self._looked_at[0], r + self._looked_at[1]), (r - self._near, r + self._near + 1)):
            bridged = sum(max(0, min(stop, past) - max(first, begin)) for begin, past in self._bridged)
            measured *= 1.0 - bridged / (stop - first)
        return measured

    def _is_spike(self, candidate: Candidate) -> bool:
        """Whether the energy of what looks like a beat is that of a pacing spike's tail."""
        while self._spikes and self._spikes[0][0] < self.raw.start:
            self._spikes.popleft()
        for sample, width in self._spikes:
            if candidate.at - self._spike_reach <= sample <= candidate.at:
                end = sample + width
                after = self.raw.between(end, min(max(candidate.at, end + self._tail), candidate.known))
                before = self.raw.between(sample - 1, sample)
                if after.size and before.size and is_tail(after - before[0], self._fs):
                    return True
        return False

    def _move_off_tail(self, candidate: Candidate) -> None:
        """Put R, where it is on the tail of a pacing spike, on the complex that stands out of it."""
        for sample, width in self._spikes:
            end = sample + width
            if sample <= candidate.sample <= end + self._after_spike:
                after = self.raw.between(end, min(end + self._complex_end, candidate.known))
                before = self.raw.between(sample - 1, sample)
                r = r_on_tail(after - before[0], self._fs) if after.size > self._after_spike and before.size else None
                if r is not None:
                    candidate.sample = end + r

    # -- beats

    def shows(self, r: int) -> bool:
        """Whether the whole window of a beat with its R peak at sample `r` is there."""
        return self.present and self.signal.start <= r and r + self._window.after < self.signal.stop

    def window_of(self, r: int) -> NDArray[np.float32]:
        """The window (points,) in mV of a beat; zero where there is no signal."""
        return self._window.read(self.between(r - self._window.before, r + self._window.after + 1))

    def quality_of(self, window: NDArray[np.float32], r: int, known: int) -> float:
        """Quality of the next beat of this lead, with what is known of clipping once `known` samples have arrived."""
        clipped = self._still.clipped(r - self._near, r + self._near + 1, known) > 0
        seen = int((r - self.signal.start) * MODEL_RATE_HZ / self._fs)
        return self._measured(r) * self._quality.of_beat(window, self._r_index, seen=seen, clipped=clipped)

    @property
    def shows_no_qrs(self) -> bool:
        """Whether the last beat whose quality was asked for shows no QRS complex here."""
        return self._quality.no_qrs

    def between(self, start: int, stop: int) -> NDArray[np.float64]:
        """The filtered signal from `start` to `stop`, zero where there is none."""
        held = self.signal.between(start, stop)
        if held.size == stop - start:
            return held
        stretch = np.zeros(stop - start)
        offset = max(0, self.signal.start - start)
        stretch[offset : offset + held.size] = held
        return stretch


def _bend(x: NDArray[np.float64]) -> float:
    """How far `x` (samples,), two at least, departs from the straight line through its ends."""
    line = x[0] + (x[-1] - x[0]) / (x.size - 1) * np.arange(x.size)
    return float(np.abs(x - line).max())
