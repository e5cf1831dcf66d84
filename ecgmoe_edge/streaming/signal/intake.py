"""The first stage: collects samples, bridges short holes, removes pacing spikes and separates unusable samples.

Samples are collected until something can become certain by them. A sample that may belong to a hole or to a pacing
spike also waits until this is decided; `known_at` then gives the true time of what is detected in it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.streaming.events import NEW_SIGNAL, GapReason
from ecgmoe_edge.streaming.signal.bridge import Hole, HoleBridge
from ecgmoe_edge.streaming.signal.pacing import PacingFilter, Spike
from ecgmoe_edge.streaming.unusable import LARGEST_MV

WAIT_S = 0.5  # longest time for which samples are collected, so that the work is spread evenly
PIECE_S = 60.0  # longest piece, so that the memory for the processing of a long push stays bounded
LARGEST_SQUARE = LARGEST_MV**2


@dataclass(frozen=True)
class Piece:
    """Samples in which no lead becomes usable or unusable."""

    samples: NDArray[np.float64]  # (leads, n) in mV, n at least 1
    usable: NDArray[np.bool_]  # (leads,)
    out_of_range: NDArray[np.bool_]  # (leads,) whether a lead is unusable since its samples are out of range
    lost_by: GapReason | None  # why the samples never arrived, if no lead is usable; None if they arrived


class Intake:
    """Takes the samples of all leads.

    Args:
        fs: sampling rate, Hz.
        leads: number of leads.
    """

    def __init__(self, fs: float, leads: int) -> None:
        self._bridge = HoleBridge(fs, leads, LARGEST_MV)
        self._pacing = PacingFilter(fs, leads)
        self._piece = round(PIECE_S * fs)
        self._at = 0  # number of the first sample that is not passed on yet
        self._collected = np.empty((leads, round(WAIT_S * fs)))
        self._count = 0  # columns of `_collected` in use
        self._collect_below = 0  # with fewer collected samples than this, nothing can become certain
        self._holes: list[Hole] = []  # bridged holes that `holes` has not returned yet

    def restart(self, at: int) -> None:
        """Start a new signal on all leads at sample `at`."""
        self._at = at
        self._collect_below = 0
        self._bridge.restart(at)
        self._pacing.restart(at)
        self._holes.clear()

    @property
    def waiting(self) -> int:
        """Number of samples that have arrived and are not passed on yet."""
        return self._count + self.undecided

    @property
    def undecided(self) -> int:
        """Number of samples that wait for the end of a hole or of a possible spike."""
        return self._bridge.waiting + self._pacing.waiting

    def collect(self, samples: NDArray[np.float64]) -> bool:
        """Collect samples (leads, n) in mV if all are usable and nothing can become certain by them.

        Returns:
            Whether they were collected; if not, they have to be given to `process`.
        """
        count = self._count + samples.shape[1]
        # If the sum of squares is within the limit, every sample is. This takes a third of the time of testing each.
        if count < self._collect_below and np.vdot(samples, samples) <= LARGEST_SQUARE:
            self._collected[:, self._count : count] = samples
            self._count = count
            return True
        return False

    def collect_below(self, samples: int) -> None:
        """Collect fewer than `samples` samples from now on before they are processed."""
        self._collect_below = 0 if self.undecided else min(samples, self._collected.shape[1])

    def may_bridge(self, lost: int, reason: GapReason) -> bool:
        """Whether a hole of `lost` samples is short enough to be bridged."""
        return 0 < lost <= self._bridge.longest and reason not in NEW_SIGNAL

    def lose(self, start: int, lost: int, reason: GapReason) -> NDArray[np.float64]:
        """Return NaN (leads, lost) to be processed in place of samples that never arrived, the first number `start`."""
        self._bridge.lose(start, start + lost, reason)
        return np.full((self._collected.shape[0], lost), np.nan)

    def process(self, samples: NDArray[np.float64] | None, off: NDArray[np.bool_]) -> list[Piece]:
        """Process the collected samples and those that follow them.

        Args:
            samples: (leads, n) in mV; None if no more samples come: then all that waits is passed on.
            off: leads that are off, (leads,); their samples are unusable and their holes are not bridged.

        Returns:
            The samples that are decided, in pieces.
        """
        x = self._collected[:, : self._count]
        if samples is None:
            x = x.copy()
        elif self._count:
            x = np.concatenate((x, samples), axis=1)
        else:
            x = samples
        self._count = 0
        x, holes = self._bridge.process(x, off, last=samples is None)
        self._holes += holes
        return self._pieces(self._pacing.process(x, last=samples is None), off)

    def _pieces(self, x: NDArray[np.float64], off: NDArray[np.bool_]) -> list[Piece]:
        """Divide samples where a lead becomes usable or unusable, the reason changes, or a loss begins or ends."""
        first, n = self._at, x.shape[1]
        if not n:
            return []
        usable = np.abs(x) <= LARGEST_MV
        usable &= ~off[:, None]
        out_of_range = np.zeros_like(usable)
        losses: list[tuple[int, int, GapReason | None]] = [(first, first + n, None)]
        edges: list[int] = []
        if not usable.all():
            losses = self._bridge.reasons(first, first + n)
            out_of_range = ~(usable | np.isnan(x) | off[:, None])
            changes = (usable[:, 1:] != usable[:, :-1]) | (out_of_range[:, 1:] != out_of_range[:, :-1])
            edges = sorted({*np.flatnonzero(changes.any(axis=0)) + 1, *(begin - first for begin, _, _ in losses[1:])})
        pieces: list[Piece] = []
        for start, stop in zip((0, *edges), (*edges, n), strict=True):
            lost_by = next(reason for _, end, reason in losses if first + start < end)
            for at in range(start, stop, self._piece):
                end = min(at + self._piece, stop)
                pieces.append(Piece(x[:, at:end], usable[:, at], out_of_range[:, at], lost_by))
        self._at += n
        return pieces

    def holes(self, stop: int) -> list[Hole]:
        """Return the bridged holes that ended before sample `stop`, in order, each of them once."""
        found = [hole for hole in self._holes if hole.stop < stop]
        self._holes = [hole for hole in self._holes if hole.stop >= stop]
        return found

    def spikes(self, stop: int) -> list[Spike]:
        """Return the spikes that begin before sample `stop`, in order, each of them once."""
        return self._pacing.spikes(stop)

    @property
    def delays(self) -> bool:
        """Whether any of the samples last passed on had to wait for a decision."""
        return self._pacing.delays or self._bridge.delays

    def known_at(self, stop: int) -> int:
        """Return the number of samples that had arrived when all samples before `stop` were decided."""
        return self._bridge.known_at(self._pacing.known_at(stop))
