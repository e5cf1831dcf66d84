"""Incremental decoder of the "ecgmoe" wire format: resynchronises on any bytes and counts what was lost.

Everything follows from three numbers in each frame's header: the run (which counting this is), the index of the next
sample, and the count of samples that the device itself had to drop. Losses are plain differences to the frame before,
so a hole is exact however many frames it swallowed; samples are counted modulo 2**32 (99 days at 500 Hz).

Memory is bounded by one frame: a run of bytes that is longer than any frame is counted and forgotten as it comes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.firmware_bridge import frame
from ecgmoe_edge.firmware_bridge.items import (
    LOST_AT_RESTART,
    LOST_IN_DEVICE,
    LOST_ON_LINK,
    LOST_WHILE_AWAY,
    DeviceRestart,
    EndOfStream,
    LeadOffChange,
    LossReason,
    Lost,
    Samples,
    StreamInfo,
    WireCounts,
    WireItem,
)

# So many frames in a row that lie behind us are a device that restarted under its old run number, not repeats.
MAX_REPEATS = 32

_Content: TypeAlias = StreamInfo | tuple[int, NDArray[np.int32]] | None


class EcgmoeDecoder:
    """Bytes in, items out. Any chunking of the same bytes gives the same items and the same `counts`."""

    def __init__(self, pick: tuple[str, ...] | None = None) -> None:
        """`pick`: names for the first channels, "-" for one to leave out; None for all, by the device's names."""
        self.counts = WireCounts()
        self._pick = pick
        self._rows: list[int] = []  # of the channels that are wanted
        self._pending = bytearray()  # the bytes since the last delimiter
        self._too_long = False  # they were more than any frame has, and are forgotten
        self._follower = _Follower(self.counts)
        self._info: StreamInfo | None = None  # of this run; None until it is known
        self._announced: StreamInfo | None = None  # the last that was given out
        self._lead_off = 0  # flags that were given out
        self._position = 0  # index of the next sample in the stream, known losses counted

    def feed(self, data: bytes) -> list[WireItem]:
        """Take the bytes that came next; give the items they complete. Never raises."""
        self.counts.bytes += len(data)
        items: list[WireItem] = []
        *finished, rest = data.split(frame.DELIMITER)
        for piece in finished:
            self._extend(piece)
            if self._too_long:
                self.counts.bad_frames += 1
            elif self._pending:
                self._frame(bytes(self._pending), items)
            self._pending.clear()
            self._too_long = False
        self._extend(rest)
        return items

    def interrupted(self) -> list[WireItem]:
        """The port went away: half a frame is worth nothing, and the next hole has that reason."""
        self.counts.junk_bytes += len(self._pending)
        self._pending.clear()
        self._too_long = False
        self._follower.reason = LOST_WHILE_AWAY
        return []

    def silent(self, seconds: float) -> None:
        """Means nothing here: the counters do not wrap unnoticed."""

    def _extend(self, piece: bytes) -> None:
        if self._too_long or len(self._pending) + len(piece) > frame.MAX_ENCODED:
            self.counts.junk_bytes += len(self._pending) + len(piece)
            self._pending.clear()
            self._too_long = True
        else:
            self._pending += piece

    def _frame(self, stuffed: bytes, items: list[WireItem]) -> None:
        """One run of bytes between delimiters."""
        try:
            header, payload = frame.open_frame(stuffed)
            content = self._content(header, payload)
        except frame.NewerVersionError:
            self.counts.newer_version += 1
            return
        except frame.FrameError:
            self.counts.bad_frames += 1
            self.counts.junk_bytes += len(stuffed)
            return
        self.counts.frames += 1
        n = content[1].shape[1] if isinstance(content, tuple) else 0
        place = self._follower.follow(header, n, self._info)
        if place is None:
            return
        self._report(place, items)
        if isinstance(content, StreamInfo):
            self._info = content
            wanted = self._wanted(content)
            if wanted != self._announced:
                self._announced = wanted
                items.append(wanted)
        elif isinstance(content, tuple):
            self._samples(*content, place, items)
        elif header.kind == frame.END:
            items.append(EndOfStream(header.index))
        else:
            self.counts.unknown_frames += 1

    def _content(self, header: frame.Header, payload: bytes) -> _Content:
        """What the payload says; judged before the header is believed, so that a bad frame changes nothing."""
        if header.kind == frame.INFO:
            return frame.parse_info(payload)
        if header.kind != frame.SAMPLES:
            return None
        flags, codes = frame.parse_samples(payload)
        same_run = self._info is not None and self._follower.run == header.run
        if self._info is not None and same_run and len(self._info.leads) != len(codes):
            raise frame.FrameError("samples: not the leads of the info frame")
        return flags, codes

    def _wanted(self, info: StreamInfo) -> StreamInfo:
        """What the info frame says of the channels that are wanted."""
        names = info.leads if self._pick is None else self._pick[: len(info.leads)]
        self._rows = [row for row, name in enumerate(names) if name != "-"]
        if self._pick is None:
            return info
        steps = tuple(info.picovolts_per_lsb[row] for row in self._rows)
        return replace(info, leads=tuple(names[row] for row in self._rows), picovolts_per_lsb=steps)

    def _report(self, place: _Place, items: list[WireItem]) -> None:
        """Restart and losses before this frame. Before the stream has begun there is nothing to lose."""
        if place.restarted:
            self._info = None  # the new run may have another scale; its info frame comes first
            if self._announced is not None:
                self.counts.restarts += 1
                self.counts.gaps_of_unknown_length += 1
                items += [DeviceRestart(place.run), Lost(None, LOST_AT_RESTART)]
        if self._info is None:
            return
        self.counts.lost_frames += place.lost_frames
        reasons: tuple[tuple[int, LossReason], ...]
        reasons = (place.lost_in_device, LOST_IN_DEVICE), (place.lost_on_way, place.reason)
        for samples, reason in reasons:
            if samples:
                items.append(Lost(samples, reason))
                self.counts.lost_samples += samples
                self._position += samples
        self.counts.lost_in_device += place.lost_in_device

    def _samples(self, flags: int, codes: NDArray[np.int32], place: _Place, items: list[WireItem]) -> None:
        n = codes.shape[1]
        if self._info is None:
            self.counts.samples_before_info += n
            return
        flags &= sum(1 << row for row in self._rows)
        if flags != self._lead_off and self._announced is not None:
            self._lead_off = flags
            mask = tuple(bool(flags >> row & 1) for row in self._rows)
            names = tuple(name for name, off in zip(self._announced.leads, mask, strict=True) if off)
            items.append(LeadOffChange(mask, names))
        values = frame.to_millivolts(codes, self._info.picovolts_per_lsb)
        items.append(Samples(values[self._rows], self._position, place.clock_us / 1e6))
        self.counts.samples += n
        self._position += n


@dataclass
class _Place:
    """Where a frame lies relative to the one before."""

    run: int
    clock_us: int  # unwrapped
    reason: LossReason  # of what was lost on the way
    restarted: bool = False
    lost_frames: int = 0
    lost_in_device: int = 0  # samples per lead
    lost_on_way: int = 0


class _Follower:
    """Follows the counters in the headers, which wrap."""

    def __init__(self, counts: WireCounts) -> None:
        self.reason: LossReason = LOST_ON_LINK  # of the next hole
        self.run: int | None = None
        self._counts = counts
        self._repeats = 0
        # What the next frame's header says if nothing is lost; the clock is unwrapped.
        self._counter = 0
        self._index = 0
        self._overflow = 0
        self._clock_us = 0

    def follow(self, header: frame.Header, n: int, info: StreamInfo | None) -> _Place | None:
        """Place a frame of `n` samples; None for one that repeats what was already here."""
        frames_ahead = (header.counter - self._counter) % 2**16
        lost = (header.index - self._index) % 2**32
        first = self.run is None
        restarted = not first and header.run != self.run
        if not first and not restarted and (lost >= 2**31 or (lost == 0 and frames_ahead >= 2**15)):
            self._repeats += 1
            self._counts.duplicate_frames += 1
            if self._repeats < MAX_REPEATS:
                return None
            restarted = True

        step_us = 1e6 / info.fs if info is not None else 0.0
        place = _Place(header.run, header.clock_us, self.reason)
        place.restarted = restarted
        if not first and not restarted:
            # The index tells how much time has passed, so the clock is right across a hole longer than its wrap.
            due = self._clock_us + round(lost * step_us)
            place.clock_us = due + (header.clock_us - due + 2**31) % 2**32 - 2**31
            place.lost_frames = frames_ahead
            dropped = (header.overflow - self._overflow) % 2**32
            place.lost_in_device = lost if frames_ahead == 0 else min(lost, dropped)
            place.lost_on_way = lost - place.lost_in_device

        self.run = header.run
        self.reason = LOST_ON_LINK
        self._repeats = 0
        self._counter = header.counter + 1
        self._index = header.index + n
        self._overflow = header.overflow
        self._clock_us = place.clock_us + round(n * step_us)
        return place
