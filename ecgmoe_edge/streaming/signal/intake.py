"""What samples pass before anything is looked for in them: they wait until it is worth it, and are mended.

Short holes are bridged and pacing spikes are taken out. Where a sample has to wait for that, `arrival` says how many
had come when it was given, so that what becomes certain by it has its true delay.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.streaming.events import NEW_SIGNAL, GapReason
from ecgmoe_edge.streaming.signal.bridge import Hole, HoleBridge
from ecgmoe_edge.streaming.signal.pacing import PacingFilter, Spike
from ecgmoe_edge.streaming.unusable import LARGEST_MV

_WAIT_S = 0.5  # samples wait for so long at most: work is spread evenly
_LARGEST_SQUARE = LARGEST_MV**2


class Intake:
    """Takes the samples of all leads. fs: Hz. leads: how many."""

    def __init__(self, fs: float, leads: int) -> None:
        self._bridge = HoleBridge(fs, leads, LARGEST_MV)
        self._pacing = PacingFilter(fs, leads)
        self._kept = np.empty((leads, round(_WAIT_S * fs)))
        self._held = 0  # of them
        self._patience = 0  # so many may be held before something could become certain
        self._holes: list[Hole] = []  # bridged and not taken yet

    def restart(self, at: int) -> None:
        """A new signal begins at sample `at` on all leads."""
        self._patience = 0
        self._bridge.restart(at)
        self._pacing.restart(at)
        self._holes.clear()

    @property
    def waiting(self) -> int:
        """Samples that came and are not given yet."""
        return self._held + self.undecided

    @property
    def undecided(self) -> int:
        """Those of them that wait for the end of a hole or of what may be a spike."""
        return self._bridge.waiting + self._pacing.waiting

    def hold(self, samples: NDArray[np.float64]) -> bool:
        """Keep samples (leads, n) in mV, if nothing can become certain by them and all are usable; else False."""
        held = self._held + samples.shape[1]
        # Where the sum of squares is within the limit all samples are; it takes a third of the time of looking at each.
        if held < self._patience and np.vdot(samples, samples) <= _LARGEST_SQUARE:
            self._kept[:, self._held : held] = samples
            self._held = held
            return True
        return False

    def wait(self, patience: int) -> None:
        """Hold back fewer than `patience` samples from now on."""
        self._patience = 0 if self.undecided else min(patience, self._kept.shape[1])

    def may_bridge(self, lost: int, reason: GapReason) -> bool:
        """Whether a hole of so many samples is short enough."""
        return 0 < lost <= self._bridge.longest and reason not in NEW_SIGNAL

    def lose(self, start: int, lost: int, reason: GapReason) -> NDArray[np.float64]:
        """Samples (leads, lost) to `process` in place of those from `start` on that never came."""
        self._bridge.lose(start, start + lost, reason)
        return np.full((self._kept.shape[0], lost), np.nan)

    def process(self, samples: NDArray[np.float64] | None, off: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Samples (leads, n) as far as they are decided: unusable ones are NaN, or infinite if they are out of range.

        samples: those that come after the held ones; None: no more come, and all is given as it is. off: leads whose
        holes are not looked at.
        """
        x = self._kept[:, : self._held]
        if samples is None:
            x = x.copy()
        elif self._held:
            x = np.concatenate((x, samples), axis=1)
        else:
            x = samples
        self._held = 0
        x, holes = self._bridge.process(x, off, last=samples is None)
        self._holes += holes
        return self._pacing.process(x, last=samples is None)

    def holes(self, stop: int) -> list[Hole]:
        """Bridged holes that ended before sample `stop`, in order; each is given once."""
        found = [hole for hole in self._holes if hole.stop < stop]
        del self._holes[: len(found)]
        return found

    def spikes(self, stop: int) -> list[Spike]:
        """Spikes that begin before sample `stop`, in order; each is given once."""
        return self._pacing.spikes(stop)

    def reasons(self, start: int, stop: int) -> list[tuple[int, int, GapReason | None]]:
        """Samples `start` to `stop` cut where samples were lost: from, to, and why they were; None where they came."""
        return self._bridge.reasons(start, stop)

    @property
    def delays(self) -> bool:
        """Whether any of the samples given last had to wait to be decided."""
        return self._pacing.delays or self._bridge.delays

    def arrival(self, count: int) -> int:
        """Samples that had arrived when the first `count` of them were decided."""
        return self._bridge.arrival(self._pacing.arrival(count))
