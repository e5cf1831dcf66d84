"""The one front end: from samples to beats with all that a model is given of them. Training and the stream share it.

Samples wait until something can become certain by them, and are worked off together then. So the cost of a push hardly
depends on how many there are, and nothing comes out later than it would with every sample worked off at once.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.streaming.beats import AMPLITUDE_BEATS, TEMPLATE_BEATS, BeatContext, Wearer
from ecgmoe_edge.streaming.events import Gap, Saturation
from ecgmoe_edge.streaming.filters import check_rate, monitoring_band
from ecgmoe_edge.streaming.history import History
from ecgmoe_edge.streaming.quality import SignalQuality
from ecgmoe_edge.streaming.rpeaks import RPeak, RPeakDetector
from ecgmoe_edge.streaming.standstill import Standstill
from ecgmoe_edge.streaming.windows import BEAT_GRID, RPEAK_GRID, WindowSampler

__all__ = ["AMPLITUDE_BEATS", "CONTEXT_SAMPLES", "TEMPLATE_BEATS", "UNUSABLE", "BeatContext", "FrontEnd", "Item"]

CONTEXT_SAMPLES = 1280  # 10 s at the model rate
_PIECE_S = 60.0  # longer pushes are worked off in pieces, so that memory stays bounded
_WAIT_S = 0.5  # samples wait for so long at most: work is spread evenly
UNUSABLE = "nan"  # the reason of a gap of samples that came and are no use
_UNUSABLE_REPORT_S = 1.0
_STEP_S = (0.080, 0.150)  # after R: a signal that stands still there, far off, went to its rail and was no beat
_EDGE_S = 0.060  # after the signal's start a QRS complex may be the rest of one: its R cannot be told
_T_WAVE_S = 0.400  # after the signal's start a beat may be the T wave of one before: no RR interval begins with it
_CLIPPED_S = 0.050  # either side of R, in which clipped samples cost quality

Item: TypeAlias = BeatContext | Gap | Saturation


class FrontEnd:
    """Filter, R peaks, windows and features of one lead.

    fs: device rate, 100-1000 Hz. mains: 50 or 60 for a notch. invert: electrodes were swapped. grid: 128 Hz points of
    the beat window round R; None for R peaks only, as soon as they are certain and at a fraction of the cost.
    context: length of `BeatContext.context` in 128 Hz samples, 0 for none.
    """

    def __init__(
        self,
        fs: float,
        *,
        mains: int | None = None,
        invert: bool = False,
        grid: NDArray[np.int64] | None = BEAT_GRID,
        context: int = 0,
    ) -> None:
        self.fs = check_rate(fs)
        self._sign = -1.0 if invert else 1.0
        self._band = monitoring_band(self.fs, mains)
        self._detector = RPeakDetector(self.fs)
        points = RPEAK_GRID if grid is None else grid
        self._window = WindowSampler(self.fs, points)
        self._r_index = int(np.flatnonzero(points == 0)[0])
        self._wearer = None if grid is None else Wearer(points.size, self._r_index)
        self._context = WindowSampler(self.fs, np.arange(points[-1] - context + 1, points[-1] + 1)) if context else None
        reach = max(self._window.before, self._context.before if self._context else 0)
        # A beat may wait for its window, and may be found by search-back some seconds late.
        self._signal = History(reach + round(6.0 * self.fs))
        self._raw = History(round(6.0 * self.fs))
        self._still = Standstill(self.fs)
        self._quality = SignalQuality()
        self._pending: deque[RPeak] = deque()
        self._began = 0  # where the present signal begins
        self._last_r: int | None = None
        self._last_ready = 0
        self._unusable = 0  # samples of the present run of NaN not yet reported
        self._waiting = np.empty(round(_WAIT_S * self.fs))
        self._held = 0  # of them
        self._patience = 0  # so many may wait before something could become certain

    @property
    def position(self) -> int:
        """Number of the next sample, lost ones counted."""
        return self._signal.stop + self._held

    def push(self, samples: NDArray[np.float64]) -> list[Item]:
        """Take samples (n,) in mV; NaN marks unusable ones. Gives what became certain, in the order it did."""
        held = self._held + samples.size
        if held < self._patience and math.isfinite(samples.dot(samples)):
            self._waiting[self._held : held] = samples
            self._held = held
            return []
        items: list[Item] = []
        self._work_off(samples, items)
        return items

    def gap(self, lost: int | None, reason: str) -> list[Item]:
        """Samples that never came: `lost` of them, None where nobody knows. Nothing is carried across but habits."""
        items: list[Item] = []
        self._end_signal(items)
        start = self.position
        self._restart(start + (lost or 0))
        items.append(Gap(start, start / self.fs, lost, reason))
        return items

    def flush(self) -> list[Item]:
        """What is left when the signal has ended; beats without their full window come out as not complete."""
        items: list[Item] = []
        self._end_signal(items)
        self._restart(self.position)
        return items

    # -- samples

    def _work_off(self, samples: NDArray[np.float64], items: list[Item]) -> None:
        x = np.concatenate((self._waiting[: self._held], samples)) if self._held else samples
        self._held = 0
        if not x.size:
            return
        if math.isfinite(x.dot(x)):
            self._take_usable(x, items)
        else:
            finite = np.isfinite(x)
            edges = np.flatnonzero(finite[1:] != finite[:-1]) + 1
            for start, stop in zip((0, *edges), (*edges, x.size), strict=True):
                if finite[start]:
                    self._take_usable(x[start:stop], items)
                else:
                    self._skip_unusable(int(stop - start), items)
        self._patience = 0 if self._unusable else min(self._due() - self._signal.stop, self._waiting.size)

    def _due(self) -> int:
        """Samples that must have arrived before anything new can become certain."""
        stop = self._signal.stop
        due = min(self._detector.due, self._still.due(stop))
        return min(due, self._pending[0].sample + self._window.after + 1) if self._pending else due

    def _take_usable(self, x: NDArray[np.float64], items: list[Item]) -> None:
        self._report_unusable(items)
        piece = round(_PIECE_S * self.fs)
        for at in range(0, x.size, piece):
            self._take(x[at : at + piece], items)

    def _take(self, x: NDArray[np.float64], items: list[Item]) -> None:
        begin = self._signal.stop
        said: list[tuple[int, Item]] = []
        taken = 0
        for still in self._still.process(x, begin):
            if still.restart is not None:
                stop = still.restart - begin
                self._hear(x[taken:stop], said)
                taken = stop
                said += [(beat.ready_at, beat) for beat in self._break_off()]
                self._restart_signal(still.restart)
            said.append((still.arrived, still.event))
        self._hear(x[taken:], said)
        if len(said) > 1:
            said.sort(key=lambda pair: pair[0])
        items += [item for _, item in said]

    def _hear(self, x: NDArray[np.float64], said: list[tuple[int, Item]]) -> None:
        """Samples of one unbroken signal."""
        if not x.size:
            return
        self._raw.append(x)
        y = self._band.process(self._sign * x)
        self._signal.append(y)
        self._await(self._detector.process(y))
        while self._pending and self._pending[0].sample + self._window.after < self._signal.stop:
            beat = self._complete(self._pending.popleft())
            said.append((beat.ready_at, beat))

    def _skip_unusable(self, n: int, items: list[Item]) -> None:
        if not self._unusable:
            self._end_signal(items)
        limit = round(_UNUSABLE_REPORT_S * self.fs)
        while n:
            step = min(n, limit - self._unusable)
            self._unusable += step
            self._restart(self._signal.stop + step)
            n -= step
            if self._unusable == limit:
                self._report_unusable(items)

    def _report_unusable(self, items: list[Item]) -> None:
        if self._unusable:
            start = self._signal.stop - self._unusable
            items.append(Gap(start, start / self.fs, self._unusable, UNUSABLE))
            self._unusable = 0

    # -- breaks

    def _end_signal(self, items: list[Item]) -> None:
        """The signal breaks off here: give out what waits and what is pending."""
        self._work_off(np.zeros(0), items)
        self._report_unusable(items)
        items += self._break_off()
        items += self._still.broken_off()

    def _break_off(self) -> list[BeatContext]:
        self._await(self._detector.flush())
        beats = [self._complete(peak) for peak in self._pending]
        self._pending.clear()
        return beats

    def _restart(self, at: int) -> None:
        """A new signal begins at sample `at`."""
        self._restart_signal(at)
        self._still.restart(at)
        self._patience = 0

    def _restart_signal(self, at: int) -> None:
        self._signal.restart(at)
        self._raw.restart(at)
        self._band.reset()
        self._detector.restart(at)
        self._began = at
        self._quality.restart()
        self._last_r = None

    # -- beats

    def _await(self, peaks: list[RPeak]) -> None:
        """Beats of these R peaks are to come, as soon as their windows are complete."""
        first = self._began + round(_EDGE_S * self.fs)
        self._pending += [peak for peak in peaks if peak.sample >= first and not self._is_step(peak)]

    def _is_step(self, peak: RPeak) -> bool:
        """Whether what looked like an R peak was a step to a level at which the signal stays."""
        r, (first, last) = peak.sample, (peak.sample + round(after_s * self.fs) for after_s in _STEP_S)
        before, after = self._raw.between(2 * r - last, r), self._raw.between(first, min(last, peak.known_at))
        if not before.size or after.size < (last - first) // 2 or after[0] != after[-1] or after.min() != after.max():
            return False
        level = float(np.median(before))
        return abs(float(after[0]) - level) >= 0.5 * float(np.abs(self._raw.between(r, first) - level).max())

    def _complete(self, peak: RPeak) -> BeatContext:
        r = peak.sample
        after = r + self._window.after
        complete = after < self._signal.stop
        ready = max(peak.known_at, min(after + 1, self._signal.stop), self._last_ready)
        self._last_ready = ready
        last, self._last_r = self._last_r, r if r >= self._began + round(_T_WAVE_S * self.fs) else None
        rr_s = None if last is None else (r - last) / self.fs
        window = self._window.read(self._stretch(r, self._window))
        quality = 0.0
        if complete:
            near = round(_CLIPPED_S * self.fs)
            clipped = self._still.clipped(r - near, r + near + 1, ready) > 0
            quality = self._quality.of_beat(window, self._r_index, clipped=clipped)
        if self._wearer is None:
            return BeatContext(r, peak.known_at, ready, peak.search_back, complete, rr_s, quality)
        own = self._wearer.own_amplitude(window)
        template, amplitude = self._wearer.template(window), self._wearer.amplitude(own)
        rr_features, rr_sequence = self._wearer.rr.add(rr_s)
        if complete:
            self._wearer.remember(window, own)
        beat = BeatContext(
            sample=r,
            known_at=peak.known_at,
            ready_at=ready,
            search_back=peak.search_back,
            complete=complete,
            rr_s=rr_s,
            quality=quality,
            window=window,
            template=template,
            amplitude=amplitude,
            rr_features=rr_features,
            rr_sequence=rr_sequence,
        )
        if self._context is None:
            return beat
        return replace(beat, context=self._context.read(self._stretch(r, self._context)))

    def _stretch(self, sample: int, sampler: WindowSampler) -> NDArray[np.float64]:
        """The signal that `sampler` needs round `sample`; zero where there is none."""
        start, stop = sample - sampler.before, sample + sampler.after + 1
        held = self._signal.between(start, stop)
        if held.size == stop - start:
            return held
        stretch = np.zeros(stop - start)
        offset = max(0, self._signal.start - start)
        stretch[offset : offset + held.size] = held
        return stretch
