"""Collects consecutive frames into one `Samples`: in mV, only selected leads, split when electrodes come off."""

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
    SampleLoss,
    Samples,
    StreamInfo,
    WireCounts,
    WireItem,
)

Unpacked: TypeAlias = tuple[NDArray[np.float64], "NDArray[np.bool_] | None"]


class SampleBatch:
    """Collects frames until another item comes between them, or the decoder's `feed` ends.

    Args:
        counts: the decoder's counts; updated here.
        lead_names: names for the first channels; "-" omits a channel. None: all channels.
        unpack: the decoder's function for frames to codes.
        clock_of: the decoder's function for a frame's time, s.
    """

    def __init__(
        self,
        counts: WireCounts,
        lead_names: tuple[str, ...] | None,
        unpack: Callable[[list[bytes]], Unpacked],
        clock_of: Callable[[bytes], float | None],
    ) -> None:
        self.info: StreamInfo | None = None
        self.seen = False  # True once there were samples
        self._counts = counts
        self._lead_names = lead_names
        self._unpack = unpack
        self._clock_of = clock_of
        self._frames: list[bytes] = []
        self._rows: list[int] = []  # rows of the selected channels
        self._scales = np.empty((0, 1))  # mV per step, (leads, 1)
        self._announced: StreamInfo | None = None
        self._off = 0
        self._position = 0

    def begin(self, info: StreamInfo) -> None:
        """Set rate, leads and scales of all channels."""
        names = self._lead_names or info.leads
        self._rows = [row for row, name in enumerate(names[: len(info.leads)]) if name != "-"]
        leads = tuple(names[row] for row in self._rows)
        self.info = replace(info, leads=leads, picovolts_per_lsb=tuple(info.picovolts_per_lsb[r] for r in self._rows))
        self._scales = np.array(self.info.picovolts_per_lsb, dtype=np.float64)[:, None] * MILLIVOLTS_PER_PICOVOLT

    def append(self, frame: bytes) -> None:
        """Add the next frame of samples."""
        self._frames.append(frame)
        self.seen = True

    def add_loss(self, samples: int | None, reason: LossReason, items: list[WireItem], at_least: bool = False) -> None:
        """Add a loss at this position of the stream. samples: per lead; None if unknown."""
        self.flush(items)
        items.append(SampleLoss(samples, reason, at_least))
        if samples is None:
            self._counts.gaps_of_unknown_length += 1
        else:
            self._counts.lost_samples += samples
            self._position += samples

    def flush(self, items: list[WireItem]) -> None:
        """Append the collected frames to `items`."""
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
    """(first, last, flags) of each run of samples with the same electrodes off. Bit i of flags is lead i."""
    if off is None or not off.size:
        return [(0, n, 0)]
    flags = (off * (1 << np.arange(len(off)))[:, None]).sum(axis=0)
    edges = [0, *(np.flatnonzero(np.diff(flags)) + 1).tolist(), n]
    return [(first, last, int(flags[first])) for first, last in pairwise(edges)]
