"""The one front end: from the samples of any number of leads to beats with all that a model is given of them.

Training and the stream share it. Samples wait until something can become certain by them, and are processed together
then: the cost of a push hardly depends on how many there are, and nothing comes out later than it would with every
sample processed at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from operator import attrgetter, itemgetter
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.streaming.beat_builder import BeatBuilder
from ecgmoe_edge.streaming.beats import BeatContext
from ecgmoe_edge.streaming.events import (
    NO_ECG,
    Clipping,
    Flatline,
    Gap,
    GapReason,
    LeadChange,
    LeadReason,
    Mains,
    PacingSpike,
)
from ecgmoe_edge.streaming.qrs.detector import RPeakDetector
from ecgmoe_edge.streaming.qrs.lead_memory import LeadBegin, LeadCandidate, LeadEnd, LeadReport
from ecgmoe_edge.streaming.qrs.possible_beat import Decision, LeadStatus, RPeak
from ecgmoe_edge.streaming.rhythm.limits import RhythmLimits
from ecgmoe_edge.streaming.rhythm.silence import SignalEnd, Silence, SilenceClock
from ecgmoe_edge.streaming.signal.bridge import Hole
from ecgmoe_edge.streaming.signal.filters import check_rate
from ecgmoe_edge.streaming.signal.flatline import FLAT_S
from ecgmoe_edge.streaming.signal.intake import Intake
from ecgmoe_edge.streaming.signal.lead import LeadSignal
from ecgmoe_edge.streaming.signal.mains import AUTO, MainsChoice
from ecgmoe_edge.streaming.signal.windows import BEAT_GRID, RPEAK_GRID, WindowSampler
from ecgmoe_edge.streaming.unusable import LARGEST_MV, UnusableRun

_PIECE_S = 60.0  # longer pushes are processed in pieces, so that memory stays bounded
_EDGE_S = 0.060  # after the signal's start a QRS complex may be the rest of one: its R cannot be found
_T_WAVE_S = 0.400  # after the signal's start a beat may be the T wave of one before: no RR interval begins with it
_SPIKE, _FIRST, _QUIET, _NEXT, _LAST = range(5)  # order of what comes out with the same sample

OfLead: TypeAlias = Gap | Flatline | Clipping | Mains | PacingSpike
Item: TypeAlias = BeatContext | OfLead | LeadChange | Silence | SignalEnd


class FrontEnd:
    """Filter, R peaks, windows and features of one lead or several.

    fs: device rate, 100-1000 Hz. leads: their names. mains: "auto" for a notch where hum is measured, 50 or 60 for one
    that is always in, None for none. invert: all leads are turned over. grid: 128 Hz points of the beat window round R;
    None for R peaks only, as soon as they are certain and at a fraction of the cost. context: length of
    `BeatContext.context` in 128 Hz samples, 0 for none. limits: those of the silence that is reported.
    """

    def __init__(
        self,
        fs: float,
        leads: Sequence[str] = ("II",),
        *,
        mains: MainsChoice = AUTO,
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
        self._intake = Intake(self.fs, count)
        self._after = WindowSampler(self.fs, points).after
        self._builder = BeatBuilder(self._leads, self._names, points, longer, peaks_only=grid is None)
        self._detector = RPeakDetector(self.fs, count, self._leads[0].reach)
        self._silence = SilenceClock(self.fs, (limits.pause_s, limits.asystole_s))
        self._edge, self._t_wave = round(_EDGE_S * self.fs), round(_T_WAVE_S * self.fs)
        self._off = np.zeros(count, bool)
        self._none = np.zeros(count, bool)
        self._watched = np.zeros(count, bool)  # leads whose samples are of use
        self._position = 0  # of the samples processed
        self._unusable = UnusableRun(self.fs)
        self._pending: deque[tuple[RPeak, float | None]] = deque()  # and the RR interval to it, s
        self._chain_start = 0  # of the present chain of beats
        self._last_r: int | None = None
        self._last_ready = 0
        self._order = tuple(range(count))  # clear leads, then noisy ones: whose window is taken
        self._no_ecg: frozenset[int] = frozenset()  # leads without an ECG
        self._reported: tuple[object, ...] = (self._order, ())  # clear leads, and why the others are not

    @property
    def position(self) -> int:
        """Number of the next sample, lost ones counted."""
        return self._position + self._intake.waiting

    def lead_off(self, mask: Sequence[bool]) -> list[Item]:
        """From the next sample on these leads are off, and the others on."""
        items = self._process(None)
        self._off = np.array(mask, bool)
        self._intake.collect_below(0)
        return items

    def push(self, samples: NDArray[np.float64]) -> list[Item]:
        """Take samples (leads, n) in mV; NaN and what is beyond +-`LARGEST_MV` are unusable.

        Gives what became certain, in the order it did.
        """
        return [] if self._intake.collect(samples) else self._process(samples)

    def gap(self, lost: int | None, reason: GapReason, *, at_least: bool = False) -> list[Item]:
        """Samples that never came: `lost` of them or, with `at_least`, more; None where nobody knows.

        Where there are so few that the hole may be bridged, that becomes certain later. Over a longer one only patient
        history is carried.
        """
        runs = self._watched.any() or self._unusable.samples or self.position > self._position
        if runs and lost and not at_least and self._intake.may_bridge(lost, reason):
            return self._process(self._intake.lose(self.position, lost, reason))
        items = self.flush()
        start = self._position
        self._restart(start + (lost or 0))
        items.append(Gap(start, start / self.fs, lost, reason, at_least))
        return items

    def flush(self) -> list[Item]:
        """What is left when the signal has ended; beats without their full window come out as not complete."""
        items = self._process(None)
        out: list[tuple[int, int, Item]] = []
        out += [(self._position, _FIRST, gap) for gap in self._unusable.report(self._position)]
        kept_back = [each for lead in self._leads if lead.present for each in lead.break_off(self._position)]
        self._follow(self._detector.process(kept_back, self._position), out)
        self._follow(self._detector.flush(self._position), out)
        self._complete_all(self._position, out)
        self._end_signal(self._position, self._position, out, lead_lost=False)
        for k, lead in enumerate(self._leads):
            out += [(self._position, _LAST, self._named(event, k)) for event in lead.end_flatline(self._position)]
        self._restart(self._position)
        return items + [item for _, _, item in out if not isinstance(item, LeadChange)]

    # -- samples

    def _process(self, samples: NDArray[np.float64] | None) -> list[Item]:
        """Samples that wait, as nothing can become certain by them, and these; None: the signal breaks off here."""
        x = self._intake.process(samples, self._off)
        items: list[Item] = []
        usable = np.abs(x) <= LARGEST_MV
        usable &= ~self._off[:, None]
        edges: Sequence[int] = ()
        large = None
        if not usable.all():
            large = ~(usable | np.isnan(x) | self._off[:, None])
            changes = ((usable[:, 1:] != usable[:, :-1]) | (large[:, 1:] != large[:, :-1])).any(axis=0)
            lost = self._intake.reasons(self._position, self._position + x.shape[1])[1:]
            changes[[start - self._position - 1 for start, _, _ in lost]] = True
            edges = (np.flatnonzero(changes) + 1).tolist()
        piece = round(_PIECE_S * self.fs)
        for start, stop in zip((0, *edges), (*edges, x.shape[1]), strict=True):
            beyond = self._none if large is None else large[:, start]
            for at in range(start, stop, piece):
                self._take(x[:, at : min(at + piece, stop)], usable[:, at], beyond, items)
        self._intake.collect_below(0 if self._unusable.samples else self._due() - self._position)
        return [self._delayed(item) for item in items] if self._intake.delays else items

    def _delayed(self, item: Item) -> Item:
        """A beat with the samples that had arrived by the device's count, where some had to wait."""
        if isinstance(item, BeatContext):
            known_at = self._intake.known_at
            return replace(item, known_at=known_at(item.known_at), ready_at=known_at(item.ready_at))
        return item

    def _due(self) -> int:
        """Samples that must have arrived before anything new can become certain."""
        due = min(self._detector.due, self._silence.due)
        for lead, watched in zip(self._leads, self._watched.tolist(), strict=True):
            if watched:
                due = min(due, lead.flatline_due(self._position))
            if lead.present:
                due = min(due, lead.due)
        return min(due, self._ready(self._pending[0][0])) if self._pending else due

    def _take(
        self, x: NDArray[np.float64], usable: NDArray[np.bool_], large: NDArray[np.bool_], items: list[Item]
    ) -> None:
        """Samples (leads, n) of which each lead has all or none; `large`: leads whose samples are out of range."""
        begin, n = self._position, x.shape[1]
        out: list[tuple[int, int, Item]] = []
        for spike in self._intake.spikes(begin + n):
            if usable[spike.lead]:
                self._leads[spike.lead].spike(spike.sample, spike.width)
                at_s, width_ms = spike.sample / self.fs, 1000.0 * spike.width / self.fs
                event = PacingSpike(spike.sample, at_s, spike.amplitude_mv, width_ms)
                out.append((spike.sample + 1, _SPIKE, self._named(event, spike.lead)))
        for hole in self._intake.holes(begin + n):
            for k in hole.leads:
                self._leads[k].bridge(hole.start, hole.stop)
            out += [(hole.stop + 1, _FIRST, gap) for gap in self._gaps_of(hole)]
        if self._unusable.samples and usable.any():
            out += [(begin + 1, _FIRST, gap) for gap in self._unusable.report(begin)]
        if (usable != self._watched).any():
            self._watch(usable, large, begin, out)
        if usable.any():
            ends, begins = self._detect_flatline(x, usable, out)
            cuts = sorted({*ends, *begins, begin + n}) if ends or begins else [begin + n]
            at = begin
            for cut in cuts:
                if cut > at:
                    self._detect(x[:, at - begin : cut - begin], at, out)
                at = cut
                if cut in ends or cut in begins:
                    self._change_leads(ends.get(cut, []), begins.get(cut, []), cut, cut, out)
        else:
            reason = self._intake.reasons(begin, begin + 1)[0][2]
            gaps = self._unusable.count(n, reason or ("range" if large.any() else "nan"), begin)
            out += [(arrived, _FIRST, gap) for arrived, gap in gaps]
        self._position = begin + n
        self._complete_before(self._position + 1, out)
        self._note_silence(self._position, out)
        if len(out) > 1:
            out.sort(key=itemgetter(0, 1))
        items += [item for _, _, item in out]

    def _detect(self, x: NDArray[np.float64], at: int, out: list[tuple[int, int, Item]]) -> None:
        """Samples (leads, n) of which the first has number `at`, with no change of any lead between them."""
        reports: list[LeadCandidate] = []
        for k, lead in enumerate(self._leads):
            if lead.present:
                reports += lead.process(x[k])
                out += [(arrived, _FIRST, self._named(event, k)) for arrived, event in lead.mains_events()]
        if len(self._leads) > 1:
            reports.sort(key=attrgetter("known_at"))
        self._position = at + x.shape[1]
        self._follow(self._detector.process(reports, self._position), out)
        self._complete_before(self._position + 1, out)

    # -- leads that come and go

    def _watch(
        self, usable: NDArray[np.bool_], large: NDArray[np.bool_], at: int, out: list[tuple[int, int, Item]]
    ) -> None:
        """From sample `at` on these leads have samples that are of use, and the others not."""
        begins = np.flatnonzero(usable & ~self._watched).tolist()
        ends = np.flatnonzero(~usable & self._watched).tolist()
        self._watched = usable.copy()
        left = [(at + 1, _LAST, self._named(event, k)) for k in ends for event in self._leads[k].end_flatline(at)]
        self._change_leads([], begins, at, at + 1, out)
        why: list[tuple[int, LeadReason]] = [
            (k, "off" if self._off[k] else "range" if large[k] else "nan") for k in ends
        ]
        self._change_leads(why, [], at, at + 1, out)
        out += left

    def _detect_flatline(
        self, x: NDArray[np.float64], usable: NDArray[np.bool_], out: list[tuple[int, int, Item]]
    ) -> tuple[dict[int, list[tuple[int, LeadReason]]], dict[int, list[int]]]:
        """Report flatline and clipping in samples `x` (leads, n) of the leads that are usable, (leads,).

        Returns:
            By sample: leads whose signal ends before it, with the reason; and leads whose signal begins at it.
        """
        ends: dict[int, list[tuple[int, LeadReason]]] = {}
        begins: dict[int, list[int]] = {}
        for k, lead in enumerate(self._leads):
            if not usable[k]:
                continue
            for report in lead.detect_flatline(x[k], self._position):
                order = _FIRST
                if report.signal_end is not None and isinstance(report.event, Flatline):
                    ends.setdefault(report.signal_end, []).append((k, report.event.kind))
                    order = _LAST
                elif report.signal_begin is not None:
                    begins.setdefault(report.signal_begin, []).append(k)
                out.append((report.known_at, order, self._named(report.event, k)))
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
        reports: list[LeadReport] = []
        for k, _ in ends:
            if self._leads[k].present:
                reports += self._leads[k].break_off(arrived)
        reports += [LeadEnd(arrived, k, reason) for k, reason in ends]
        # A flatline is reported after a second, and its signal has ended with its first sample.
        flat = round(FLAT_S * self.fs) if all(reason in ("flat", "rail") for _, reason in ends) else 0
        self._follow(self._detector.process(reports, arrived - 1), out, signal_end=at - flat)
        for k, _ in ends:
            self._leads[k].end()
        for k in begins:
            self._leads[k].begin(at)
        self._follow(self._detector.process([LeadBegin(k, at) for k in begins], at), out)
        self._chain_start = self._detector.began
        if not self._silence.running and any(lead.present for lead in self._leads):
            self._silence.start(self._chain_start)

    def _restart(self, at: int) -> None:
        """A new signal begins on all leads at sample `at`."""
        self._position = at
        self._intake.restart(at)
        self._watched[:] = False
        self._detector.restart()
        for lead in self._leads:
            lead.restart(at)
        self._last_r = None
        self._order = tuple(range(len(self._leads)))
        self._no_ecg, self._reported = frozenset(), (self._order, ())

    def _gaps_of(self, hole: Hole) -> list[OfLead]:
        """What is reported of a hole: once, or for each of the leads where others went on."""
        gap = Gap(hole.start, hole.start / self.fs, hole.stop - hole.start, hole.reason, bridged=True)
        in_all = len(hole.leads) == int((~self._off).sum())
        return [gap] if in_all else [self._named(gap, k) for k in hole.leads]

    def _named(self, event: OfLead, lead: int) -> OfLead:
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
            self._complete_before(decision.known_at, out)
            if decision.broken:
                self._complete_all(decision.known_at, out)
                self._end_signal(signal_end, decision.known_at, out, lead_lost=True)
                self._last_r = None
            self._order = decision.order
            no_ecg = frozenset(k for k, reason in decision.reasons if reason == NO_ECG)
            is_news = no_ecg != self._no_ecg
            if len(self._leads) > 1:
                is_news = decision.broken or (decision.clear, decision.reasons) != self._reported
            self._no_ecg, self._reported = no_ecg, (decision.clear, decision.reasons)
            if is_news:
                self._report_change(decision, out)

    def _note_beat(self, beat: BeatContext, out: list[tuple[int, int, Item]]) -> None:
        self._note_silence(beat.ready_at - 1, out)
        begins_rr = beat.sample >= self._chain_start + self._t_wave
        self._silence.beat(beat.sample, beat.ready_at, is_beat=not beat.no_qrs, begins_rr=begins_rr)

    def _note_silence(self, until: int, out: list[tuple[int, int, Item]]) -> None:
        if self._silence.due <= until:
            out += [(silence.known_at, _QUIET, silence) for silence in self._silence.run(until)]

    def _end_signal(self, sample: int, arrived: int, out: list[tuple[int, int, Item]], *, lead_lost: bool) -> None:
        """No lead has a signal from `sample` on."""
        if self._silence.running:
            self._note_silence(arrived - 1, out)
            self._silence.stop()
            out.append((arrived, _NEXT, SignalEnd(arrived, sample, lead_lost)))

    def _report_change(self, status: LeadStatus, out: list[tuple[int, int, Item]]) -> None:
        change = status.event(self._names, self.fs)
        if out and out[-1][0] == status.known_at and isinstance(before := out[-1][2], LeadChange):
            out.pop()
            change = replace(change, broken=change.broken or before.broken)
        out.append((status.known_at, _NEXT, change))

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
        return self._builder.build(peak, rr_s, self._last_ready, self._order, self._no_ecg)

    def _ready(self, peak: RPeak) -> int:
        return max(peak.known_at, peak.sample + self._after + 1, self._last_ready)
