"""Base class of decoders for protocols made of frames: it finds frames in any bytes and follows their counters.

A protocol's module defines what a frame looks like (`size_at`), its counter (`counter_of`) and its content (`unpack`).
All handling of losses is here.

In most of these protocols frames are weakly marked: two or three fixed bytes and no check. So after a loss of
synchronisation, a frame counts as valid only if others follow it directly (`confirm`). And a counter that jumps counts
as a loss only if the next frame continues from there; otherwise one damaged counter byte would be reported as a loss.
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

NEED_MORE = -1  # returned by `size_at`: more bytes are needed to decide
NO_FRAME = 0  # returned by `size_at`: no frame begins here
RECENT_FRAMES = 32  # number of frames kept to detect repeated ones
# After more identical frames in a row than this, the device's counter is stuck; they are no repeats.
MAX_SAME_COUNTER = 8
LONG_RANGE = 16_384  # a counter with a larger range does not wrap in a burst: if it goes back, the device has restarted


class FramedDecoder(ABC):
    """Decodes the bytes of a protocol made of frames. Subclasses define the frames.

    Args:
        info: rate, leads and scales of *all* channels of a frame; None until `begin` is called.
        lead_names: names for the first channels; "-" omits a channel. None: all channels.

    Raises:
        UsageError: `lead_names` names more channels than there are. No bytes make it raise.

    Attributes:
        sync: the bytes at the start of each frame.
        confirm: frames in a row that are needed to synchronise.
        counter_range: the counter runs from 0 to this value minus 1; None: no counter.
        counter_checked: a checksum covers the counter, so a jump is a real loss.
        counter_spans_reconnect: the counter is long enough to count what was lost while the port was gone.
        samples_per_frame: samples (per lead) in a frame.
        incompatibility: why this decoder cannot read what the device sends, and what to do; None if it can.
    """

    sync: bytes = b""
    confirm: int = 1
    counter_range: int | None = None
    counter_checked: bool = False
    counter_spans_reconnect: bool = False
    samples_per_frame: int = 1

    def __init__(self, info: StreamInfo | None, lead_names: tuple[str, ...] | None = None) -> None:
        self.counts = WireCounts()
        self.incompatibility: str | None = None
        self._batch = SampleBatch(self.counts, lead_names, self.unpack, self.clock_of)
        self._buffer = bytearray()
        self._synchronised = False
        self._junk = 0  # bytes without a frame since the last frame
        self._last: int | None = None  # counter of the last frame
        # A frame whose counter jumped; the next frame decides whether the jump is real.
        self._suspect: bytes | None = None
        self._counter_stuck = False
        self._may_have_wrapped = False  # the counter may have wrapped since the last frame
        self._after_reconnect = False  # the port was gone since the last frame
        self._longest_silence_s = 0.0  # since the last frame
        self._repeats = 0  # repeated frames in a row
        self._seen: deque[bytes] = deque(maxlen=RECENT_FRAMES)  # used only if `counter_spans_reconnect`
        self._recent: deque[tuple[int, bytes]] = deque(
            maxlen=min(RECENT_FRAMES, max(1, (self.counter_range or 2) // 2))
        )
        if info is not None:
            _check_names(lead_names, info.leads)
            self.begin(info)

    @property
    def pending(self) -> int:
        """Number of bytes that wait for more."""
        return len(self._buffer)

    @abstractmethod
    def size_at(self, buffer: bytearray, at: int) -> int:
        """Size of the intact frame that begins at `at`, in bytes; NO_FRAME if there is none, NEED_MORE if undecided."""

    @abstractmethod
    def unpack(self, frames: list[bytes]) -> tuple[NDArray[np.float64], NDArray[np.bool_] | None]:
        """Decode consecutive frames.

        Returns:
            Codes, (channels, samples), 0 at 0 mV and NaN without a value; and a mask of the same shape, True while an
            electrode is off, or None if the protocol does not report electrodes.
        """

    def counter_of(self, frame: bytes) -> int:
        """The frame's counter. Called only if there is a `counter_range`."""
        raise NotImplementedError

    def ahead(self, counter: int, last: int) -> int:
        """Distance from counter `last` to `counter`, in frames; 1 for the next frame."""
        assert self.counter_range is not None  # noqa: S101 - for mypy; only called if there is a counter
        return (counter - last - 1) % self.counter_range + 1

    def holds_samples(self, frame: bytes) -> bool:
        """Whether the frame contains samples; other frames are skipped. May update the decoder's state."""
        return True

    def samples_in(self, frame: bytes) -> int:
        """Samples (per lead) in a frame."""
        return self.samples_per_frame

    def clock_of(self, frame: bytes) -> float | None:
        """The device's time at the frame's first sample, s; None without a clock. Called once per frame, in order."""
        return None

    def skipped(self, junk: bytes) -> None:  # noqa: B027 - most protocols do not need it
        """Called with bytes outside of frames, in order; they may contain a boot message."""

    def begin(self, info: StreamInfo) -> None:
        """Set rate, leads and scale as soon as they are known."""
        self._batch.begin(info)

    @property
    def info(self) -> StreamInfo | None:
        """Rate, scale and names of the selected leads; None until `begin`."""
        return self._batch.info

    def feed(self, data: bytes) -> list[WireItem]:
        """Decode the next bytes. Returns the items that they complete. Never raises."""
        self.counts.bytes += len(data)
        items: list[WireItem] = []
        buffer = self._buffer
        buffer += data
        at = 0
        while at < len(buffer):
            size = self.size_at(buffer, at)
            if size > 0 and not self._synchronised and self.confirm > 1:
                size = self._confirmed(buffer, at, size)
            if size > 0:
                self._frame(bytes(buffer[at : at + size]), items)
                at += size
            elif size == NEED_MORE:
                break
            else:
                after = self._next_candidate(buffer, at)
                self.skipped(bytes(buffer[at:after]))
                self._junk += after - at
                self.counts.junk_bytes += after - at
                if self._synchronised:
                    self.counts.bad_frames += 1
                self._synchronised = False
                at = after
        del buffer[:at]
        self._batch.flush(items)
        return items

    def interrupted(self) -> list[WireItem]:
        """The port went away: discard a partial frame. Most counters do not span the interruption."""
        items: list[WireItem] = []
        if self._suspect is not None:
            suspect, self._suspect = self._suspect, None
            self._report_loss(self.ahead(self.counter_of(suspect), self._last_counter()) - 1, items)
            self._batch.append(suspect)
        self._batch.flush(items)
        self.counts.junk_bytes += len(self._buffer)
        self._buffer.clear()
        self._junk = 0
        self._synchronised = False
        self._after_reconnect = self._batch.seen
        if not self.counter_spans_reconnect:
            self._last = None
            self._recent.clear()
        self._seen.clear()
        return items

    def silent(self, seconds: float) -> None:
        """If the counter may have wrapped during the silence, the next loss is a lower bound ("at least")."""
        self._longest_silence_s = max(self._longest_silence_s, seconds)
        if self.counter_range is not None and self.info is not None:
            self._may_have_wrapped |= seconds * self.info.fs >= self.counter_range * self.samples_per_frame

    def _next_candidate(self, buffer: bytearray, at: int) -> int:
        """The next position after `at` at which a frame may begin."""
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
        """`size` if enough frames follow directly, else NO_FRAME or NEED_MORE."""
        end = at + size
        for _ in range(self.confirm - 1):
            follower = self.size_at(buffer, end) if end < len(buffer) else NEED_MORE
            if follower <= 0:
                return follower
            end += follower
        return size

    def _frame(self, frame: bytes, items: list[WireItem]) -> None:
        self.counts.frames += 1
        junk, self._junk = self._junk, 0
        self._synchronised = True
        if self.counter_spans_reconnect:
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
        if self._after_reconnect and not self.counter_spans_reconnect:
            self._after_reconnect = False
            junk = 0  # the rest of a frame whose beginning was lost
            self._batch.add_loss(None, LOST_WHILE_AWAY, items)
        if self.counter_range is None:
            if junk and self._batch.seen:
                self._report_junk(junk, len(frame), items)
            self._batch.append(frame)
        else:
            self._may_have_wrapped |= junk >= self.counter_range * len(frame)
            if self._is_repeat(frame, junk):
                self._repeats += 1
                if self._repeats <= MAX_SAME_COUNTER:
                    self.counts.duplicate_frames += 1
                    return
                self._start_stuck_counter(items)
            self._repeats = 0
            self._check_counter(frame, items)
            self._longest_silence_s = 0.0

    def _is_repeat(self, frame: bytes, junk: int) -> bool:
        """Whether the frame is a copy of a recent one: a radio sends a frame again if no acknowledgement came.

        A constant signal gives an identical frame each time the counter has wrapped. So a frame is a repeat only if
        neither the silence on the line nor the bytes of junk leave room for that many lost frames.
        """
        if self._last is None or self._counter_stuck:
            return False
        counter = self.counter_of(frame)
        if self._suspect != frame and (counter, frame) not in self._recent:
            return False
        lost = self.ahead(counter, self._last) if self._suspect != frame else 1
        lost = lost if counter != self._last or self.counter_range is None else self.counter_range
        silent = 0.0 if self.info is None else self._longest_silence_s * self.info.fs / self.samples_per_frame
        return max(silent, junk / len(frame)) < max(1.0, lost / 2)

    def frames_in_junk(self, junk: int, size: int) -> int:
        """Number of frames of `size` bytes that `junk` bytes without a frame stand for."""
        return round(junk / size)

    def _report_junk(self, junk: int, size: int, items: list[WireItem]) -> None:
        """Without a counter: estimate the number of damaged frames from the bytes between two frames."""
        frames = self.frames_in_junk(junk, size)
        if frames:
            self._batch.add_loss(frames * self.samples_per_frame, LOST_ON_LINK, items, at_least=True)
        else:
            self._batch.add_loss(None, LOST_ON_LINK, items)

    def _check_counter(self, frame: bytes, items: list[WireItem]) -> None:
        """Accept the frame, or hold it back as a suspect if its counter jumps."""
        counter = self.counter_of(frame)
        if self._suspect is not None:
            suspect, self._suspect = self._suspect, None
            if counter == self.counter_of(suspect) and (self.counter_range or 0) <= LONG_RANGE:
                self._handle_stuck_counter(suspect, frame, items)
                return
            jump = self.ahead(self.counter_of(suspect), self._last_counter())
            both = self.ahead(counter, self._last_counter())
            if both <= jump and self.ahead(counter, self.counter_of(suspect)) != 1:
                self.counts.bad_frames += 1  # the suspect's counter was damaged: this frame is nearer to the last
                self._accept(suspect, both - 1, items)
                self._accept(frame, 1, items)
                return
            self._accept(suspect, jump, items)
        step = self.ahead(counter, self._last) if self._last is not None else 1
        if step == 1 or self.counter_checked or (self._counter_stuck and counter == self._last):
            self._counter_stuck &= counter == self._last
            self._accept(frame, step if not self._counter_stuck else 1, items)
        else:
            self._suspect = frame

    def _start_stuck_counter(self, items: list[WireItem]) -> None:
        """The same frame again and again: the signal is constant and the device's counter does not run."""
        self._counter_stuck = True
        if self._suspect is not None:
            suspect, self._suspect = self._suspect, None
            self._accept(suspect, self.ahead(self.counter_of(suspect), self._last_counter()), items)
        self._batch.add_loss(None, LOST_ON_LINK, items)

    def _handle_stuck_counter(self, suspect: bytes, frame: bytes, items: list[WireItem]) -> None:
        """Two frames with the same counter: a device may send frames before its counter runs. They are not losses."""
        self._counter_stuck = True
        self._batch.add_loss(None, LOST_ON_LINK, items)
        self._accept(suspect, 1, items)
        self._accept(frame, 1, items)

    def _accept(self, frame: bytes, step: int, items: list[WireItem]) -> None:
        """Take a frame whose counter is `step` after the last one."""
        if step > 1:
            self._report_loss(step - 1, items)
        self._may_have_wrapped = self._after_reconnect = False
        self._last = self.counter_of(frame)
        self._recent.append((self._last, frame))
        self._batch.append(frame)

    def _report_loss(self, frames: int, items: list[WireItem]) -> None:
        """Report `frames` missing frames, or a restart if the counter went back."""
        if frames <= 0:
            return
        if self.counter_range is not None and self.counter_range > LONG_RANGE and frames > self.counter_range // 2:
            self.counts.restarts += 1
            self._batch.flush(items)
            items.append(DeviceRestart(0))
            self._batch.add_loss(None, LOST_AT_RESTART, items)
            return
        self.counts.lost_frames += frames
        reason: LossReason = LOST_WHILE_AWAY if self._after_reconnect else LOST_ON_LINK
        self._batch.add_loss(frames * self.samples_per_frame, reason, items, at_least=self._may_have_wrapped)

    def _last_counter(self) -> int:
        assert self._last is not None  # noqa: S101 - for mypy; there is a suspect only after another frame
        return self._last


def _check_names(lead_names: tuple[str, ...] | None, channels: tuple[str, ...]) -> None:
    """Raise UsageError if `lead_names` names more channels than the device has."""
    if lead_names is not None and any(name != "-" for name in lead_names[len(channels) :]):
        raise UsageError(
            f"--leads {','.join(lead_names)} names {len(lead_names)} channels, but the device has {len(channels)} "
            f"({', '.join(channels)}): name the first of these; - omits a channel."
        )


def stream_info(rate: Fraction | int, leads: Sequence[str], uv_per_lsb: float, device: str) -> StreamInfo:
    """StreamInfo of a device with the same scale on all channels."""
    return StreamInfo(Fraction(rate), tuple(leads), (uv_per_lsb * 1e6,) * len(leads), device)
