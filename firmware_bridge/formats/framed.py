"""What decoders of framed protocols share: finding frames in any bytes, following counters, batching samples.

A protocol's module says what a frame looks like (`size_at`), what counts it (`counter_of`) and what is in it
(`unpack`); everything that must be right about losses is here, once.

Frames are weakly marked in most of these protocols: two or three fixed bytes and no check. So out of step a frame is
believed only once others follow it directly (`confirm`), and a counter that jumps is believed only once the next frame
goes on from there: one damaged counter byte would else be a loss that never was.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.firmware_bridge.items import (
    LOST_AT_RESTART,
    LOST_ON_LINK,
    LOST_WHILE_AWAY,
    MILLIVOLTS_PER_PICOVOLT,
    DeviceRestart,
    LeadOffChange,
    Lost,
    Samples,
    StreamInfo,
    WireCounts,
    WireItem,
)

MORE = -1  # of `size_at`: more bytes are needed to tell
NONE = 0  # of `size_at`: no frame begins here
LONG_RANGE = 16_384  # a counter beyond this does not wrap in a burst: one that goes back is a device that restarted


class FramedDecoder(ABC):
    """Bytes in, items out, for a protocol made of frames. Subclasses say what a frame is.

    info: rate, leads and scales of *all* channels of a frame; None until `begin` is called. pick: names for the first
    channels, "-" for one to leave out; None for all. Raises nothing on any bytes.
    """

    sync: bytes = b""  # what each frame begins with
    confirm: int = 1  # frames in a row that are needed when out of step
    counter_range: int | None = None  # the counter goes from 0 to this less one
    trusted: bool = False  # a check covers the counter, so that a jump is true
    lasting: bool = False  # the counter is long enough to tell what was lost while the port was away
    samples_per_frame: int = 1

    def __init__(self, info: StreamInfo | None, pick: tuple[str, ...] | None = None) -> None:
        self.counts = WireCounts()
        self.info: StreamInfo | None = None
        self._pick = pick
        self._rows: list[int] = []
        self._scales = np.empty((0, 1))
        self._announced: StreamInfo | None = None
        self._buffer = bytearray()
        self._in_step = False
        self._junk = 0  # bytes since the last frame that belong to none
        self._last: int | None = None  # counter of the last frame
        self._seen = False  # samples were given out
        self._held: bytes | None = None  # a frame whose counter jumped
        self._still = False  # the counter stands still
        self._unsure = False  # the counter may have wrapped since the last frame
        self._away = False  # the port was gone since the last frame
        self._batch: list[bytes] = []
        self._off = 0
        self._position = 0
        if info is not None:
            self.begin(info)

    @property
    def pending(self) -> int:
        """Bytes that wait for more."""
        return len(self._buffer)

    @abstractmethod
    def size_at(self, buffer: bytearray, at: int) -> int:
        """Bytes of the intact frame that begins at `at`; NONE if none can, MORE if that cannot be told yet."""

    @abstractmethod
    def unpack(self, frames: list[bytes]) -> tuple[NDArray[np.float64], NDArray[np.bool_] | None]:
        """Codes (channels, n) of frames in a row, 0 at 0 mV and NaN where there is none; and which are off, or None."""

    def counter_of(self, frame: bytes) -> int:
        """The frame's counter; only where `counter_range` is given."""
        raise NotImplementedError

    def ahead(self, counter: int, last: int) -> int:
        """How many frames after the one with counter `last` this one is, 1 for the next."""
        assert self.counter_range is not None  # noqa: S101 - for mypy; only called with a counter
        return (counter - last - 1) % self.counter_range + 1

    def holds_samples(self, frame: bytes) -> bool:
        """Whether it is a frame of samples; others are skipped. May learn from it."""
        return True

    def samples_in(self, frame: bytes) -> int:
        """Samples (per lead) in a frame."""
        return self.samples_per_frame

    def clock_of(self, frame: bytes) -> float | None:
        """The device's time at its first sample, s; called for each frame once, in order."""
        return None

    def skipped(self, junk: bytes) -> None:  # noqa: B027 - most have no use for it
        """Told about bytes that belong to no frame, piece by piece: a boot message may say something."""

    def begin(self, info: StreamInfo) -> None:
        """Rate, leads and scale are known."""
        names = self._pick or info.leads
        self._rows = [row for row, name in enumerate(names[: len(info.leads)]) if name != "-"]
        leads = tuple(names[row] for row in self._rows)
        self.info = replace(info, leads=leads, picovolts_per_lsb=tuple(info.picovolts_per_lsb[r] for r in self._rows))
        self._scales = np.array(self.info.picovolts_per_lsb, dtype=np.float64)[:, None] * MILLIVOLTS_PER_PICOVOLT

    def feed(self, data: bytes) -> list[WireItem]:
        """Take the bytes that came next; give the items they complete. Never raises."""
        self.counts.bytes += len(data)
        items: list[WireItem] = []
        buffer = self._buffer
        buffer += data
        at = 0
        while at < len(buffer):
            size = self.size_at(buffer, at)
            if size > 0 and not self._in_step and self.confirm > 1:
                size = self._confirmed(buffer, at, size)
            if size > 0:
                self._frame(bytes(buffer[at : at + size]), items)
                at += size
            elif size == MORE:
                break
            else:
                after = self._next_candidate(buffer, at)
                self.skipped(bytes(buffer[at:after]))
                self._junk += after - at
                self.counts.junk_bytes += after - at
                if self._in_step:
                    self.counts.bad_frames += 1
                self._in_step = False
                at = after
        del buffer[:at]
        self._flush(items)
        return items

    def interrupted(self) -> list[WireItem]:
        """The port went away: half a frame is worth nothing, and no counter reaches across."""
        items: list[WireItem] = []
        if self._held is not None:
            held, self._held = self._held, None
            self._lose(self.ahead(self.counter_of(held), self._last_counter()) - 1, items)
            self._append(held)
        self._flush(items)
        self.counts.junk_bytes += len(self._buffer)
        self._buffer.clear()
        self._junk = 0
        self._in_step = False
        self._away = self._seen
        if not self.lasting:
            self._last = None
        return items

    def silent(self, seconds: float) -> None:
        """The next hole is "at least" if the counter may have gone round meanwhile."""
        if self.counter_range is not None and self.info is not None:
            self._unsure |= seconds * self.info.fs >= self.counter_range * self.samples_per_frame

    def _next_candidate(self, buffer: bytearray, at: int) -> int:
        """Where a frame may begin, after `at`."""
        if not self.sync:
            return at + 1
        found = buffer.find(self.sync, at + 1)
        if found >= 0:
            return found
        for kept in range(min(len(self.sync) - 1, len(buffer) - at - 1), 0, -1):
            if buffer.endswith(self.sync[:kept]):
                return len(buffer) - kept
        return len(buffer)

    def _confirmed(self, buffer: bytearray, at: int, size: int) -> int:
        """`size` if enough frames follow directly, else NONE or MORE."""
        end = at + size
        for _ in range(self.confirm - 1):
            follower = self.size_at(buffer, end) if end < len(buffer) else MORE
            if follower <= 0:
                return follower
            end += follower
        return size

    def _frame(self, frame: bytes, items: list[WireItem]) -> None:
        self.counts.frames += 1
        junk, self._junk = self._junk, 0
        self._in_step = True
        if not self.holds_samples(frame):
            self.counts.unknown_frames += 1
            self._junk = junk
            return
        if self.info is None:
            self.counts.samples_before_info += self.samples_in(frame)
            return
        if self._away and not self.lasting:
            self._away = False
            self._flush(items)
            self._lose_unknown(LOST_WHILE_AWAY, items)
        if self.counter_range is None:
            if junk and self._seen:
                self._lose_junk(junk, len(frame), items)
            self._append(frame)
        else:
            self._unsure |= junk >= self.counter_range * len(frame)
            self._count(frame, items)

    def _lose_junk(self, junk: int, size: int, items: list[WireItem]) -> None:
        """Without a counter, the bytes between two frames tell how many were damaged, as long as none went missing."""
        frames = round(junk / size)
        self._flush(items)
        if frames:
            self._lose_samples(frames * self.samples_per_frame, True, items)
        else:
            self._lose_unknown(LOST_ON_LINK, items)

    def _count(self, frame: bytes, items: list[WireItem]) -> None:
        counter = self.counter_of(frame)
        if self._held is not None:
            held, self._held = self._held, None
            if counter == self.counter_of(held) and (self.counter_range or 0) <= LONG_RANGE:
                self._stand_still(held, frame, items)
                return
            jump = self.ahead(self.counter_of(held), self._last_counter())
            both = self.ahead(counter, self._last_counter())
            if both <= jump and self.ahead(counter, self.counter_of(held)) != 1:
                self.counts.bad_frames += 1  # the held counter was damaged: this one is nearer to the one before it
                self._accept(held, both - 1, items)
                self._accept(frame, 1, items)
                return
            self._accept(held, jump, items)
        step = self.ahead(counter, self._last) if self._last is not None else 1
        if step == 1 or self.trusted or (self._still and counter == self._last):
            self._still &= counter == self._last
            self._accept(frame, step if not self._still else 1, items)
        else:
            self._held = frame

    def _stand_still(self, held: bytes, frame: bytes, items: list[WireItem]) -> None:
        """A device that has just started may send many frames before its counter runs: they are no loss each."""
        self._still = True
        self._flush(items)
        self._lose_unknown(LOST_ON_LINK, items)
        self._accept(held, 1, items)
        self._accept(frame, 1, items)

    def _accept(self, frame: bytes, step: int, items: list[WireItem]) -> None:
        """A frame whose counter is `step` after the one before."""
        if step > 1:
            self._lose(step - 1, items)
        self._unsure = self._away = False
        self._last = self.counter_of(frame)
        self._append(frame)

    def _lose(self, frames: int, items: list[WireItem]) -> None:
        """So many frames are missing by the counter."""
        if frames <= 0:
            return
        self._flush(items)
        if self.counter_range is not None and self.counter_range > LONG_RANGE and frames > self.counter_range // 2:
            self.counts.restarts += 1
            items.append(DeviceRestart(0))
            self._lose_unknown(LOST_AT_RESTART, items)
            return
        self.counts.lost_frames += frames
        self._lose_samples(frames * self.samples_per_frame, self._unsure, items)

    def _lose_samples(self, samples: int, at_least: bool, items: list[WireItem]) -> None:
        items.append(Lost(samples, LOST_WHILE_AWAY if self._away else LOST_ON_LINK, at_least))
        self.counts.lost_samples += samples
        self._position += samples

    def _lose_unknown(self, reason: str, items: list[WireItem]) -> None:
        items.append(Lost(None, reason))
        self.counts.gaps_of_unknown_length += 1

    def _last_counter(self) -> int:
        assert self._last is not None  # noqa: S101 - for mypy; a frame is held only after another
        return self._last

    def _append(self, frame: bytes) -> None:
        self._batch.append(frame)
        self._seen = True

    def _flush(self, items: list[WireItem]) -> None:
        """The frames in a row so far as samples, cut where electrodes came off or on."""
        if not self._batch or self.info is None:
            return
        frames, self._batch = self._batch, []
        if self.info != self._announced:
            self._announced = self.info
            items.append(self.info)
        times = [self.clock_of(frame) for frame in frames]
        codes, off = self.unpack(frames)
        values = codes[self._rows] * self._scales
        n = values.shape[1]
        for first, last, flags in _runs(off[self._rows] if off is not None else None, n):
            if flags != self._off:
                self._off = flags
                mask = tuple(bool(flags >> row & 1) for row in range(len(self.info.leads)))
                names = tuple(name for name, is_off in zip(self.info.leads, mask, strict=True) if is_off)
                items.append(LeadOffChange(mask, names))
            at_s = times[0]
            if at_s is not None:
                at_s += first / self.info.fs
            items.append(Samples(values[:, first:last], self._position, at_s))
            self._position += last - first
        self.counts.samples += n


def _runs(off: NDArray[np.bool_] | None, n: int) -> list[tuple[int, int, int]]:
    """(first, last, flags) of each run of samples with the same electrodes off; bit i is lead i."""
    if off is None or not off.size:
        return [(0, n, 0)]
    flags = (off * (1 << np.arange(len(off)))[:, None]).sum(axis=0)
    edges = [0, *(np.flatnonzero(np.diff(flags)) + 1).tolist(), n]
    return [(first, last, int(flags[first])) for first, last in pairwise(edges)]


def stream_info(rate: Fraction | int, leads: Sequence[str], uv_per_lsb: float, device: str) -> StreamInfo:
    """Of a device whose channels all have one scale."""
    return StreamInfo(Fraction(rate), tuple(leads), (uv_per_lsb * 1e6,) * len(leads), device)
