"""Pacing spikes: detected in the raw signal of each lead by slope and width, reported, and removed from the signal.

A spike is a steep step out of a quiet signal that returns close to its level within 4 ms (at least two samples). It is
replaced by a straight line, so that neither the filters nor a beat window contain it. Whether a steep step begins a
spike is known a few samples later. Until then the samples since the step wait; nothing else is delayed. What is
detected in samples that waited is reported with its true delay.

The lowest sampling rate is 250 Hz. There, a spike of 1 ms is one sample, or two of a fraction of its height. From
500 Hz on, spikes are clearly different from every wave of the heart.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.streaming.signal.decision_times import DecisionTimes
from ecgmoe_edge.streaming.signal.sums import ordered_sum

LEAST_RATE_HZ = 250.0

WIDTH_S = 0.004  # longest spike
LEAST_STEP_MV = 0.2  # smallest difference of two samples that can begin a spike
QUIET_S = 0.040  # time before a spike in which the signal must be quiet ...
CONTRAST = 4.0  # ... that is, the first step of the spike is at least so many times each step in that time
# After a spike the signal is back if it is off its level by at most 0.35 of the spike's height, or by at most 0.8 on
# the opposite side: an electrode stays polarised for a while.
BACK_SAME_SIDE, BACK_OPPOSITE_SIDE = 0.35, 0.8

TAIL_S = 0.08  # shortest time after a spike that is examined for a tail: the discharge of a polarised electrode
TAIL_TIMES_S = (0.004, 0.008, 0.015, 0.030, 0.060)  # time constants tried for the decay of a tail
TAIL_REST = 0.12  # largest RMS of the difference from the decay, as a fraction of the tail's height

R_AFTER_SPIKE_S = 0.030  # an R peak closer than this to a spike may be the spike's tail
COMPLEX_END_S = 0.18  # end of the time after a spike in which the paced QRS complex and the tail are examined
COMPLEX_S, COMPLEX_STEP_S = (0.035, 0.15), 0.005  # times after a spike tried for the R peak of a paced complex
BELL_S = 0.025  # standard deviation of a bell curve like the largest wave of a paced complex
LARGE_TAIL = 0.4  # smallest height of a tail that can hide the complex, as a fraction of the complex's height
FIT_REST = 0.35  # largest RMS of what the fit does not explain, as a fraction of the RMS of the signal

_BY_SAMPLE = attrgetter("sample")


@dataclass(frozen=True)
class Spike:
    """One spike in one lead."""

    lead: int
    sample: int  # first sample
    width: int  # samples
    amplitude_mv: float  # with its sign


class SpikeFilter:
    """Removes the spikes from one lead.

    Args:
        number: number of the lead.
        fs: sampling rate, Hz, at least `LEAST_RATE_HZ`.
    """

    def __init__(self, number: int, fs: float) -> None:
        self._number = number
        self.width = max(2, round(WIDTH_S * fs))
        self.quiet = round(QUIET_S * fs)
        self.times = DecisionTimes()
        self.restart(0)

    def restart(self, at: int) -> None:
        """Start a new signal at sample `at`."""
        self._at = at  # number of the first sample that is not decided yet
        self._past = np.empty(0)  # the last decided samples, without spikes
        self._open = np.empty(0)  # samples that may be a spike
        self._ready = np.empty(0)  # decided samples that `take` has not returned yet
        self.spikes: list[Spike] = []
        self.times.clear()

    @property
    def ready(self) -> int:
        """Number of samples that `take` can return."""
        return self._ready.size

    @property
    def length(self) -> int:
        """Largest number of samples in memory: the last decided ones, and those that may be a spike."""
        return self.quiet + 1 + self.width + 1

    def take(self, count: int) -> NDArray[np.float64]:
        """Return the next `count` samples without spikes."""
        taken, self._ready = self._ready[:count], self._ready[count:]
        return taken

    def process(self, x: NDArray[np.float64], *, last: bool = False) -> None:
        """Decide on new samples.

        Args:
            x: samples (n,) in mV.
            last: no more samples will come, so an open step is no spike.
        """
        if self._open.size:
            x = np.concatenate((self._open, x))
        k = self._past.size
        z = np.concatenate((self._past, x))
        with np.errstate(invalid="ignore"):
            steps = z[1:] - z[:-1]
        np.abs(steps, out=steps)
        if not steps.max(initial=0.0) < np.inf:  # unusable samples begin no spike
            steps[~(steps < np.inf)] = 0.0
        steep = (steps[max(k - 1, 0) :] >= LEAST_STEP_MV).nonzero()[0] + max(k, 1)  # index in z of the later sample
        stop = self._decide(z, steps, steep, last) if steep.size else z.size
        self._open = z[stop:]
        decided = z[k:stop]
        self._ready = np.concatenate((self._ready, decided)) if self._ready.size else decided
        self._at += decided.size
        self._past = z[max(0, stop - self.quiet - 1) : stop]

    def _decide(self, z: NDArray[np.float64], steps: NDArray[np.float64], steep: NDArray[np.int64], last: bool) -> int:
        """Remove the spikes from `z` in place.

        Args:
            z: past and new samples, mV.
            steps: |z[1:] - z[:-1]|; updated when a spike is removed.
            steep: indices in `z` of the samples after a steep step.
            last: no more samples will come.

        Returns:
            The index in `z` of the first sample that is not decided.
        """
        origin = self._at - self._past.size  # sample number of z[0]
        after_quiet = self._after_quiet(steps, steep)
        if not after_quiet.any():  # steps of a QRS complex, or of noise
            return z.size
        width = self.width
        back_after = self._back_after(z, steep)
        is_open = (back_after > width) & (steep + width >= z.size) & (not last)
        stop, spike_end = z.size, 0  # spike_end: index in z after the sample that follows the last spike
        inside = np.zeros(steep.size, bool)  # steps within a spike
        for k in ((back_after <= width) | is_open).nonzero()[0].tolist():
            first, w = int(steep[k]), int(back_after[k])
            if first < spike_end or not after_quiet[k]:
                continue
            if w > width:
                stop = first
                break
            level = z[first - 1]
            spike = z[first : first + w] - level
            self.spikes.append(Spike(self._number, origin + first, w, float(spike[int(np.abs(spike).argmax())])))
            z[first : first + w] = level + (z[first + w] - level) * np.arange(1, w + 1) / (w + 1)
            spike_end = first + w + 1
            steps[first - 1 : spike_end - 1] = np.abs(z[first:spike_end] - z[first - 1 : spike_end - 1])
            inside |= (steep > first) & (steep < spike_end)
            near = ((steep >= spike_end) & (steep <= spike_end + self.quiet)).nonzero()[0]
            after_quiet[near] = self._after_quiet(steps, steep[near])
        waited = after_quiet & (steep < stop) & ~inside
        if waited.any():
            known_at = np.minimum(steep + np.minimum(back_after, width) + 1, z.size)[waited]
            samples = steep[waited]
            self.times.add(zip((origin + samples).tolist(), (origin + known_at).tolist(), strict=True))
        return stop

    def _back_after(self, z: NDArray[np.float64], steep: NDArray[np.int64]) -> NDArray[np.int64]:
        """Number of samples after which the signal is back from each steep step; the largest width + 1 if it is not.

        Most steps of a QRS complex do not go back in so short a time.
        """
        level = z[steep - 1]
        back_after = np.full(steep.size, self.width + 1)
        for w in range(self.width, 0, -1):
            spike = z[np.minimum(steep[:, None] + np.arange(w), z.size - 1)] - level[:, None]
            top = spike[np.arange(steep.size), np.abs(spike).argmax(axis=1)]
            after = (z[np.minimum(steep + w, z.size - 1)] - level) * np.sign(top)
            size = np.abs(top)
            is_back = (after <= BACK_SAME_SIDE * size) & (after >= -BACK_OPPOSITE_SIDE * size) & (size < np.inf)
            back_after[(steep + w < z.size) & is_back] = w
        return back_after

    def _after_quiet(self, steps: NDArray[np.float64], steep: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether the signal was quiet before each of the steps at index `steep`."""
        own = steps[steep - 1]
        quiet = (steep > self.quiet) & (CONTRAST * steps[np.maximum(steep - 2, 0)] <= own)
        likely = quiet.nonzero()[0]
        if not likely.size:
            return np.asarray(quiet)
        before = steps[(steep[likely] - 1 - self.quiet)[:, None] + np.arange(self.quiet)]
        quiet[likely] = CONTRAST * before.max(axis=1) <= own[likely]
        return np.asarray(quiet)


def is_tail(after: NDArray[np.float64], fs: float) -> bool:
    """Whether the signal after a spike only decays: a polarised electrode discharges, and there is no QRS complex.

    Args:
        after: signal after the spike, (n,), mV from the level before the spike.
        fs: sampling rate, Hz.
    """
    t = np.arange(after.size) / fs
    for time_s in TAIL_TIMES_S:
        decay = np.exp(-t / time_s)
        height = float(ordered_sum(after * decay) / ordered_sum(decay * decay))
        rest = after - height * decay
        if float(ordered_sum(rest * rest)) <= (TAIL_REST * height) ** 2 * after.size:
            return True
    return False


def r_on_tail(after: NDArray[np.float64], fs: float) -> int | None:
    """Find the R peak of a paced QRS complex on a large tail.

    A tail (exponential decay) and a complex (bell curve) are fitted together by least squares, for several time
    constants of the decay and several times of the bell. The R peak is where the signal without the fitted tail is
    largest, close to the fitted bell.

    Args:
        after: signal after the spike, (n,), mV from the level before the spike.
        fs: sampling rate, Hz.

    Returns:
        The index of the R peak in `after`; None if there is no large tail or the fit is poor.
    """
    t = np.arange(after.size) / fs
    bell_times = np.arange(COMPLEX_S[0], min(COMPLEX_S[1], float(t[-1]) - BELL_S), COMPLEX_STEP_S)
    bells = np.exp(-0.5 * ((t - bell_times[:, None]) / BELL_S) ** 2)
    bell_power, bell_part = ordered_sum(bells * bells, 1), ordered_sum(bells * after, 1)
    best: tuple[float, float, float, int] | None = None  # squared error, height and time constant of the tail, bell
    power = float(ordered_sum(after * after))
    for time_s in TAIL_TIMES_S:
        decay = np.exp(-t / time_s)
        decay_power, decay_part = float(ordered_sum(decay * decay)), float(ordered_sum(decay * after))
        both = ordered_sum(bells * decay, 1)
        determinant = decay_power * bell_power - both * both
        tails = (decay_part * bell_power - bell_part * both) / determinant
        heights = (bell_part * decay_power - decay_part * both) / determinant
        error = power - tails * decay_part - heights * bell_part
        k = int(error.argmin()) if error.size else 0
        if error.size and abs(tails[k]) >= LARGE_TAIL * abs(heights[k]) and (best is None or error[k] < best[0]):
            best = float(error[k]), float(tails[k]), time_s, k
    if best is None or best[0] > FIT_REST**2 * power:
        return None
    _, tail, time_s, k = best
    near = np.abs(t - bell_times[k]) <= BELL_S
    without_tail = np.where(near, np.abs(after - tail * np.exp(-t / time_s)), 0.0)
    return int(without_tail.argmax())


class PacingFilter:
    """Removes the spikes from all leads; below `LEAST_RATE_HZ` the samples are not changed.

    Args:
        fs: sampling rate, Hz.
        leads: number of leads.
    """

    def __init__(self, fs: float, leads: int) -> None:
        self._filters = [SpikeFilter(k, fs) for k in range(leads)] if fs >= LEAST_RATE_HZ else []
        self.restart(0)

    def restart(self, at: int) -> None:
        """Start a new signal on all leads at sample `at`."""
        for each in self._filters:
            each.restart(at)
        self._stop = at  # number of the first sample that is not passed on yet
        self.waiting = 0  # number of samples that have arrived and are not passed on yet

    def process(self, x: NDArray[np.float64], *, last: bool = False) -> NDArray[np.float64]:
        """Remove the spikes from new samples.

        Args:
            x: samples (leads, n) in mV.
            last: no more samples will come, so all that waits is passed on.

        Returns:
            The samples that are decided on all leads, (leads, m).
        """
        if not self._filters:
            return x
        for each, samples in zip(self._filters, x, strict=True):
            each.times.forget(self._stop)
            each.process(samples, last=last)
        count = min(each.ready for each in self._filters)
        self.waiting += x.shape[1] - count
        self._stop += count
        if len(self._filters) == 1:
            return self._filters[0].take(count)[None]
        return np.stack([each.take(count) for each in self._filters])

    def spikes(self, stop: int) -> list[Spike]:
        """Return the spikes that begin before sample `stop`, in order, each of them once."""
        found: list[Spike] = []
        for each in self._filters:
            while each.spikes and each.spikes[0].sample < stop:
                found.append(each.spikes.pop(0))
        return sorted(found, key=_BY_SAMPLE) if len(found) > 1 else found

    @property
    def delays(self) -> bool:
        """Whether any of the samples last passed on had to wait."""
        return any(each.times for each in self._filters)

    def known_at(self, stop: int) -> int:
        """Return the number of samples that had arrived when those before `stop` were passed on."""
        return max([stop, *(each.times.known_at(stop) for each in self._filters)])
