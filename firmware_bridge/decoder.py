"""Incremental decoder of the "ecgmoe" wire format. It resynchronises on any bytes and counts what was lost.

Three numbers in the header of each frame are enough: the run (which changes when the device restarts its counters),
the index of the next sample, and the number of samples that the device itself had to drop. A loss is the difference
to the frame before, so the length of a gap is exact however many frames are missing. Samples are counted modulo 2**32
(99 days at 500 Hz).

Memory is bounded by one frame: a byte sequence longer than any frame is counted and discarded as it arrives.
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
    SampleLoss,
    Samples,
    StreamInfo,
    WireCounts,
    WireItem,
)

# After this many old indices in a row the device has restarted with its old run number: they are no repeated frames.
MAX_REPEATS = 32

_Content: TypeAlias = StreamInfo | tuple[int, NDArray[np.int32]] | None


class EcgmoeDecoder:
    """Decodes bytes into items. Any chunking of the same bytes gives the same items and the same `counts`.

    Args:
        lead_names: names for the first channels; "-" omits a channel. None: all channels, with the device's names.

    >>> from fractions import Fraction
    >>> info = StreamInfo(Fraction(250), ("II",), (100_000,))
    >>> encoder = frame.FrameEncoder(info, run=1)
    >>> codes = np.array([[10_000, -10_000]], dtype=np.int32)
    >>> items = EcgmoeDecoder().feed(encoder.info_frame() + encoder.samples_frame(codes))
    >>> items[0].fs, items[1].values.tolist()
    (250.0, [[1.0, -1.0]])
    """

    def __init__(self, lead_names: tuple[str, ...] | None = None) -> None:

        self.counts = WireCounts()
        self._lead_names = lead_names
        self._rows: list[int] = []  # rows of the selected channels
        self._pending = bytearray()  # bytes since the last delimiter
        self._too_long = False  # the bytes since the last delimiter exceed any frame and were discarded
        self._tracker = _CounterTracker(self.counts)
        self._info: StreamInfo | None = None  # from the info frame of this run; None until it has arrived
        self._announced: StreamInfo | None = None  # the last StreamInfo that was returned
        self._lead_off = 0  # lead-off bits of the last LeadOffChange
        self._position = 0  # index of the next sample in the stream; known losses count

    def feed(self, data: bytes) -> list[WireItem]:
        """Decode the next bytes. Returns the items that they complete. Never raises."""
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
        """The port went away: discard a partial frame. The next gap has the reason `LOST_WHILE_AWAY`."""
        self.counts.junk_bytes += len(self._pending)
        self._pending.clear()
        self._too_long = False
        self._tracker.reason = LOST_WHILE_AWAY
        return []

    def silent(self, seconds: float) -> None:
        """Does nothing: these counters do not wrap unnoticed."""

    def _extend(self, piece: bytes) -> None:
        if self._too_long or len(self._pending) + len(piece) > frame.MAX_ENCODED:
            self.counts.junk_bytes += len(self._pending) + len(piece)
            self._pending.clear()
            self._too_long = True
        else:
            self._pending += piece

    def _frame(self, stuffed: bytes, items: list[WireItem]) -> None:
        """Decode the bytes between two delimiters."""
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
        position = self._tracker.locate(header, n, self._info)
        if position is None:
            return
        self._report(position, items)
        if isinstance(content, StreamInfo):
            self._info = content
            wanted = self._wanted(content)
            if wanted != self._announced:
                self._announced = wanted
                items.append(wanted)
        elif isinstance(content, tuple):
            self._samples(*content, position, items)
        elif header.kind == frame.END:
            items.append(EndOfStream(header.index))
        else:
            self.counts.unknown_frames += 1

    def _content(self, header: frame.Header, payload: bytes) -> _Content:
        """Decode the payload. This comes before the header is used, so that a damaged frame changes no state."""
        if header.kind == frame.INFO:
            return frame.parse_info(payload)
        if header.kind != frame.SAMPLES:
            return None
        flags, codes = frame.parse_samples(payload)
        same_run = self._info is not None and self._tracker.run == header.run
        if self._info is not None and same_run and len(self._info.leads) != len(codes):
            raise frame.FrameError("samples: other number of leads than in the info frame")
        return flags, codes

    def _wanted(self, info: StreamInfo) -> StreamInfo:
        """The part of the info frame that concerns the selected channels."""
        names = info.leads if self._lead_names is None else self._lead_names[: len(info.leads)]
        self._rows = [row for row, name in enumerate(names) if name != "-"]
        if self._lead_names is None:
            return info
        steps = tuple(info.picovolts_per_lsb[row] for row in self._rows)
        return replace(info, leads=tuple(names[row] for row in self._rows), picovolts_per_lsb=steps)

    def _report(self, position: _FramePosition, items: list[WireItem]) -> None:
        """Report a restart and the losses before this frame. Before the first info frame no loss is reported."""
        if position.restarted:
            self._info = None  # the new run may have another scale, so its info frame must come first
            if self._announced is not None:
                self.counts.restarts += 1
                self.counts.gaps_of_unknown_length += 1
                items += [DeviceRestart(position.run), SampleLoss(None, LOST_AT_RESTART)]
        if self._info is None:
            return
        self.counts.lost_frames += position.lost_frames
        reasons: tuple[tuple[int, LossReason], ...]
        reasons = (position.lost_in_device, LOST_IN_DEVICE), (position.lost_on_link, position.reason)
        for samples, reason in reasons:
            if samples:
                items.append(SampleLoss(samples, reason))
                self.counts.lost_samples += samples
                self._position += samples
        self.counts.lost_in_device += position.lost_in_device

    def _samples(self, flags: int, codes: NDArray[np.int32], position: _FramePosition, items: list[WireItem]) -> None:
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
        items.append(Samples(values[self._rows], self._position, position.clock_us / 1e6))
        self.counts.samples += n
        self._position += n


@dataclass
class _FramePosition:
    """Position of a frame relative to the one before."""

    run: int
    clock_us: int  # the device's clock, unwrapped, microseconds
    reason: LossReason  # why samples were lost between the device and this host
    restarted: bool = False
    lost_frames: int = 0
    lost_in_device: int = 0  # samples per lead
    lost_on_link: int = 0  # samples per lead


class _CounterTracker:
    """Follows the counters in the headers and unwraps them."""

    def __init__(self, counts: WireCounts) -> None:
        self.reason: LossReason = LOST_ON_LINK  # reason of the next gap
        self.run: int | None = None
        self._counts = counts
        self._repeats = 0
        # Values expected in the next frame's header if nothing is lost; the clock is unwrapped.
        self._counter = 0
        self._index = 0
        self._overflow = 0
        self._clock_us = 0

    def locate(self, header: frame.Header, n: int, info: StreamInfo | None) -> _FramePosition | None:
        """Position of a frame of `n` samples (per lead); None if it repeats an earlier frame."""
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
        position = _FramePosition(header.run, header.clock_us, self.reason)
        position.restarted = restarted
        if not first and not restarted:
            # The index gives the elapsed time, so the clock stays correct across a gap longer than its wrap.
            expected_us = self._clock_us + round(lost * step_us)
            position.clock_us = expected_us + (header.clock_us - expected_us + 2**31) % 2**32 - 2**31
            position.lost_frames = frames_ahead
            dropped = (header.overflow - self._overflow) % 2**32
            position.lost_in_device = lost if frames_ahead == 0 else min(lost, dropped)
            position.lost_on_link = lost - position.lost_in_device

        self.run = header.run
        self.reason = LOST_ON_LINK
        self._repeats = 0
        self._counter = header.counter + 1
        self._index = header.index + n
        self._overflow = header.overflow
        self._clock_us = position.clock_us + round(n * step_us)
        return position
