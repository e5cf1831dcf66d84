"""What decoders of framed protocols share: finding frames in any bytes, and following their counters.

A protocol's module says what a frame looks like (`size_at`), what counts it (`counter_of`) and what is in it
(`unpack`); everything that must be right about losses is here, once.

Frames are weakly marked in most of these protocols: two or three fixed bytes and no check. So out of step a frame is
believed only once others follow it directly (`confirm`), and a counter that jumps is believed only once the next frame
goes on from there: one damaged counter byte would else be a loss that never was.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.errors import UsageError
from ecgmoe_edge.firmware_bridge.formats.sample_batch import SampleBatch
from ecgmoe_edge.firmware_bridge.items import (
    LOST_AT_RESTART,
    LOST_ON_LINK,
    LOST_WHILE_AWAY,
    DeviceRestart,
    LossReason,
    StreamInfo,
    WireCounts,
    WireItem,
)

MORE = -1  # of `size_at`: more bytes are needed to tell
NONE = 0  # of `size_at`: no frame begins here
RECENT = 32  # frames that are kept, so that one that comes again is known
STILL = 8  # one frame so often in a row is no repeat: the device's counter stands still
LONG_RANGE = 16_384  # a counter beyond this does not wrap in a burst: one that goes back is a device that restarted


class FramedDecoder(ABC):
    """Bytes in, items out, for a protocol made of frames. Subclasses say what a frame is.

    info: rate, leads and scales of *all* channels of a frame; None until `begin` is called. pick: names for the first
    channels, "-" for one to leave out; None for all. Raises UsageError for more names than channels, and nothing on any
    bytes.
    """

    sync: bytes = b""  # what each frame begins with
    confirm: int = 1  # frames in a row that are needed when out of step
    counter_range: int | None = None  # the counter goes from 0 to this less one
    trusted: bool = False  # a check covers the counter, so that a jump is true
    lasting: bool = False  # the counter is long enough to tell what was lost while the port was away
    samples_per_frame: int = 1

    def __init__(self, info: StreamInfo | None, pick: tuple[str, ...] | None = None) -> None:
        self.counts = WireCounts()
        self.misfit: str | None = None  # why what the device sends is not what this decoder reads, and what to do
        self._batch = SampleBatch(self.counts, pick, self.unpack, self.clock_of)
        self._buffer = bytearray()
        self._in_step = False
        self._junk = 0  # bytes since the last frame that belong to none
        self._last: int | None = None  # counter of the last frame
        self._held: bytes | None = None  # a frame whose counter jumped
        self._still = False  # the counter stands still
        self._unsure = False  # the counter may have wrapped since the last frame
        self._away = False  # the port was gone since the last frame
        self._silent_s = 0.0  # the longest silence since the last frame
        self._repeats = 0  # in a row
        self._seen: deque[bytes] = deque(maxlen=RECENT)  # only where `lasting`
        self._recent: deque[tuple[int, bytes]] = deque(maxlen=min(RECENT, max(1, (self.counter_range or 2) // 2)))
        if info is not None:
            _check_pick(pick, info.leads)
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
        self._batch.begin(info)

    @property
    def info(self) -> StreamInfo | None:
        """What was given to `begin`, of the leads that are wanted."""
        return self._batch.info

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
        self._batch.flush(items)
        return items

    def interrupted(self) -> list[WireItem]:
        """The port went away: half a frame is worth nothing, and no counter reaches across."""
        items: list[WireItem] = []
        if self._held is not None:
            held, self._held = self._held, None
            self._lose(self.ahead(self.counter_of(held), self._last_counter()) - 1, items)
            self._batch.append(held)
        self._batch.flush(items)
        self.counts.junk_bytes += len(self._buffer)
        self._buffer.clear()
        self._junk = 0
        self._in_step = False
        self._away = self._batch.seen
        if not self.lasting:
            self._last = None
            self._recent.clear()
        self._seen.clear()
        return items

    def silent(self, seconds: float) -> None:
        """The next hole is "at least" if the counter may have gone round meanwhile."""
        self._silent_s = max(self._silent_s, seconds)
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
        if self.lasting:
            if frame in self._seen:
                self.counts.duplicate_frames += 1
                return
            self._seen.append(frame)
        if not self.holds_samples(frame):
            self.counts.unknown_frames += 1
            self._junk = junk
            return
        if self.info is None:
            self.counts.samples_before_info += self.samples_in(frame)
            return
        if self._away and not self.lasting:
            self._away = False
            junk = 0  # the rest of a frame whose beginning never came
            self._batch.lose(None, LOST_WHILE_AWAY, items)
        if self.counter_range is None:
            if junk and self._batch.seen:
                self._lose_junk(junk, len(frame), items)
            self._batch.append(frame)
        else:
            self._unsure |= junk >= self.counter_range * len(frame)
            if self._is_repeat(frame, junk):
                self._repeats += 1
                if self._repeats <= STILL:
                    self.counts.duplicate_frames += 1
                    return
                self._begin_to_stand_still(items)
            self._repeats = 0
            self._count(frame, items)
            self._silent_s = 0.0

    def _is_repeat(self, frame: bytes, junk: int) -> bool:
        """Whether a frame was here before, to the byte, and comes again: a radio that got no answer sends it twice.

        A constant signal gives the same frame each time that the counter has gone round. So it is a repeat only where
        neither the line's silence nor the bytes of junk leave room for so many lost frames.
        """
        if self._last is None or self._still:
            return False
        counter = self.counter_of(frame)
        if self._held != frame and (counter, frame) not in self._recent:
            return False
        lost = self.ahead(counter, self._last) if self._held != frame else 1
        lost = lost if counter != self._last or self.counter_range is None else self.counter_range
        silent = 0.0 if self.info is None else self._silent_s * self.info.fs / self.samples_per_frame
        return max(silent, junk / len(frame)) < max(1.0, lost / 2)

    def missing_in(self, junk: int, size: int) -> int:
        """How many frames of `size` bytes so many bytes of junk were."""
        return round(junk / size)

    def _lose_junk(self, junk: int, size: int, items: list[WireItem]) -> None:
        """Without a counter, the bytes between two frames tell how many were damaged, as long as none went missing."""
        frames = self.missing_in(junk, size)
        if frames:
            self._batch.lose(frames * self.samples_per_frame, LOST_ON_LINK, items, at_least=True)
        else:
            self._batch.lose(None, LOST_ON_LINK, items)

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

    def _begin_to_stand_still(self, items: list[WireItem]) -> None:
        """One frame again and again is a signal that does not change under a counter that does not run."""
        self._still = True
        if self._held is not None:
            held, self._held = self._held, None
            self._accept(held, self.ahead(self.counter_of(held), self._last_counter()), items)
        self._batch.lose(None, LOST_ON_LINK, items)

    def _stand_still(self, held: bytes, frame: bytes, items: list[WireItem]) -> None:
        """A device that has just started may send many frames before its counter runs: they are no loss each."""
        self._still = True
        self._batch.lose(None, LOST_ON_LINK, items)
        self._accept(held, 1, items)
        self._accept(frame, 1, items)

    def _accept(self, frame: bytes, step: int, items: list[WireItem]) -> None:
        """A frame whose counter is `step` after the one before."""
        if step > 1:
            self._lose(step - 1, items)
        self._unsure = self._away = False
        self._last = self.counter_of(frame)
        self._recent.append((self._last, frame))
        self._batch.append(frame)

    def _lose(self, frames: int, items: list[WireItem]) -> None:
        """So many frames are missing by the counter."""
        if frames <= 0:
            return
        if self.counter_range is not None and self.counter_range > LONG_RANGE and frames > self.counter_range // 2:
            self.counts.restarts += 1
            self._batch.flush(items)
            items.append(DeviceRestart(0))
            self._batch.lose(None, LOST_AT_RESTART, items)
            return
        self.counts.lost_frames += frames
        reason: LossReason = LOST_WHILE_AWAY if self._away else LOST_ON_LINK
        self._batch.lose(frames * self.samples_per_frame, reason, items, at_least=self._unsure)

    def _last_counter(self) -> int:
        assert self._last is not None  # noqa: S101 - for mypy; a frame is held only after another
        return self._last


def _check_pick(pick: tuple[str, ...] | None, channels: tuple[str, ...]) -> None:
    """Raise UsageError for names of channels that a device does not have."""
    if pick is not None and any(name != "-" for name in pick[len(channels) :]):
        raise UsageError(
            f"--leads {','.join(pick)} names {len(pick)} channels, but the device has {len(channels)} "
            f"({', '.join(channels)}): name the first of these, - for one to leave out."
        )


def stream_info(rate: Fraction | int, leads: Sequence[str], uv_per_lsb: float, device: str) -> StreamInfo:
    """Of a device whose channels all have one scale."""
    return StreamInfo(Fraction(rate), tuple(leads), (uv_per_lsb * 1e6,) * len(leads), device)
