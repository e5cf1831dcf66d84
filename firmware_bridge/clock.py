"""The device's clock beside this machine's: how far the two drift apart, and when a sample was measured.

A link can delay what a device sends, never hurry it. So of each stretch of time only the quickest arrival counts, and a
straight line through these is the relation of the two clocks. What is left in it is the constant part of the delay.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ecgmoe_edge.firmware_bridge.items import ClockReading, Samples

BUCKETS = 64  # stretches that are kept; when they are full, neighbours join, so that memory stays constant
FIRST_BUCKET_S = 1.0
SEEN_AT_LEAST_S = 30.0  # before a drift is told
READ_EVERY_S = 60.0
NO_CLOCK_PPM = 100_000.0


@dataclass
class _Quickest:
    """The arrival of a stretch that was delayed least."""

    device_s: float
    delay_s: float  # host time less device time; its zero means nothing


class ClockFit:
    """Takes pairs of device time and arrival on this machine, both in s; device time must not go backwards."""

    def __init__(self) -> None:
        self._width_s = FIRST_BUCKET_S
        self._buckets: list[_Quickest] = []
        self._first_s: float | None = None  # device time at which the first bucket began
        self._latest_s = 0.0
        self._said = -np.inf  # the latest host time that was given out

    def restart(self) -> None:
        """The device's clock began anew, or jumped; what was given out stays the limit for what comes."""
        self._buckets.clear()
        self._width_s = FIRST_BUCKET_S
        self._first_s = None

    def add(self, device_s: float, arrived_s: float) -> None:
        """A sample measured at `device_s` by the device's clock arrived at `arrived_s` by this machine's."""
        if self._first_s is None:
            self._first_s = self._latest_s = device_s
        if device_s < self._latest_s:
            return
        self._latest_s = device_s
        place = int((device_s - self._first_s) / self._width_s)
        while place >= BUCKETS:
            self._widen()
            place = int((device_s - self._first_s) / self._width_s)
        delay_s = arrived_s - device_s
        last = self._buckets[-1] if self._buckets else None
        if last is None or int((last.device_s - self._first_s) / self._width_s) != place:
            self._buckets.append(_Quickest(device_s, delay_s))
        elif delay_s < last.delay_s:
            self._buckets[-1] = _Quickest(device_s, delay_s)

    @property
    def drift_ppm(self) -> float | None:
        """What the device's clock gains on this machine's, in millionths; None until enough was seen."""
        line = self._line()
        return None if line is None else 1e6 * (1.0 / (1.0 + line[0]) - 1.0)

    def host_time(self, device_s: float) -> float:
        """When this machine's clock stood at device time `device_s`; never earlier than what was given out before."""
        if not self._buckets:
            raise ValueError("no arrival yet")
        line = self._line()
        if line is None:
            delay_s = min(bucket.delay_s for bucket in self._buckets)
        else:
            slope, middle_s, delay_there_s = line
            delay_s = delay_there_s + slope * (device_s - middle_s)
        self._said = max(self._said, device_s + delay_s)
        return float(self._said)

    def _line(self) -> tuple[float, float, float] | None:
        """Slope of the delay, and a point on it: device time and delay, s.

        Of all lines that no arrival undercuts, the one nearest to them: it lies on the edge of the lower hull of the
        arrivals above or below their middle. A driver that hands over what came in a second or two at a time delays
        most of it by as much, and the hull does not see these.
        """
        whole = self._buckets[:-1]  # the last is not full, and its quickest may be slow
        if len(whole) < 3 or whole[-1].device_s - whole[0].device_s < SEEN_AT_LEAST_S:
            return None
        middle_s = sum(bucket.device_s for bucket in whole) / len(whole)
        hull = _lower_hull(whole)
        first, last = next(pair for pair in pairwise(hull) if pair[1].device_s >= middle_s)
        slope = (last.delay_s - first.delay_s) / (last.device_s - first.device_s)
        return slope, middle_s, first.delay_s + slope * (middle_s - first.device_s)

    def _widen(self) -> None:
        assert self._first_s is not None  # noqa: S101 - for mypy; there are buckets
        self._width_s *= 2
        joined: list[_Quickest] = []
        for bucket in self._buckets:
            place = int((bucket.device_s - self._first_s) / self._width_s)
            if joined and int((joined[-1].device_s - self._first_s) / self._width_s) == place:
                if bucket.delay_s < joined[-1].delay_s:
                    joined[-1] = bucket
            else:
                joined.append(bucket)
        self._buckets = joined


def _lower_hull(arrivals: Sequence[_Quickest]) -> list[_Quickest]:
    """Those between which straight lines run that no other lies below; in order of device time, as given."""
    hull: list[_Quickest] = []
    for arrival in arrivals:
        while len(hull) > 1 and _is_above(hull[-1], hull[-2], arrival):
            hull.pop()
        hull.append(arrival)
    return hull


def _is_above(middle: _Quickest, before: _Quickest, after: _Quickest) -> bool:
    """Whether an arrival lies on or above the line from the one before it to the one after it."""
    rise = (after.delay_s - before.delay_s) * (middle.device_s - before.device_s)
    return (middle.delay_s - before.delay_s) * (after.device_s - before.device_s) >= rise


class StreamClock:
    """Follows the clock of a stream's device as its samples arrive, and reads it now and then."""

    def __init__(self) -> None:
        self._fit = ClockFit()
        self._due_at = 0.0
        self._unix_offset_s = time.time() - time.monotonic()  # once: the time of day may be set meanwhile

    @property
    def drift_ppm(self) -> float | None:
        """What the device's clock gains on this machine's, in millionths; None until enough was seen.

        None too where it is no clock: a recording that is played faster than it was made.
        """
        ppm = self._fit.drift_ppm
        return None if ppm is None or abs(ppm) > NO_CLOCK_PPM else ppm

    @property
    def times_as_fast(self) -> float | None:
        """The device's rate over the rate that is believed, by this machine's clock; None until enough was seen."""
        ppm = self._fit.drift_ppm
        return None if ppm is None else 1.0 + ppm / 1e6

    def arrived(self, samples: Samples, fs: float) -> ClockReading | None:
        """Samples at `fs` Hz arrived just now. A reading for the first at the start, each minute, and after a break.

        A device without a clock has its count of samples for one.
        """
        now = time.monotonic()
        first_s = samples.first_index / fs if samples.device_time_s is None else samples.device_time_s
        self._fit.add(first_s + (samples.values.shape[1] - 1) / fs, now)
        if now < self._due_at:
            return None
        self._due_at = now + READ_EVERY_S
        return ClockReading(self._fit.host_time(first_s) + self._unix_offset_s, self.drift_ppm)

    def broken_off(self, device_restarted: bool = False) -> None:
        """The stream was interrupted; `device_restarted`: and nobody knows for how long, by the device's clock."""
        self._due_at = 0.0
        if device_restarted:
            self._fit.restart()
