"""Compares the device's clock with this machine's clock: the drift between them, and the time of each sample.

A link can delay data but never deliver it early. So only the fastest arrival of each time interval counts. A straight
line through these arrivals relates the two clocks; what remains is the constant part of the link's delay.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ecgmoe_edge.firmware_bridge.items import ClockReading, Samples

BUCKETS = 64  # time intervals that are kept; when all are used, neighbours are merged, so that memory stays constant
FIRST_BUCKET_S = 1.0
MIN_SPAN_S = 30.0  # no drift is reported before this much time has been observed
READING_EVERY_S = 60.0
MAX_CLOCK_PPM = 100_000.0  # a larger drift is no clock error: the stream is a recording replayed at another speed


@dataclass
class _FastestArrival:
    """The arrival with the shortest delay in one time interval."""

    device_s: float
    delay_s: float  # host time minus device time; only differences are meaningful


class ClockFit:
    """Fits a line to pairs of device time and arrival time on this machine, in s. Device time must not decrease."""

    def __init__(self) -> None:
        self._width_s = FIRST_BUCKET_S
        self._buckets: list[_FastestArrival] = []
        self._first_s: float | None = None  # device time at the start of the first interval
        self._last_device_s = 0.0
        self._last_host_s = -np.inf  # latest host time that was returned

    def restart(self) -> None:
        """Start a new fit: the device's clock restarted or jumped. `host_time` still never goes back."""
        self._buckets.clear()
        self._width_s = FIRST_BUCKET_S
        self._first_s = None

    def add(self, device_s: float, arrived_s: float) -> None:
        """Add the arrival of one sample.

        Args:
            device_s: when the sample was measured, by the device's clock, s.
            arrived_s: when it arrived, by this machine's clock, s.
        """
        if self._first_s is None:
            self._first_s = self._last_device_s = device_s
        if device_s < self._last_device_s:
            return
        self._last_device_s = device_s
        index = int((device_s - self._first_s) / self._width_s)
        while index >= BUCKETS:
            self._widen()
            index = int((device_s - self._first_s) / self._width_s)
        delay_s = arrived_s - device_s
        last = self._buckets[-1] if self._buckets else None
        if last is None or int((last.device_s - self._first_s) / self._width_s) != index:
            self._buckets.append(_FastestArrival(device_s, delay_s))
        elif delay_s < last.delay_s:
            self._buckets[-1] = _FastestArrival(device_s, delay_s)

    @property
    def drift_ppm(self) -> float | None:
        """How much faster the device's clock runs than this machine's, ppm; None until enough time has passed."""
        line = self._line()
        return None if line is None else 1e6 * (1.0 / (1.0 + line[0]) - 1.0)

    def host_time(self, device_s: float) -> float:
        """Convert device time to this machine's time, both in s. The result never decreases from call to call.

        Raises:
            ValueError: no arrival has been added yet.
        """
        if not self._buckets:
            raise ValueError("host_time needs at least one arrival")
        line = self._line()
        if line is None:
            delay_s = min(bucket.delay_s for bucket in self._buckets)
        else:
            slope, middle_s, delay_at_middle_s = line
            delay_s = delay_at_middle_s + slope * (device_s - middle_s)
        self._last_host_s = max(self._last_host_s, device_s + delay_s)
        return float(self._last_host_s)

    def _line(self) -> tuple[float, float, float] | None:
        """Slope of the delay over device time, and one point of the line (device time, delay), in s.

        Of all lines with no arrival below them, this is the one nearest to the arrivals: the edge of their lower hull
        at their mean device time. A driver that delivers data in batches of a second or two delays most arrivals by as
        much; the hull ignores these.
        """
        complete = self._buckets[:-1]  # the last interval is still open: its fastest arrival may yet come
        if len(complete) < 3 or complete[-1].device_s - complete[0].device_s < MIN_SPAN_S:
            return None
        middle_s = sum(bucket.device_s for bucket in complete) / len(complete)
        hull = _lower_hull(complete)
        first, last = next(pair for pair in pairwise(hull) if pair[1].device_s >= middle_s)
        slope = (last.delay_s - first.delay_s) / (last.device_s - first.device_s)
        return slope, middle_s, first.delay_s + slope * (middle_s - first.device_s)

    def _widen(self) -> None:
        assert self._first_s is not None  # noqa: S101 - for mypy; there are buckets
        self._width_s *= 2
        joined: list[_FastestArrival] = []
        for bucket in self._buckets:
            index = int((bucket.device_s - self._first_s) / self._width_s)
            if joined and int((joined[-1].device_s - self._first_s) / self._width_s) == index:
                if bucket.delay_s < joined[-1].delay_s:
                    joined[-1] = bucket
            else:
                joined.append(bucket)
        self._buckets = joined


def _lower_hull(arrivals: Sequence[_FastestArrival]) -> list[_FastestArrival]:
    """The lower convex hull of the arrivals, which come in order of device time."""
    hull: list[_FastestArrival] = []
    for arrival in arrivals:
        while len(hull) > 1 and _is_above(hull[-1], hull[-2], arrival):
            hull.pop()
        hull.append(arrival)
    return hull


def _is_above(middle: _FastestArrival, before: _FastestArrival, after: _FastestArrival) -> bool:
    """Whether `middle` lies on or above the line from `before` to `after`."""
    rise = (after.delay_s - before.delay_s) * (middle.device_s - before.device_s)
    return (middle.delay_s - before.delay_s) * (after.device_s - before.device_s) >= rise


class StreamClock:
    """Follows the device's clock while its samples arrive, and returns a reading from time to time."""

    def __init__(self) -> None:
        self._fit = ClockFit()
        self._next_reading_at = 0.0
        # Read once, because the time of day may be set while the stream runs
        self._unix_offset_s = time.time() - time.monotonic()

    @property
    def drift_ppm(self) -> float | None:
        """How much faster the device's clock runs than this machine's, ppm; None until enough time has passed.

        None also for a recording that is replayed at another speed.
        """
        ppm = self._fit.drift_ppm
        return None if ppm is None or abs(ppm) > MAX_CLOCK_PPM else ppm

    @property
    def rate_ratio(self) -> float | None:
        """True sampling rate of the device over its nominal rate, by this machine's clock; None until it is known."""
        ppm = self._fit.drift_ppm
        return None if ppm is None else 1.0 + ppm / 1e6

    def on_samples(self, samples: Samples, fs: float) -> ClockReading | None:
        """Note the arrival of samples. A device without a clock is timed by its sample count.

        Args:
            samples: they have just arrived.
            fs: the nominal sampling rate, Hz.

        Returns:
            A reading for the first of these samples: at the start, every minute and after an interruption; else None.
        """
        now = time.monotonic()
        first_s = samples.first_index / fs if samples.device_time_s is None else samples.device_time_s
        self._fit.add(first_s + (samples.values.shape[1] - 1) / fs, now)
        if now < self._next_reading_at:
            return None
        self._next_reading_at = now + READING_EVERY_S
        return ClockReading(self._fit.host_time(first_s) + self._unix_offset_s, self.drift_ppm)

    def on_interruption(self, device_restarted: bool = False) -> None:
        """Note an interruption. `device_restarted`: by the device's clock its length is unknown."""
        self._next_reading_at = 0.0
        if device_restarted:
            self._fit.restart()
