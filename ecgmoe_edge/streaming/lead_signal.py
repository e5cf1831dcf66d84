"""One lead of several: its filter, where its signal broke off, its candidates for a beat, the windows of its beats."""

from __future__ import annotations

from collections import deque
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.streaming.beats import Wearer
from ecgmoe_edge.streaming.events import Saturation
from ecgmoe_edge.streaming.filters import monitoring_band
from ecgmoe_edge.streaming.history import History
from ecgmoe_edge.streaming.lead_memory import Heard, LeadBack, LeadLost, Said
from ecgmoe_edge.streaming.qrs_candidates import DOMINANCE_S, CandidateFinder
from ecgmoe_edge.streaming.quality import SignalQuality
from ecgmoe_edge.streaming.standstill import Standstill

PIECE_S = 10.0  # samples come in pieces of so much at most
_KEPT_S = PIECE_S + 6.0  # a beat may be found by search-back some seconds late
_STILL_S = (-0.050, 0.070)  # round a peak of energy

Shown: TypeAlias = Said | Saturation


class LeadSignal:
    """Takes the samples of one lead, those that are of no use too, and remembers some seconds of them.

    number: of the lead among the others. fs: Hz. mains: 50 or 60 for a notch. invert: turn the signal over.
    before: samples that are needed before an R peak. wearer: the beats that its next one is compared with.
    """

    def __init__(
        self, number: int, fs: float, wearer: Wearer, before: int, *, mains: int | None = None, invert: bool = False
    ) -> None:
        self.wearer = wearer
        self.quality = SignalQuality()
        self.number = number
        self._fs = fs
        self._sign = -1.0 if invert else 1.0
        self._band = monitoring_band(fs, mains)
        self._finder = CandidateFinder(fs)
        self._still = Standstill(fs)
        self._raw = History(before + round(_KEPT_S * fs))
        self._signal = History(before + round(_KEPT_S * fs))
        self.restart(0)

    @property
    def reach(self) -> int:
        """Samples after which a peak of energy is known."""
        return round(DOMINANCE_S * self._fs)

    def restart(self, at: int) -> None:
        """All samples so far are past; the next has number `at`."""
        self._raw.restart(at)
        self._signal.restart(at)
        self._still.restart(at)
        self._breaks = deque([(at, at)])  # stretches without signal: first sample, and past the last
        self._unsettled: deque[Heard] = deque()
        self._why: str | None = "start"  # the signal is not there; None: it is
        self._shown: list[tuple[int, Shown]] = []

    def push(self, x: NDArray[np.float64], unusable: str | None) -> None:
        """Take samples (n,) in mV, n at least 1; `unusable` says why they cannot be used, if so."""
        begin = self._signal.stop
        if unusable is not None:
            if self._why != unusable:
                self._end(begin, begin + 1, unusable)
            self._break_lasts_to(begin + x.size)
            self._raw.append(np.zeros(x.size))
            self._signal.append(np.zeros(x.size))
            return
        if self._why not in (None, "flat", "rail"):
            self._still.restart(begin)
            self._start(begin, begin + 1)
        taken = 0
        for still in self._still.process(x, begin):
            if still.restart is not None:
                stop = still.restart - begin
                self._hear(x[taken:stop])
                taken = max(taken, stop)
                if still.restart == still.arrived:  # so long that it is no heart's
                    self._end(still.restart, still.arrived, still.event.kind)
                else:
                    self._start(still.restart, still.arrived)
            self._shown.append((still.arrived, still.event))
        self._hear(x[taken:])

    @property
    def due(self) -> int:
        """Samples that must have arrived before this lead can show anything new, as long as they are of use."""
        due = self._still.due(self._signal.stop)
        return due if self._why is not None else min(due, self._finder.due + 1)

    def shown(self) -> list[tuple[int, Shown]]:
        """What the samples since the last call made known, each with the number of samples that had arrived then."""
        shown, self._shown = self._shown, []
        return shown

    def finish(self) -> list[Saturation]:
        """The signal breaks off on all leads: what was counted and not said yet."""
        return self._still.broken_off()

    def holds(self, start: int, stop: int) -> bool:
        """Whether there is unbroken signal from `start` to `stop`."""
        inside = self._signal.start <= start and stop <= self._signal.stop
        return inside and not any(first < stop and past > start for first, past in self._breaks)

    def between(self, start: int, stop: int) -> NDArray[np.float64]:
        """The filtered signal from `start` to `stop`, zero before its last break and where it is not held."""
        begin = max(self._signal.start, *(past for first, past in self._breaks if first < stop), start)
        held = self._signal.between(begin, stop)
        if held.size == stop - start:
            return held
        stretch = np.zeros(stop - start)
        stretch[begin - start : begin - start + held.size] = held
        return stretch

    def clipped(self, start: int, stop: int, known: int) -> int:
        """Clipped samples from `start` to `stop`, as they are known once `known` samples have arrived."""
        return self._still.clipped(start, stop, known)

    def stands_still(self, at: int) -> bool:
        """Whether the input did not move round the energy's peak `at`, at a rail or with no lead connected."""
        near = self._raw.between(*(at + round(seconds * self._fs) for seconds in _STILL_S))
        return not near.size or bool(near.min() == near.max())

    # -- what becomes of the signal

    def _hear(self, x: NDArray[np.float64]) -> None:
        if not x.size:
            return
        self._raw.append(x)
        y = self._band.process(self._sign * x)
        self._signal.append(y)
        if self._why is not None:  # it stands still
            self._break_lasts_to(self._signal.stop)
            return
        for candidate in self._finder.process(y):
            heard = Heard(self.number, candidate, candidate.settled_at + 1)
            self._unsettled.append(heard)
            self._shown.append((candidate.known_at + 1, heard))
        while self._unsettled and self._unsettled[0].settled <= self._signal.stop:
            self._settle(self._unsettled.popleft())

    def _settle(self, heard: Heard) -> None:
        heard.following = self._finder.energy_after(heard.candidate) / heard.candidate.energy

    def _start(self, at: int, arrived: int) -> None:
        """A new signal begins at sample `at`."""
        self._break_lasts_to(at)
        self._why = None
        self._band.reset()
        self._finder.restart(at)
        self._shown.append((arrived, LeadBack(self.number, at)))

    def _end(self, at: int, arrived: int, why: str) -> None:
        """The signal ends before sample `at`."""
        for heard in self._unsettled:
            self._settle(heard)
        self._unsettled.clear()
        if self._why is None:
            self._breaks.append((at, at))
        else:
            self._break_lasts_to(at)
        while len(self._breaks) > 1 and self._breaks[1][1] < self._signal.start:
            self._breaks.popleft()
        self._why = why
        self._shown.append((arrived, LeadLost(self.number, why)))

    def _break_lasts_to(self, at: int) -> None:
        self._breaks[-1] = (self._breaks[-1][0], at)
