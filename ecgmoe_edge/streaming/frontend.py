"""The one front end: from samples to beats with all that a model is given of them. Training and the stream share it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.streaming.events import Gap, Saturation
from ecgmoe_edge.streaming.features import RRMemory
from ecgmoe_edge.streaming.filters import check_rate, monitoring_band
from ecgmoe_edge.streaming.flat_line import FlatLine
from ecgmoe_edge.streaming.history import History
from ecgmoe_edge.streaming.rpeaks import RPeak, RPeakDetector
from ecgmoe_edge.streaming.windows import BEAT_GRID, WindowSampler

TEMPLATE_BEATS = 16
AMPLITUDE_BEATS = 32
CONTEXT_SAMPLES = 1280  # 10 s at the model rate
_PIECE_S = 10.0  # longer pushes are worked off in pieces, so that memory stays bounded
UNUSABLE = "nan"  # the reason of a gap of samples that came and are no use
_UNUSABLE_REPORT_S = 1.0
_NEAR_R = 13  # grid points either side of R in which the R amplitude is read (0.1 s)
_ROUGHNESS = 0.03  # of the R amplitude: quality is one half there


@dataclass(frozen=True)
class BeatContext:
    """One beat as the stream knows it; arrays of mV in the 0.5-40 Hz band."""

    sample: int  # R peak
    known_at: int  # samples that had arrived when the R peak was certain
    ready_at: int  # and when this beat was complete: delay = ready_at - 1 - sample
    search_back: bool
    complete: bool  # False: the signal broke off before the window's end; the window is zero there
    rr_s: float | None  # to the R peak before; None at the start and after a break
    window: NDArray[np.float32]  # (grid,)
    template: NDArray[np.float32]  # (grid,) median of the wearer's last 16 windows
    amplitude: float  # median R amplitude of the wearer's last 32 beats
    rr_features: NDArray[np.float32]  # (15,)
    rr_sequence: NDArray[np.float32]  # (2, 32)
    quality: float  # 0..1
    context: NDArray[np.float32]  # (context,) the 10 s that end with the window; empty unless asked for


Item: TypeAlias = BeatContext | Gap | Saturation


class FrontEnd:
    """Filter, R peaks, windows and features of one lead.

    fs: device rate, 100-1000 Hz. mains: 50 or 60 for a notch. invert: electrodes were swapped. grid: 128 Hz points of
    the beat window round R. context: length of `BeatContext.context` in 128 Hz samples, 0 for none.
    """

    def __init__(
        self,
        fs: float,
        *,
        mains: int | None = None,
        invert: bool = False,
        grid: NDArray[np.int64] = BEAT_GRID,
        context: int = 0,
    ) -> None:
        self.fs = check_rate(fs)
        self._sign = -1.0 if invert else 1.0
        self._band = monitoring_band(self.fs, mains)
        self._detector = RPeakDetector(self.fs)
        self._window = WindowSampler(self.fs, grid)
        self._r_index = int(np.flatnonzero(grid == 0)[0])
        self._context = WindowSampler(self.fs, np.arange(grid[-1] - context + 1, grid[-1] + 1)) if context else None
        reach = max(self._window.before, self._context.before if self._context else 0)
        # A beat may wait for its window, and may be found by search-back some seconds late.
        self._signal = History(reach + round(6.0 * self.fs))
        self._flat = FlatLine(self.fs)
        self._pending: deque[RPeak] = deque()
        self._rr_memory = RRMemory()
        self._windows: deque[NDArray[np.float32]] = deque(maxlen=TEMPLATE_BEATS)
        self._amplitudes: deque[float] = deque(maxlen=AMPLITUDE_BEATS)
        self._last_r: int | None = None
        self._flat_ends: deque[int] = deque()  # places that no RR interval may span
        self._last_ready = 0
        self._unusable = 0  # samples of the present run of NaN not yet reported

    @property
    def position(self) -> int:
        """Number of the next sample, lost ones counted."""
        return self._signal.stop

    def push(self, samples: NDArray[np.float64]) -> list[Item]:
        """Take samples (n,) in mV; NaN marks unusable ones. Gives what became certain, in the order it did."""
        items: list[Item] = []
        if not samples.size:
            return items
        finite = np.isfinite(samples)
        edges = np.flatnonzero(finite[1:] != finite[:-1]) + 1
        for start, stop in zip((0, *edges), (*edges, samples.size), strict=True):
            if finite[start]:
                self._report_unusable(items)
                piece = round(_PIECE_S * self.fs)
                for at in range(start, stop, piece):
                    self._take(samples[at : min(at + piece, stop)], items)
            else:
                self._skip_unusable(int(stop - start), items)
        return items

    def gap(self, lost: int | None, reason: str) -> list[Item]:
        """Samples that never came: `lost` of them, None where nobody knows. Nothing is carried across but habits."""
        items: list[Item] = []
        self._report_unusable(items)
        start = self.position
        self._break(start + (lost or 0), items)
        items.append(Gap(start, start / self.fs, lost, reason))
        return items

    def flush(self) -> list[Item]:
        """What is left when the signal has ended; beats without their full window come out as not complete."""
        items: list[Item] = []
        self._report_unusable(items)
        self._break(self.position, items)
        return items

    # -- samples

    def _take(self, x: NDArray[np.float64], items: list[Item]) -> None:
        out: list[tuple[int, Item]] = list(self._flat.process(x, self.position))
        self._flat_ends += [at for at, _ in out]
        y = self._band.process(np.asarray(self._sign * x, np.float64))
        self._signal.append(y)
        self._pending += self._detector.process(y)
        while self._pending and self._pending[0].sample + self._window.after < self.position:
            beat = self._complete(self._pending.popleft())
            out.append((beat.ready_at, beat))
        if len(out) > 1:
            out.sort(key=lambda pair: pair[0])
        items += [item for _, item in out]

    def _skip_unusable(self, n: int, items: list[Item]) -> None:
        if not self._unusable:
            self._break(self.position, items)
        limit = round(_UNUSABLE_REPORT_S * self.fs)
        while n:
            step = min(n, limit - self._unusable)
            self._unusable += step
            self._restart(self.position + step)
            n -= step
            if self._unusable == limit:
                self._report_unusable(items)
                self._unusable = 0

    def _report_unusable(self, items: list[Item]) -> None:
        if self._unusable:
            start = self.position - self._unusable
            items.append(Gap(start, start / self.fs, self._unusable, UNUSABLE))
            self._unusable = 0

    def _break(self, resume_at: int, items: list[Item]) -> None:
        """The signal ends here and goes on at `resume_at`: give out what is pending, carry no signal and no RR over."""
        self._pending += self._detector.flush()
        items += [self._complete(peak) for peak in self._pending]
        self._pending.clear()
        self._restart(resume_at)

    def _restart(self, at: int) -> None:
        self._signal.restart(at)
        self._band.reset()
        self._detector.restart(at)
        self._flat.restart()
        self._last_r = None

    # -- beats

    def _complete(self, peak: RPeak) -> BeatContext:
        complete = peak.sample + self._window.after < self.position
        ready = max(peak.known_at, min(peak.sample + self._window.after + 1, self.position), self._last_ready)
        self._last_ready = ready
        window = self._window.read(self._stretch(peak.sample, self._window))
        near = window[self._r_index - _NEAR_R : self._r_index + _NEAR_R + 1]
        own = float(np.abs(near).max())
        template = np.median(self._windows, axis=0) if self._windows else window
        amplitude = float(np.median(self._amplitudes)) if self._amplitudes else own
        rr_s = self._rr_to(peak.sample)
        rr_features, rr_sequence = self._rr_memory.add(rr_s)
        if complete:
            self._windows.append(window)
            self._amplitudes.append(own)
        return BeatContext(
            sample=peak.sample,
            known_at=peak.known_at,
            ready_at=ready,
            search_back=peak.search_back,
            complete=complete,
            rr_s=rr_s,
            window=window,
            template=np.asarray(template, np.float32),
            amplitude=amplitude,
            rr_features=rr_features,
            rr_sequence=rr_sequence,
            quality=self._quality(window, max(own, 1e-3)) if complete else 0.0,
            context=(
                self._context.read(self._stretch(peak.sample, self._context))
                if self._context
                else np.zeros(0, np.float32)
            ),
        )

    def _rr_to(self, sample: int) -> float | None:
        last, self._last_r = self._last_r, sample
        spans_flat = False
        while self._flat_ends and self._flat_ends[0] <= sample:
            spans_flat |= self._flat_ends.popleft() > (last or 0)
        return None if last is None or spans_flat else (sample - last) / self.fs

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

    def _quality(self, window: NDArray[np.float32], amplitude: float) -> float:
        """How smooth the beat is away from its QRS, where only noise is rough; a heuristic, not a probability."""
        bends = np.abs(np.diff(window, 2))
        away = np.concatenate((bends[: self._r_index - 10], bends[self._r_index + 14 :]))
        roughness = float(np.median(away)) / amplitude
        return 1.0 / (1.0 + (roughness / _ROUGHNESS) ** 2)
