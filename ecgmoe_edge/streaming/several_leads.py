"""The front end of several leads: R peaks fused over them, and each beat as two of them show it that show it well."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.streaming.beats import BeatContext, LeadView, Wearer
from ecgmoe_edge.streaming.events import Gap, LeadChange, Saturation
from ecgmoe_edge.streaming.features import RRMemory
from ecgmoe_edge.streaming.filters import check_rate
from ecgmoe_edge.streaming.frontend import UNUSABLE
from ecgmoe_edge.streaming.fusion import FusedDetector, Told
from ecgmoe_edge.streaming.lead_memory import Heard, LeadBack, LeadLost, Said, Standing
from ecgmoe_edge.streaming.lead_signal import PIECE_S, LeadSignal
from ecgmoe_edge.streaming.rpeaks import RPeak
from ecgmoe_edge.streaming.windows import BEAT_GRID, RPEAK_GRID, WindowSampler

_WAIT_S = 0.5  # samples wait for so long at most: work is spread evenly
_UNUSABLE_REPORT_S = 1.0
_CLIPPED_S = 0.050  # either side of R, in which clipped samples cost quality
_GOOD = 0.5  # quality of a beat: a lead that shows it so well is not passed over for a later one
_SHOWN = 2  # leads that a model is shown of a beat: what a third would add is not measured, and each costs its time
_RANK = {LeadBack: 0, LeadLost: 1, Heard: 2}  # of what was said with the same sample

Item: TypeAlias = BeatContext | Gap | Saturation | LeadChange


@dataclass(frozen=True)
class _View:
    """One beat in one lead."""

    lead: LeadSignal
    window: NDArray[np.float32]
    quality: float


class SeveralLeads:
    """As `FrontEnd`, for two leads and more.

    leads: their names. fs: device rate, 100-1000 Hz. mains: 50 or 60 for a notch. invert: all leads are turned over.
    grid: 128 Hz points of the beat window round R; None for R peaks only. context: 128 Hz samples of it, 0 for none.
    """

    def __init__(
        self,
        leads: Sequence[str],
        fs: float,
        *,
        mains: int | None = None,
        invert: bool = False,
        grid: NDArray[np.int64] | None = BEAT_GRID,
        context: int = 0,
    ) -> None:
        self.fs = check_rate(fs)
        self._names = tuple(leads)
        points = RPEAK_GRID if grid is None else grid
        self._peaks_only = grid is None
        self._no_window = np.zeros(points.size, np.float32)
        self._window = WindowSampler(self.fs, points)
        self._r_index = int(np.flatnonzero(points == 0)[0])
        self._context = WindowSampler(self.fs, np.arange(points[-1] - context + 1, points[-1] + 1)) if context else None
        before = max(self._window.before, self._context.before if self._context else 0)
        self._leads = [
            LeadSignal(k, self.fs, Wearer(points.size, self._r_index), before, mains=mains, invert=invert)
            for k in range(len(self._names))
        ]
        self._detector = FusedDetector(
            self.fs, len(self._leads), self._leads[0].reach, lambda lead, at: self._leads[lead].stands_still(at)
        )
        self._rr_memory = RRMemory()
        self._off = np.zeros(len(self._names), bool)
        self._position = 0  # of the samples worked off
        self._waiting = np.empty((len(self._leads), round(_WAIT_S * self.fs)))
        self._held = 0  # of them
        self._patience = 0  # so many may wait before something could become certain
        self._unusable = 0  # samples of the present run that no lead has, not yet reported
        self._pending: deque[tuple[RPeak, float | None]] = deque()  # and the RR interval to it, s
        self._last_r: int | None = None
        self._last_ready = 0
        self._order = tuple(range(len(self._leads)))  # clear leads, then noisy ones: whose window is taken

    @property
    def position(self) -> int:
        """Number of the next sample, lost ones counted."""
        return self._position + self._held

    def lead_off(self, mask: Sequence[bool]) -> None:
        """From the next sample on these leads are off."""
        self._work_off(self._waiting[:, :0])
        self._off = np.array(mask, bool)

    def push(self, samples: NDArray[np.float64]) -> list[Item]:
        """Take samples (leads, n) in mV; NaN marks unusable ones. Gives what became certain, in the order it did."""
        held = self._held + samples.shape[1]
        if held < self._patience and np.isfinite(samples).all():
            self._waiting[:, self._held : held] = samples
            self._held = held
            return []
        return self._work_off(samples)

    def _work_off(self, samples: NDArray[np.float64]) -> list[Item]:
        """Samples that wait, as nothing can become certain by them, and these."""
        items: list[Item] = []
        samples = np.concatenate((self._waiting[:, : self._held], samples), axis=1)
        self._held = 0
        if not samples.shape[1]:
            return items
        finite = np.isfinite(samples) & ~self._off[:, None]
        edges = np.flatnonzero((finite[:, 1:] != finite[:, :-1]).any(axis=0)) + 1
        piece = round(PIECE_S * self.fs)  # longer pushes are worked off bit by bit, so that memory stays bounded
        for start, stop in zip((0, *edges), (*edges, samples.shape[1]), strict=True):
            for at in range(start, stop, piece):
                self._take(samples[:, at : min(at + piece, stop)], finite[:, at], items)
        self._patience = min(self._due() - self._position, self._waiting.shape[1]) if finite[:, -1].all() else 0
        return items

    def _due(self) -> int:
        """Samples that must have arrived before anything new can become certain."""
        due = min(self._detector.due, *(lead.due for lead in self._leads))
        return min(due, self._ready(self._pending[0][0])) if self._pending else due

    def gap(self, lost: int | None, reason: str) -> list[Item]:
        """Samples that never came on any lead: `lost` of them, None where nobody knows."""
        items = self.flush()
        start = self._position
        self._restart(start + (lost or 0))
        items.append(Gap(start, start / self.fs, lost, reason))
        return items

    def flush(self) -> list[Item]:
        """What is left when the signal has ended; beats without their full window come out as not complete."""
        said: list[tuple[int, Item]] = [(0, item) for item in self._work_off(self._waiting[:, :0])]
        self._report_unusable(self._position, said)
        self._follow(self._detector.flush(self._position), said)
        while self._pending:
            said.append((self._position, self._complete(*self._pending.popleft())))
        for lead in self._leads:
            said += [(self._position, replace(event, lead=self._names[lead.number])) for event in lead.finish()]
        self._restart(self._position)
        return [item for _, item in said if not isinstance(item, LeadChange)]

    # -- samples

    def _take(self, x: NDArray[np.float64], usable: NDArray[np.bool_], items: list[Item]) -> None:
        out: list[tuple[int, Item]] = []
        if not usable.any():
            self._count_unusable(x.shape[1], out)
        elif self._unusable:
            self._report_unusable(self._position + 1, out)
        for k, lead in enumerate(self._leads):
            lead.push(x[k], None if usable[k] else "off" if self._off[k] else UNUSABLE)
        self._position += x.shape[1]
        said: list[tuple[int, Said]] = []
        for lead in self._leads:
            for arrived, what in lead.shown():
                if isinstance(what, Saturation):
                    out.append((arrived, replace(what, lead=self._names[lead.number])))
                else:
                    said.append((arrived, what))
        said.sort(key=_when_and_what)
        self._follow(self._detector.process(said, self._position), out)
        self._complete_before(self._position + 1, out)
        out.sort(key=_when)
        items += [item for _, item in out]

    def _count_unusable(self, n: int, out: list[tuple[int, Item]]) -> None:
        """No lead has a signal; say so once a second."""
        limit = round(_UNUSABLE_REPORT_S * self.fs)
        at = self._position
        while n:
            step = min(n, limit - self._unusable)
            self._unusable += step
            at += step
            n -= step
            if self._unusable == limit:
                self._report_unusable(at, out, until=at)

    def _report_unusable(self, arrived: int, out: list[tuple[int, Item]], until: int | None = None) -> None:
        if self._unusable:
            start = (self._position if until is None else until) - self._unusable
            out.append((arrived, Gap(start, start / self.fs, self._unusable, UNUSABLE)))
            self._unusable = 0

    def _restart(self, at: int) -> None:
        self._position = at
        self._patience = 0
        self._detector.restart()
        for lead in self._leads:
            lead.restart(at)
        self._last_r = None
        self._order = tuple(range(len(self._leads)))

    # -- what the detector tells

    def _follow(self, told: list[Told], out: list[tuple[int, Item]]) -> None:
        for what in told:
            if isinstance(what, RPeak):
                last, self._last_r = self._last_r, what.sample
                self._pending.append((what, None if last is None else (what.sample - last) / self.fs))
            else:
                self._complete_before(what.arrived, out)
                for k in set(what.heard).difference(self._order):
                    self._leads[k].quality.restart()
                self._order = (*what.clear, *(k for k in what.heard if k not in what.clear))
                if what.broken:
                    self._last_r = None
                change = self._change(what)
                if out and out[-1][0] == what.arrived and isinstance(before := out[-1][1], LeadChange):
                    out.pop()
                    change = replace(change, broken=before.broken or what.broken)
                out.append((what.arrived, change))

    def _change(self, standing: Standing) -> LeadChange:
        return LeadChange(
            sample=standing.arrived,
            time_s=standing.arrived / self.fs,
            leads=tuple(self._names[k] for k in standing.clear),
            others={self._names[k]: reason for k, reason in standing.reasons},
            broken=standing.broken,
        )

    def _complete_before(self, arrived: int, out: list[tuple[int, Item]]) -> None:
        """Beats that are complete before `arrived` samples have arrived."""
        while self._pending and self._ready(self._pending[0][0]) < arrived:
            beat = self._complete(*self._pending.popleft())
            out.append((beat.ready_at, beat))

    def _ready(self, peak: RPeak) -> int:
        return max(peak.known_at, peak.sample + self._window.after + 1, self._last_ready)

    # -- beats

    def _complete(self, peak: RPeak, rr_s: float | None) -> BeatContext:
        r = peak.sample
        ready = self._last_ready = min(self._ready(peak), self._position)
        views = self._views(r, ready)
        # The first lead that shows the beat well, or else the one that shows it best.
        good = next((view for view in views if view.quality >= _GOOD), None)
        view = good or max(views, key=lambda each: each.quality, default=_View(self._leads[0], self._no_window, 0.0))
        beat = BeatContext(
            sample=r,
            known_at=peak.known_at,
            ready_at=ready,
            search_back=peak.search_back,
            complete=bool(views),
            rr_s=rr_s,
            quality=view.quality,
            lead=self._names[view.lead.number] if views else None,
        )
        if self._peaks_only:
            return beat
        rr_features, rr_sequence = self._rr_memory.add(rr_s)
        others = [each for each in views if each is not view and each.quality >= _GOOD]
        beat = replace(
            beat,
            **vars(self._shown(view, r)),
            others=tuple(self._shown(each, r) for each in others[: _SHOWN - 1]),
            rr_features=rr_features,
            rr_sequence=rr_sequence,
        )
        # Every lead remembers the beat, so that the next one can step in with a past of its own.
        for each in views:
            each.lead.wearer.remember(each.window, each.lead.wearer.own_amplitude(each.window))
        return beat

    def _views(self, r: int, ready: int) -> list[_View]:
        """The beat at `r` in all leads that show the whole of it, clear leads first."""
        views = []
        start, stop, near = r - self._window.before, r + self._window.after + 1, round(_CLIPPED_S * self.fs)
        for k in self._order:
            lead = self._leads[k]
            if lead.holds(r, stop) and not lead.stands_still(r):
                window = self._window.read(lead.between(start, stop))
                clipped = lead.clipped(r - near, r + near + 1, ready) > 0
                views.append(_View(lead, window, lead.quality.of_beat(window, self._r_index, clipped=clipped)))
        return views

    def _shown(self, view: _View, r: int) -> LeadView:
        wearer = view.lead.wearer
        return LeadView(
            window=view.window,
            template=wearer.template(view.window),
            amplitude=wearer.amplitude(wearer.own_amplitude(view.window)),
            context=self._context_of(view.lead, r),
        )

    def _context_of(self, lead: LeadSignal, r: int) -> NDArray[np.float32]:
        if self._context is None:
            return np.zeros(0, np.float32)
        return self._context.read(lead.between(r - self._context.before, r + self._context.after + 1))


def _when(out: tuple[int, Item]) -> int:
    return out[0]


def _when_and_what(said: tuple[int, Said]) -> tuple[int, int, int]:
    return said[0], _RANK[type(said[1])], said[1].lead
