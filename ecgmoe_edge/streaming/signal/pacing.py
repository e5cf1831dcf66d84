"""Pacing spikes: recognised in the raw signal of each lead by slope and width, reported, and taken out of the signal.

A spike is a steep step out of a quiet signal that is back near where it was within 4 ms (two samples at least). It is
replaced by a straight line, so that neither the filters nor a beat's window contain it. Whether a steep step begins a
spike is known a few samples later. Until then the samples wait: nothing else is delayed, and what becomes certain by a
sample that waits comes out, with its true delay, when the waiting ends.

The least rate is 250 Hz, where a spike of 1 ms is one sample or two of a fraction of its height; from 500 Hz on spikes
stand clear of everything that a heart does.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.streaming.signal.ordered_sum import ordered_sum

LEAST_RATE_HZ = 250.0

_WIDTH_S = 0.004  # of a spike at most
_LEAST_STEP_MV = 0.2  # from one sample to the next
_QUIET_S = 0.040  # before it ...
_CONTRAST = 4.0  # in which no step had more than this part of the spike's first
_LEFT, _BEYOND = 0.35, 0.8  # of its height may be left after it, or lie on the other side: electrodes stay polarised

TAIL_S = 0.08  # after a spike that are looked at, or up to where the energy peaks
_TAIL_TIMES_S = (0.004, 0.008, 0.015, 0.030, 0.060)  # within which a tail may decay
_TAIL_REST = 0.12  # RMS of what is no decay, over the tail's height

R_AFTER_SPIKE_S = 0.030  # an R peak so soon after a spike may be its tail
COMPLEX_END_S = 0.18  # after a spike: up to there complex and tail are looked at
_COMPLEX_S, _COMPLEX_STEP_S = (0.035, 0.15), 0.005  # where R of a paced complex may be
_BELL_S = 0.025  # standard deviation of a bell like its largest wave
_LARGE_TAIL = 0.4  # times the complex's height
_FIT_REST = 0.35  # RMS of what the fit leaves, over that of the signal


@dataclass(frozen=True)
class Spike:
    """One spike of one lead."""

    lead: int
    sample: int  # its first
    width: int  # samples
    amplitude_mv: float  # with its sign


class SpikeFilter:
    """Takes the spikes out of one lead.

    number: of the lead. fs: Hz, `LEAST_RATE_HZ` at least.
    """

    def __init__(self, number: int, fs: float) -> None:
        self._number = number
        self._width = max(2, round(_WIDTH_S * fs))
        self._quiet = round(_QUIET_S * fs)
        self.restart(0)

    def restart(self, at: int) -> None:
        """A new signal begins at sample `at`."""
        self._at = at  # of the first sample that is not decided yet
        self._past = np.empty(0)  # the last decided samples, without spikes
        self._open = np.empty(0)  # samples that may be a spike
        self._ready = np.empty(0)  # decided and not yet taken
        self.spikes: list[Spike] = []
        self._waits: list[int] = []  # samples that had to wait, of the last call ...
        self._arrived: list[int] = []  # ... and the samples that had arrived when each was decided, in order

    @property
    def ready(self) -> int:
        """Samples that are decided and not yet taken."""
        return self._ready.size

    @property
    def waited(self) -> bool:
        """Whether any sample had to wait, but those forgotten."""
        return bool(self._waits)

    @property
    def length(self) -> int:
        """Samples that it holds at most: the last decided ones, and those that may be a spike."""
        return self._quiet + 1 + self._width + 1

    def forget(self, stop: int) -> None:
        """Forget what waited until no more than `stop` samples had arrived."""
        if self._waits:
            k = bisect_right(self._arrived, stop)
            self._waits, self._arrived = self._waits[k:], self._arrived[k:]

    def take(self, count: int) -> NDArray[np.float64]:
        """The next `count` samples without spikes."""
        taken, self._ready = self._ready[:count], self._ready[count:]
        return taken

    def process(self, x: NDArray[np.float64], *, last: bool = False) -> None:
        """Decide on samples (n,), mV; `last`: no more come, and what is open is no spike."""
        if self._open.size:
            x = np.concatenate((self._open, x))
        k = self._past.size
        z = np.concatenate((self._past, x))
        with np.errstate(invalid="ignore"):
            steps = z[1:] - z[:-1]
        np.abs(steps, out=steps)
        if not steps.max(initial=0.0) < np.inf:  # unusable samples begin no spike
            steps[~(steps < np.inf)] = 0.0
        steep = (steps[max(k - 1, 0) :] >= _LEAST_STEP_MV).nonzero()[0] + max(k, 1)  # in z
        stop = self._decide(z, steps, steep, last) if steep.size else z.size
        self._open = z[stop:]
        decided = z[k:stop]
        self._ready = np.concatenate((self._ready, decided)) if self._ready.size else decided
        self._at += decided.size
        self._past = z[max(0, stop - self._quiet - 1) : stop]

    def _decide(self, z: NDArray[np.float64], steps: NDArray[np.float64], steep: NDArray[np.int64], last: bool) -> int:
        """Take the spikes out of `z`; gives the place of the first sample that is not decided.

        steps: |z[1:] - z[:-1]|. steep: places in `z` of those that may begin a spike.
        """
        origin = self._at - self._past.size  # sample number of z[0]
        z_size, width = z.size, self._width
        alone = self._are_alone(steps, steep)
        if not alone.any():  # steps of a QRS complex, or of noise
            return z_size
        # After how many samples each is back; most steps of a QRS complex never are.
        before = z[steep - 1]
        back_after = np.full(steep.size, width + 1)
        for w in range(width, 0, -1):
            spike = z[np.minimum(steep[:, None] + np.arange(w), z_size - 1)] - before[:, None]
            top = spike[np.arange(steep.size), np.abs(spike).argmax(axis=1)]
            after = (z[np.minimum(steep + w, z_size - 1)] - before) * np.sign(top)
            inside = steep + w < z_size
            is_back = (after <= _LEFT * np.abs(top)) & (after >= -_BEYOND * np.abs(top))
            back_after[inside & is_back] = w
        open_ones = (back_after > width) & (steep + width >= z_size) & (not last)
        stop, past_end = z_size, 0  # past_end: of the last spike, in z
        inner = np.zeros(steep.size, bool)  # steps within a spike
        for k in ((back_after <= width) | open_ones).nonzero()[0].tolist():
            place, w = int(steep[k]), int(back_after[k])
            if place < past_end or not alone[k]:
                continue
            if w > width:
                stop = place
                break
            base = z[place - 1]
            spike = z[place : place + w] - base
            self.spikes.append(Spike(self._number, origin + place, w, float(spike[int(np.abs(spike).argmax())])))
            z[place : place + w] = base + (z[place + w] - base) * np.arange(1, w + 1) / (w + 1)
            past_end = place + w + 1
            steps[place - 1 : past_end - 1] = np.abs(z[place:past_end] - z[place - 1 : past_end - 1])
            inner |= (steep > place) & (steep < past_end)
            near = ((steep >= past_end) & (steep <= past_end + self._quiet)).nonzero()[0]
            alone[near] = self._are_alone(steps, steep[near])
        waited = alone & (steep < stop) & ~inner
        arrived = np.minimum(steep + np.minimum(back_after, width) + 1, z_size)[waited]
        self._waits += (origin + steep[waited]).tolist()
        self._arrived += (origin + np.maximum.accumulate(arrived)).tolist()
        return stop

    def _are_alone(self, steps: NDArray[np.float64], steep: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether the signal was quiet before each of the places `steep`."""
        own = steps[steep - 1]
        alone = (steep > self._quiet) & (_CONTRAST * steps[np.maximum(steep - 2, 0)] <= own)
        likely = alone.nonzero()[0]
        if not likely.size:
            return np.asarray(alone)
        before = steps[(steep[likely] - 1 - self._quiet)[:, None] + np.arange(self._quiet)]
        alone[likely] = _CONTRAST * before.max(axis=1) <= own[likely]
        return np.asarray(alone)

    def arrival(self, count: int) -> int:
        """Samples that had arrived when the first `count` of them were decided."""
        k = bisect_left(self._waits, count)
        return max(count, self._arrived[k - 1]) if k else count


def is_tail(after: NDArray[np.float64], fs: float) -> bool:
    """Whether a signal (n,), mV from its level before a spike, does nothing after it but decay.

    That is the polarised electrode, and no QRS complex. fs in Hz.
    """
    t = np.arange(after.size) / fs
    for time_s in _TAIL_TIMES_S:
        decay = np.exp(-t / time_s)
        height = float(ordered_sum(after * decay) / ordered_sum(decay * decay))
        rest = after - height * decay
        if float(ordered_sum(rest * rest)) <= (_TAIL_REST * height) ** 2 * after.size:
            return True
    return False


def r_on_tail(after: NDArray[np.float64], fs: float) -> int | None:
    """Where in `after` (n,), mV from its level before a spike, a paced QRS complex stands out of a large tail.

    Tail (a decay) and complex (a bell) are fitted together, for each of some times and places; what is left of the
    signal without the tail is farthest from zero at R. None where there is no large tail, or no such complex. fs in Hz.
    """
    t = np.arange(after.size) / fs
    places = np.arange(_COMPLEX_S[0], min(_COMPLEX_S[1], float(t[-1]) - _BELL_S), _COMPLEX_STEP_S)
    bells = np.exp(-0.5 * ((t - places[:, None]) / _BELL_S) ** 2)
    bell_power, bell_part = ordered_sum(bells * bells, 1), ordered_sum(bells * after, 1)
    best: tuple[float, float, float, int] | None = None  # what is left, height of the tail, its time, place
    power = float(ordered_sum(after * after))
    for time_s in _TAIL_TIMES_S:
        decay = np.exp(-t / time_s)
        decay_power, decay_part = float(ordered_sum(decay * decay)), float(ordered_sum(decay * after))
        both = ordered_sum(bells * decay, 1)
        determinant = decay_power * bell_power - both * both
        tails = (decay_part * bell_power - bell_part * both) / determinant
        heights = (bell_part * decay_power - decay_part * both) / determinant
        left = power - tails * decay_part - heights * bell_part
        k = int(left.argmin()) if left.size else 0
        if left.size and abs(tails[k]) >= _LARGE_TAIL * abs(heights[k]) and (best is None or left[k] < best[0]):
            best = float(left[k]), float(tails[k]), time_s, k
    if best is None or best[0] > _FIT_REST**2 * power:
        return None
    _, tail, time_s, k = best
    near = np.abs(t - places[k]) <= _BELL_S
    without = np.where(near, np.abs(after - tail * np.exp(-t / time_s)), 0.0)
    return int(without.argmax())


class PacingFilter:
    """Takes the spikes out of all leads; fs in Hz. Below `LEAST_RATE_HZ` everything passes as it is."""

    def __init__(self, fs: float, leads: int) -> None:
        self._filters = [SpikeFilter(k, fs) for k in range(leads)] if fs >= LEAST_RATE_HZ else []
        self.restart(0)

    def restart(self, at: int) -> None:
        """A new signal begins at sample `at` on all leads."""
        for each in self._filters:
            each.restart(at)
        self._stop = at  # samples given
        self.waiting = 0  # that came and are not given yet

    def process(self, x: NDArray[np.float64], *, last: bool = False) -> NDArray[np.float64]:
        """Samples (leads, n) without spikes, as far as they are decided; `last`: all that waits, as it is."""
        if not self._filters:
            return x
        for each, samples in zip(self._filters, x, strict=True):
            each.forget(self._stop)
            each.process(samples, last=last)
        count = min(each.ready for each in self._filters)
        self.waiting += x.shape[1] - count
        self._stop += count
        if len(self._filters) == 1:
            return self._filters[0].take(count)[None]
        return np.stack([each.take(count) for each in self._filters])

    def spikes(self, stop: int) -> list[Spike]:
        """Spikes that begin before sample `stop`, in order; each is given once."""
        found: list[Spike] = []
        for each in self._filters:
            while each.spikes and each.spikes[0].sample < stop:
                found.append(each.spikes.pop(0))
        return sorted(found, key=_place) if len(found) > 1 else found

    @property
    def delays(self) -> bool:
        """Whether any of the samples given last had to wait."""
        return any(each.waited for each in self._filters)

    def arrival(self, count: int) -> int:
        """Samples that had arrived when the first `count` of them were given."""
        return max([count, *(each.arrival(count) for each in self._filters)])


def _place(spike: Spike) -> int:
    return spike.sample
