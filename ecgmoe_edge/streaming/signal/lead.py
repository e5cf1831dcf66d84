"""One lead: its filter, its candidates for a beat, the windows of its beats, flatline and clipping."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.streaming.events import Clipping, Flatline
from ecgmoe_edge.streaming.qrs.candidates import CandidateFinder
from ecgmoe_edge.streaming.qrs.lead_memory import LeadCandidate
from ecgmoe_edge.streaming.signal.filters import monitoring_band
from ecgmoe_edge.streaming.signal.history import History
from ecgmoe_edge.streaming.signal.quality import BEFORE_S, SignalQuality
from ecgmoe_edge.streaming.signal.standstill import Standstill, Still
from ecgmoe_edge.streaming.signal.windows import RPEAK_GRID, WindowSampler

_SEARCH_BACK_S = 6.0  # a beat may be found so late
_RAW_S = 1.0  # of the unfiltered signal that are kept
_STEP_S = (0.080, 0.150)  # after R: a signal that stands still there, far off, went to its rail and was no beat
_STEP_MOVES = 0.02  # times the step is noise in it; no ST segment is as high and as flat
_CLIPPED_S = 0.050  # either side of R, in which clipped samples cost quality


class LeadSignal:
    """Takes the samples of one lead and remembers some seconds of them.

    number: of the lead among the others. fs: Hz. grid: 128 Hz points of a beat's window round R. before: samples that
    are needed before an R peak, if more than the window's. mains: 50 or 60 for a notch. invert: turn the signal over.
    """

    def __init__(
        self,
        number: int,
        fs: float,
        grid: NDArray[np.int64] = RPEAK_GRID,
        before: int = 0,
        *,
        mains: int | None = None,
        invert: bool = False,
    ) -> None:
        self.number = number
        self._sign = -1.0 if invert else 1.0
        self._window = WindowSampler(fs, grid)
        self._r_index = int(np.flatnonzero(grid == 0)[0])
        self._band = monitoring_band(fs, mains)
        self._raw = History(round(_RAW_S * fs))
        self._signal = History(max(before, self._window.before) + round(_SEARCH_BACK_S * fs))
        self._finder = CandidateFinder(fs, self._signal)
        self._still = Standstill(fs)
        self._quality = SignalQuality()
        self._step = tuple(round(after_s * fs) for after_s in _STEP_S)
        self._judged = round(BEFORE_S * fs)
        self._near = round(_CLIPPED_S * fs)
        self.reach = self._finder.reach
        self.restart(0)

    def restart(self, at: int) -> None:
        """The signal has ended everywhere; the next sample has number `at`."""
        self.present = False
        self._signal.restart(at)
        self._still.restart(at)

    def begin(self, at: int) -> None:
        """A new signal begins at sample `at`."""
        self.present = True
        self._raw.restart(at)
        self._signal.restart(at)
        self._band.reset()
        self._finder.restart(at)
        self._quality.restart()

    def break_off(self) -> None:
        """No more samples come: what follows the last candidates is what has come."""
        self._finder.break_off()

    def end(self) -> None:
        """The signal has ended."""
        self.present = False

    @property
    def due(self) -> int:
        """Samples that must have arrived before this lead can report anything new."""
        return self._finder.due

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
        self._raw.settle()
        self._raw.append(x)
        y = self._band.process(self._sign * x)
        self._signal.settle()
        self._signal.append(y)
        return [
            LeadCandidate(candidate.known, self.number, candidate)
            for candidate in self._finder.process(y)
            if not self._is_step(candidate.sample, candidate.known)
        ]

    def _is_step(self, r: int, known: int) -> bool:
        """Whether what looks like a beat is a step to a level at which the signal stays."""
        first, last = r + self._step[0], r + self._step[1]
        after = self._raw.between(first, min(last, known))
        if after.size < (last - first) // 2:
            return False
        before = self._raw.between(2 * r - last, r)
        if not before.size:
            return False
        level = float(np.median(before))
        step = min(abs(float(after.min()) - level), abs(float(after.max()) - level))
        if float(after.max() - after.min()) > _STEP_MOVES * step:
            return False
        return step >= 0.5 * float(np.abs(self._raw.between(r, first) - level).max())

    # -- beats

    def shows(self, r: int) -> bool:
        """Whether the whole window of a beat with its R peak at sample `r` is there."""
        return self.present and self._signal.start <= r and r + self._window.after < self._signal.stop

    def window_of(self, r: int) -> NDArray[np.float32]:
        """The window (points,) in mV of a beat; zero where there is no signal."""
        return self._window.read(self.between(r - self._window.before, r + self._window.after + 1))

    def quality_of(self, window: NDArray[np.float32], r: int, known: int) -> float:
        """Quality of the next beat of this lead, with what is known of clipping once `known` samples have arrived."""
        clipped = self._still.clipped(r - self._near, r + self._near + 1, known) > 0
        whole = self._signal.start <= r - self._judged
        return self._quality.of_beat(window, self._r_index, clipped=clipped, whole=whole)

    @property
    def shows_noise(self) -> bool:
        """Whether the last beat whose quality was asked for is a peak of noise here."""
        return self._quality.is_noise

    def between(self, start: int, stop: int) -> NDArray[np.float64]:
        """The filtered signal from `start` to `stop`, zero where there is none."""
        held = self._signal.between(start, stop)
        if held.size == stop - start:
            return held
        stretch = np.zeros(stop - start)
        offset = max(0, self._signal.start - start)
        stretch[offset : offset + held.size] = held
        return stretch
