"""Frames in a row become one `Samples`: scaled to millivolts, only the wanted leads, cut where electrodes came off."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.firmware_bridge.items import (
    MILLIVOLTS_PER_PICOVOLT,
    LeadOffChange,
    LossReason,
    Lost,
    Samples,
    StreamInfo,
    WireCounts,
    WireItem,
)

Unpacked: TypeAlias = tuple[NDArray[np.float64], "NDArray[np.bool_] | None"]


class SampleBatch:
    """What a decoder gives out, in its order: frames are kept until something comes between, or the feed ends.

    pick: names for the first channels, "-" for one to leave out; None for all. unpack, clock_of: of the decoder.
    """

    def __init__(
        self,
        counts: WireCounts,
        pick: tuple[str, ...] | None,
        unpack: Callable[[list[bytes]], Unpacked],
        clock_of: Callable[[bytes], float | None],
    ) -> None:
        self.info: StreamInfo | None = None
        self.seen = False  # there were samples
        self._counts = counts
        self._pick = pick
        self._unpack = unpack
        self._clock_of = clock_of
        self._frames: list[bytes] = []
        self._rows: list[int] = []  # of the channels that are wanted
        self._scales = np.empty((0, 1))  # mV for a code
        self._announced: StreamInfo | None = None
        self._off = 0
        self._position = 0

    def begin(self, info: StreamInfo) -> None:
        """Rate, leads and scales of all channels are known."""
        names = self._pick or info.leads
        self._rows = [row for row, name in enumerate(names[: len(info.leads)]) if name != "-"]
        leads = tuple(names[row] for row in self._rows)
        self.info = replace(info, leads=leads, picovolts_per_lsb=tuple(info.picovolts_per_lsb[r] for r in self._rows))
        self._scales = np.array(self.info.picovolts_per_lsb, dtype=np.float64)[:, None] * MILLIVOLTS_PER_PICOVOLT

    def append(self, frame: bytes) -> None:
        """The next frame of samples."""
        self._frames.append(frame)
        self.seen = True

    def lose(self, samples: int | None, reason: LossReason, items: list[WireItem], at_least: bool = False) -> None:
        """Samples are missing here; None if nobody knows how many."""
        self.flush(items)
        items.append(Lost(samples, reason, at_least))
        if samples is None:
            self._counts.gaps_of_unknown_length += 1
        else:
            self._counts.lost_samples += samples
            self._position += samples

    def flush(self, items: list[WireItem]) -> None:
        """Give out the frames so far."""
        if not self._frames or self.info is None:
            return
        frames, self._frames = self._frames, []
        if self.info != self._announced:
            self._announced = self.info
            items.append(self.info)
        times = [self._clock_of(frame) for frame in frames]
        codes, off = self._unpack(frames)
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
        self._counts.samples += n


def _runs(off: NDArray[np.bool_] | None, n: int) -> list[tuple[int, int, int]]:
    """(first, last, flags) of each run of samples with the same electrodes off; bit i is lead i."""
    if off is None or not off.size:
        return [(0, n, 0)]
    flags = (off * (1 << np.arange(len(off)))[:, None]).sum(axis=0)
    edges = [0, *(np.flatnonzero(np.diff(flags)) + 1).tolist(), n]
    return [(first, last, int(flags[first])) for first, last in pairwise(edges)]
