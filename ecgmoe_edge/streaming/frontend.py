"""The one front end: from the samples of any number of leads to beats with all that a model is given of them.

Training and the stream share it. Samples wait until something can become certain by them, and are processed together
then: the cost of a push hardly depends on how many there are, and nothing comes out later than it would with every
sample processed at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.streaming.beat_builder import BeatBuilder
from ecgmoe_edge.streaming.beats import BeatContext
from ecgmoe_edge.streaming.events import UNUSABLE, Clipping, Flatline, Gap, GapReason, LeadChange, LeadReason
from ecgmoe_edge.streaming.qrs.detector import RPeakDetector
from ecgmoe_edge.streaming.qrs.lead_memory import LeadBegin, LeadCandidate, LeadEnd, LeadReport
from ecgmoe_edge.streaming.qrs.possible_beat import Decision, LeadStatus, RPeak
from ecgmoe_edge.streaming.rhythm.limits import RhythmLimits
from ecgmoe_edge.streaming.rhythm.silence import SignalEnd, Silence, SilenceClock
from ecgmoe_edge.streaming.signal.filters import check_rate
from ecgmoe_edge.streaming.signal.lead import LeadSignal
from ecgmoe_edge.streaming.signal.standstill import FLAT_S
from ecgmoe_edge.streaming.signal.windows import BEAT_GRID, RPEAK_GRID, WindowSampler

_PIECE_S = 60.0  # longer pushes are processed in pieces, so that memory stays bounded
_WAIT_S = 0.5  # samples wait for so long at most: work is spread evenly
_UNUSABLE_REPORT_S = 1.0
_EDGE_S = 0.060  # after the signal's start a QRS complex may be the rest of one: its R cannot be told
_T_WAVE_S = 0.400  # after the signal's start a beat may be the T wave of one before: no RR interval begins with it
_FIRST, _QUIET, _NEXT, _LAST = range(4)  # order of what comes out with the same sample

Item: TypeAlias = BeatContext | Gap | Flatline | Clipping | LeadChange | Silence | SignalEnd


class FrontEnd:
    """Filter, R peaks, windows and features of one lead or several.

    fs: device rate, 100-1000 Hz. leads: their names. mains: 50 or 60 for a notch. invert: all leads are turned over.
    grid: 128 Hz points of the beat window round R; None for R peaks only, as soon as they are certain and at a fraction
    of the cost. context: length of `BeatContext.context` in 128 Hz samples, 0 for none. limits: those of the silence
    that is reported.
    """

    def __init__(
        self,
        fs: float,
        leads: Sequence[str] = ("II",),
        *,
        mains: int | None = None,
        invert: bool = False,
        grid: NDArray[np.int64] | None = BEAT_GRID,
        context: int = 0,
        limits: RhythmLimits | None = None,
    ) -> None:
        limits = limits or RhythmLimits()
        self.fs = check_rate(fs)
        self._names = tuple(leads)
        count = len(self._names)
        points = RPEAK_GRID if grid is None else grid
        longer = WindowSampler(self.fs, np.arange(points[-1] - context + 1, points[-1] + 1)) if context else None
        before = longer.before if longer else 0
        self._leads = [LeadSignal(k, self.fs, points, before, mains=mains, invert=invert) for k in range(count)]
        self._after = WindowSampler(self.fs, points).after
        self._builder = BeatBuilder(self._leads, self._names, points, longer, peaks_only=grid is None)
        self._detector = RPeakDetector(self.fs, count, self._leads[0].reach)
        self._silence = SilenceClock(self.fs, (limits.pause_s, limits.asystole_s))
        self._edge, self._t_wave = round(_EDGE_S * self.fs), round(_T_WAVE_S * self.fs)
        self._off = np.zeros(count, bool)
        self._watched = np.zeros(count, bool)  # leads whose samples are of use
        self._position = 0  # of the samples processed
        self._waiting = np.empty((count, round(_WAIT_S * self.fs)))
        self._held = 0  # of them
        self._patience = 0  # so many may wait before something could become certain
        self._unusable = 0  # samples of the present run that no lead has, not yet reported
        self._pending: deque[tuple[RPeak, float | None]] = deque()  # and the RR interval to it, s
        self._chain_start = 0  # of the present chain of beats
        self._last_r: int | None = None
        self._last_ready = 0
        self._order = tuple(range(count))  # clear leads, then noisy ones: whose window is taken

    @property
    def position(self) -> int:
        """Number of the next sample, lost ones counted."""
        return self._position + self._held

    def lead_off(self, mask: Sequence[bool]) -> list[Item]:
        """From the next sample on these leads are off, and the others on."""
        items = self._process(self._waiting[:, :0])
        self._off = np.array(mask, bool)
        self._patience = 0
        return items

    def push(self, samples: NDArray[np.float64]) -> list[Item]:
        """Take samples (leads, n) in mV; NaN marks unusable ones. Gives what became certain, in the order it did."""
        held = self._held + samples.shape[1]
        if held < self._patience and np.isfinite(samples).all():
            self._waiting[:, self._held : held] = samples
            self._held = held
            return []
        return self._process(samples)

    def gap(self, lost: int | None, reason: GapReason) -> list[Item]:
        """Samples that never came: `lost` of them, None where nobody knows. Only patient history is carried across."""
        items = self.flush()
        start = self._position
        self._restart(start + (lost or 0))
        items.append(Gap(start, start / self.fs, lost, reason))
        return items

    def flush(self) -> list[Item]:
        """What is left when the signal has ended; beats without their full window come out as not complete."""
        items = self._process(self._waiting[:, :0])
        out: list[tuple[int, int, Item]] = []
        self._report_unusable(self._position, out)
        for lead in self._leads:
            if lead.present:
                lead.break_off()
        self._follow(self._detector.flush(self._position), out)
        self._complete_all(self._position, out)
        self._end_signal(self._position, self._position, out, lead_lost=False)
        for k, lead in enumerate(self._leads):
            out += [(self._position, _LAST, self._named(event, k)) for event in lead.stop_watching(self._position)]
        self._restart(self._position)
        return items + [item for _, _, item in out if not isinstance(item, LeadChange)]

    # -- samples

    def _process(self, samples: NDArray[np.float64]) -> list[Item]:
        """Samples that wait, as nothing can become certain by them, and these."""
        items: list[Item] = []
        x = np.concatenate((self._waiting[:, : self._held], samples), axis=1) if self._held else samples
        self._held = 0
        if not x.shape[1]:
            return items
        finite = np.isfinite(x)
        if self._off.any():
            finite &= ~self._off[:, None]
        edges: Sequence[int] = ()
        if not finite.all():
            edges = (np.flatnonzero((finite[:, 1:] != finite[:, :-1]).any(axis=0)) + 1).tolist()
        piece = round(_PIECE_S * self.fs)
        for start, stop in zip((0, *edges), (*edges, x.shape[1]), strict=True):
            for at in range(start, stop, piece):
                self._take(x[:, at : min(at + piece, stop)], finite[:, at], items)
        self._patience = 0 if self._unusable else min(self._due() - self._position, self._waiting.shape[1])
        return items

    def _due(self) -> int:
        """Samples that must have arrived before anything new can become certain."""
        due = min(self._detector.due, self._silence.due)
        for lead, watched in zip(self._leads, self._watched.tolist(), strict=True):
            if watched:
                due = min(due, lead.still_due(self._position))
            if lead.present:
                due = min(due, lead.due)
        return min(due, self._ready(self._pending[0][0])) if self._pending else due

    def _take(self, x: NDArray[np.float64], usable: NDArray[np.bool_], items: list[Item]) -> None:
        """Samples (leads, n) of which each lead has all or none."""
        begin, n = self._position, x.shape[1]
        out: list[tuple[int, int, Item]] = []
        if self._unusable and usable.any():
            self._report_unusable(begin + 1, out)
        if (usable != self._watched).any():
            self._watch(usable, begin, out)
        if usable.any():
            ends, begins = self._watch_stillness(x, usable, out)
            cuts = sorted({*ends, *begins, begin + n}) if ends or begins else [begin + n]
            at = begin
            for cut in cuts:
                if cut > at:
                    self._detect(x[:, at - begin : cut - begin], at, out)
                at = cut
                if cut in ends or cut in begins:
                    self._change_leads(ends.get(cut, []), begins.get(cut, []), cut, cut, out)
        else:
            self._count_unusable(n, out)
        self._position = begin + n
        self._complete_before(self._position + 1, out)
        self._note_silence(self._position, out)
        if len(out) > 1:
            out.sort(key=_when)
        items += [item for _, _, item in out]

    def _detect(self, x: NDArray[np.float64], at: int, out: list[tuple[int, int, Item]]) -> None:
        """Samples (leads, n) of which the first has number `at`, with no change of any lead between them."""
        reports: list[LeadCandidate] = []
        for k, lead in enumerate(self._leads):
            if lead.present:
                reports += lead.process(x[k])
        if len(self._leads) > 1:
            reports.sort(key=_arrival)
        self._position = at + x.shape[1]
        self._follow(self._detector.process(reports, self._position), out)
        self._complete_before(self._position + 1, out)

    # -- leads that come and go

    def _watch(self, usable: NDArray[np.bool_], at: int, out: list[tuple[int, int, Item]]) -> None:
        """From sample `at` on these leads have samples that are of use, and the others not."""
        begins = np.flatnonzero(usable & ~self._watched).tolist()
        ends = np.flatnonzero(~usable & self._watched).tolist()
        self._watched = usable.copy()
        left = [(at + 1, _LAST, self._named(event, k)) for k in ends for event in self._leads[k].stop_watching(at)]
        self._change_leads([], begins, at, at + 1, out)
        self._change_leads([(k, "off" if self._off[k] else UNUSABLE) for k in ends], [], at, at + 1, out)
        out += left

    def _watch_stillness(
        self, x: NDArray[np.float64], usable: NDArray[np.bool_], out: list[tuple[int, int, Item]]
    ) -> tuple[dict[int, list[tuple[int, LeadReason]]], dict[int, list[int]]]:
        """Report flatline and clipping; gives the samples at which signals end (lead, reason) and begin (lead)."""
        ends: dict[int, list[tuple[int, LeadReason]]] = {}
        begins: dict[int, list[int]] = {}
        for k, lead in enumerate(self._leads):
            if not usable[k]:
                continue
            for still in lead.watch(x[k], self._position):
                # It lasts for so long that it is no heart's.
                is_end = isinstance(still.event, Flatline) and still.restart == still.arrived
                if isinstance(still.event, Flatline) and is_end:
                    ends.setdefault(still.arrived, []).append((k, still.event.kind))
                elif still.restart is not None:
                    begins.setdefault(still.restart, []).append(k)
                out.append((still.arrived, _LAST if is_end else _FIRST, self._named(still.event, k)))
        return ends, begins

    def _change_leads(
        self,
        ends: Sequence[tuple[int, LeadReason]],
        begins: Sequence[int],
        at: int,
        arrived: int,
        out: list[tuple[int, int, Item]],
    ) -> None:
        """At sample `at` these signals end, known once `arrived` samples have arrived, and others begin."""
        reports: list[LeadReport] = [LeadEnd(arrived, k, reason) for k, reason in ends]
        for k, _ in ends:
            if self._leads[k].present:
                self._leads[k].break_off()
        # An input that stands still has given no signal since it does.
        still = round(FLAT_S * self.fs) if all(reason in ("flat", "rail") for _, reason in ends) else 0
        self._follow(self._detector.process(reports, arrived - 1), out, signal_end=at - still)
        for k, _ in ends:
            self._leads[k].end()
        for k in begins:
            self._leads[k].begin(at)
        self._follow(self._detector.process([LeadBegin(k, at) for k in begins], at), out)
        self._chain_start = self._detector.began
        if not self._silence.running and any(lead.present for lead in self._leads):
            self._silence.start(self._chain_start)

    def _count_unusable(self, n: int, out: list[tuple[int, int, Item]]) -> None:
        """No lead has a signal; report it once a second."""
        limit = round(_UNUSABLE_REPORT_S * self.fs)
        while n:
            step = min(n, limit - self._unusable)
            self._unusable += step
            self._position += step
            n -= step
            if self._unusable == limit:
                self._report_unusable(self._position, out)

    def _report_unusable(self, arrived: int, out: list[tuple[int, int, Item]]) -> None:
        if self._unusable:
            start = self._position - self._unusable
            out.append((arrived, _FIRST, Gap(start, start / self.fs, self._unusable, UNUSABLE)))
            self._unusable = 0

    def _restart(self, at: int) -> None:
        """A new signal begins on all leads at sample `at`."""
        self._position = at
        self._patience = 0
        self._watched[:] = False
        self._detector.restart()
        for lead in self._leads:
            lead.restart(at)
        self._last_r = None
        self._order = tuple(range(len(self._leads)))

    def _named(self, event: Flatline | Clipping, lead: int) -> Flatline | Clipping:
        return event if len(self._leads) == 1 else replace(event, lead=self._names[lead])

    # -- what the detector decides

    def _follow(self, decisions: list[Decision], out: list[tuple[int, int, Item]], signal_end: int = 0) -> None:
        """Act on decisions; `signal_end`: the sample with which the signal ends, if they say that it does."""
        for decision in decisions:
            if isinstance(decision, RPeak):
                r = decision.sample
                if r >= self._chain_start + self._edge:
                    rr_s = None if self._last_r is None else (r - self._last_r) / self.fs
                    self._last_r = r if r >= self._chain_start + self._t_wave else None
                    self._complete_before(decision.known_at, out)
                    self._note_silence(decision.known_at - 1, out)
                    self._pending.append((decision, rr_s))
                    self._silence.peak(r)
                continue
            self._complete_before(decision.arrived, out)
            if decision.broken:
                self._complete_all(decision.arrived, out)
                self._end_signal(signal_end, decision.arrived, out, lead_lost=True)
                self._last_r = None
            if len(self._leads) > 1:
                voting = decision.voting
                self._order = (*decision.clear, *(k for k in voting if k not in decision.clear))
                self._report_change(decision, out)

    def _note_beat(self, beat: BeatContext, out: list[tuple[int, int, Item]]) -> None:
        self._note_silence(beat.ready_at - 1, out)
        counts = beat.sample >= self._chain_start + self._t_wave
        self._silence.beat(beat.sample, beat.ready_at, is_beat=not beat.is_noise, counts=counts)

    def _note_silence(self, until: int, out: list[tuple[int, int, Item]]) -> None:
        if self._silence.due <= until:
            out += [(silence.arrived, _QUIET, silence) for silence in self._silence.run(until)]

    def _end_signal(self, sample: int, arrived: int, out: list[tuple[int, int, Item]], *, lead_lost: bool) -> None:
        """No lead has a signal from `sample` on."""
        if self._silence.running:
            self._note_silence(arrived - 1, out)
            self._silence.stop()
            out.append((arrived, _NEXT, SignalEnd(arrived, sample, lead_lost)))

    def _report_change(self, status: LeadStatus, out: list[tuple[int, int, Item]]) -> None:
        broken = status.broken
        if out and out[-1][0] == status.arrived and isinstance(before := out[-1][2], LeadChange):
            out.pop()
            broken |= before.broken
        change = LeadChange(
            sample=status.arrived,
            time_s=status.arrived / self.fs,
            leads=tuple(self._names[k] for k in status.clear),
            others={self._names[k]: reason for k, reason in status.reasons},
            broken=broken,
        )
        out.append((status.arrived, _NEXT, change))

    def _complete_before(self, arrived: int, out: list[tuple[int, int, Item]]) -> None:
        """Beats that are complete before `arrived` samples have arrived."""
        while self._pending and self._ready(self._pending[0][0]) < arrived:
            beat = self._complete(*self._pending.popleft())
            self._note_beat(beat, out)
            out.append((beat.ready_at, _NEXT, beat))

    def _complete_all(self, arrived: int, out: list[tuple[int, int, Item]]) -> None:
        """The signal has ended: beats that wait for the rest of their window are given as they are."""
        while self._pending:
            beat = self._complete(*self._pending.popleft(), latest=arrived)
            self._note_beat(beat, out)
            out.append((beat.ready_at, _NEXT, beat))

    def _complete(self, peak: RPeak, rr_s: float | None, latest: int | None = None) -> BeatContext:
        self._last_ready = self._ready(peak) if latest is None else min(self._ready(peak), latest)
        return self._builder.build(peak, rr_s, self._last_ready, self._order)

    def _ready(self, peak: RPeak) -> int:
        return max(peak.known_at, peak.sample + self._after + 1, self._last_ready)


def _when(out: tuple[int, int, Item]) -> tuple[int, int]:
    return out[0], out[1]


def _arrival(report: LeadCandidate) -> int:
    return report.arrived
