"""The front end: from the samples of all leads to beats with all that a model needs.

Training and the live stream share this code. Samples are collected until something can become certain by them, and then
processed together. The time for a push therefore hardly depends on the number of its samples, and nothing is reported
later than if every sample were processed on its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
from ecgmoe_edge.streaming.qrs.possible_beat import DetectorOutput, LeadStatus, RPeak
from ecgmoe_edge.streaming.rhythm.limits import RhythmLimits
from ecgmoe_edge.streaming.rhythm.silence import SignalEnd, Silence, SilenceClock
from ecgmoe_edge.streaming.signal.bridge import Hole
from ecgmoe_edge.streaming.signal.filters import check_rate
from ecgmoe_edge.streaming.signal.flatline import FLAT_S
from ecgmoe_edge.streaming.signal.intake import Intake, Piece
from ecgmoe_edge.streaming.signal.lead import LeadSignal
from ecgmoe_edge.streaming.signal.mains import AUTO, MainsChoice
from ecgmoe_edge.streaming.signal.windows import BEAT_GRID, RPEAK_GRID, WindowSampler
from ecgmoe_edge.streaming.unusable import UnusableRun

EDGE_S = 0.060  # a peak closer to the signal's start may be the end of a QRS complex; it is no R peak
T_WAVE_S = 0.400  # a beat closer to the signal's start may be a T wave; no RR interval begins with it
# Order of the items that become known at the same sample.
_SPIKE, _FIRST, _SILENCE, _NEXT, _LAST = range(5)

LeadEvent: TypeAlias = Gap | Flatline | Clipping | Mains | PacingSpike
Item: TypeAlias = BeatContext | LeadEvent | LeadChange | Silence | SignalEnd
_Timed: TypeAlias = tuple[int, int, Item]  # `known_at` of an item, its order among those of the same sample, the item


class FrontEnd:
    """Filters, R peaks, beat windows and features of one lead or several.

    Args:
        fs: sampling rate of the device, 100-1000 Hz.
        leads: names of the leads.
        mains: "auto" for a notch while hum is measured, 50 or 60 for a constant notch, None for none.
        invert: whether to invert all leads.
        grid: points of the beat window at 128 Hz, counted from R; None for R peaks only, which are then reported as
            soon as they are certain, with much less computation.
        context: length of `BeatContext.context` in samples at 128 Hz; 0 for none.
        limits: limits of the pause and asystole that are reported as `Silence`.

    Raises:
        SignalError: a sampling rate or `mains` that cannot be used.
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
        window = WindowSampler(self.fs, points)
        self._builder = BeatBuilder(self._leads, self._names, window, points, longer, peaks_only=grid is None)
        self._detector = RPeakDetector(self.fs, count, self._leads[0].reach)
        self._silence = SilenceClock(self.fs, (limits.pause_s, limits.asystole_s))
        self._edge, self._t_wave = round(EDGE_S * self.fs), round(T_WAVE_S * self.fs)
        self._off = np.zeros(count, bool)
        self._usable = np.zeros(count, bool)  # leads whose samples are usable at present
        self._position = 0  # number of samples processed
        self._unusable = UnusableRun(self.fs)
        self._chain_start = 0  # first sample of the present chain of beats
        self._last_r: int | None = None  # R peak with which the next RR interval begins
        self._reset_lead_status()

    @property
    def position(self) -> int:
        """Number of the next sample, lost samples included."""
        return self._position + self._intake.waiting

    def lead_off(self, mask: Sequence[bool]) -> list[Item]:
        """Set which leads are off from the next sample on, one flag for each lead."""
        items = self._process(None)
        self._off = np.array(mask, bool)
        self._intake.collect_below(0)
        return items

    def push(self, samples: NDArray[np.float64]) -> list[Item]:
        """Take the next samples, and return what becomes certain by them, in order.

        Args:
            samples: (leads, n) in mV. NaN and values beyond +-`unusable.LARGEST_MV` are unusable.
        """
        return [] if self._intake.collect(samples) else self._process(samples)

    def gap(self, lost: int | None, reason: GapReason, *, at_least: bool = False) -> list[Item]:
        """Note that samples never arrived.

        If they are so few that the hole may be bridged, this is decided later. No beat and no RR interval spans a
        longer gap; only patient history is kept.

        Args:
            lost: number of samples; None if it is unknown.
            reason: why they are lost.
            at_least: `lost` is a lower limit.
        """
        runs = self._usable.any() or self._unusable.samples or self.position > self._position
        if runs and lost and not at_least and self._intake.may_bridge(lost, reason):
            return self._process(self._intake.lose(self.position, lost, reason))
        items = self.flush()
        start = self._position
        self._restart(start + (lost or 0))
        items.append(Gap(start, start / self.fs, lost, reason, at_least))
        return items

    def flush(self) -> list[Item]:
        """End the signal, and return the remaining items; beats without their full window are not `complete`."""
        items = self._process(None)
        arrived = self._position
        out: list[_Timed] = [(arrived, _FIRST, gap) for gap in self._unusable.report(arrived)]
        candidates = [each for lead in self._leads if lead.present for each in lead.break_off(arrived)]
        self._act_on(self._detector.process(candidates, arrived), out)
        self._act_on(self._detector.flush(arrived), out)
        self._add_beats(self._builder.complete_all(arrived), out)
        self._end_signal(arrived, arrived, out, lead_lost=False)
        for k, lead in enumerate(self._leads):
            out += [(arrived, _LAST, self._named(event, k)) for event in lead.end_flatline(arrived)]
        self._restart(arrived)
        return items + [item for _, _, item in out if not isinstance(item, LeadChange)]

    # -- samples

    def _process(self, samples: NDArray[np.float64] | None) -> list[Item]:
        """Process the collected samples and `samples` (leads, n); None if the signal breaks off here."""
        items: list[Item] = []
        for piece in self._intake.process(samples, self._off):
            self._process_piece(piece, items)
        self._intake.collect_below(0 if self._unusable.samples else self._due() - self._position)
        return [self._delayed(item) for item in items] if self._intake.delays else items

    def _delayed(self, item: Item) -> Item:
        """Correct the `ready_at` of a beat if samples had to wait for the end of a hole or of a possible spike."""
        return replace(item, ready_at=self._intake.known_at(item.ready_at)) if isinstance(item, BeatContext) else item

    def _due(self) -> int:
        """Samples that must have arrived before anything new can become certain."""
        due = min(self._detector.due, self._silence.due, self._builder.due)
        for lead, usable in zip(self._leads, self._usable.tolist(), strict=True):
            if usable:
                due = min(due, lead.flatline_due(self._position))
            if lead.present:
                due = min(due, lead.due)
        return due

    def _process_piece(self, piece: Piece, items: list[Item]) -> None:
        """Process samples in which no lead becomes usable or unusable, and append what becomes certain to `items`."""
        x, usable, out_of_range = piece.samples, piece.usable, piece.out_of_range
        begin, n = self._position, x.shape[1]
        out: list[_Timed] = []
        self._note_spikes_and_holes(begin + n, usable, out)
        if self._unusable.samples and usable.any():
            out += [(begin + 1, _FIRST, gap) for gap in self._unusable.report(begin)]
        if (usable != self._usable).any():
            self._change_usable(usable, out_of_range, begin, out)
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
            reason = piece.lost_by or ("range" if out_of_range.any() else "nan")
            gaps = self._unusable.count(n, reason, begin)
            out += [(known_at, _FIRST, gap) for known_at, gap in gaps]
        self._position = begin + n
        self._add_beats(self._builder.complete_before(self._position + 1), out)
        self._add_silence(self._position, out)
        if len(out) > 1:
            out.sort(key=itemgetter(0, 1))
        items += [item for _, _, item in out]

    def _note_spikes_and_holes(self, stop: int, usable: NDArray[np.bool_], out: list[_Timed]) -> None:
        """Report spikes and bridged holes before sample `stop`, to the leads as well."""
        for spike in self._intake.spikes(stop):
            if usable[spike.lead]:
                self._leads[spike.lead].spike(spike.sample, spike.width)
                at_s, width_ms = spike.sample / self.fs, 1000.0 * spike.width / self.fs
                event = PacingSpike(spike.sample, at_s, spike.amplitude_mv, width_ms)
                out.append((spike.sample + 1, _SPIKE, self._named(event, spike.lead)))
        for hole in self._intake.holes(stop):
            for k in hole.leads:
                self._leads[k].bridge(hole.start, hole.stop)
            out += [(hole.stop + 1, _FIRST, gap) for gap in self._gaps_of(hole)]

    def _detect(self, x: NDArray[np.float64], at: int, out: list[_Timed]) -> None:
        """Detect beats in samples (leads, n), the first with number `at`, in which no signal begins or ends."""
        reports: list[LeadCandidate] = []
        for k, lead in enumerate(self._leads):
            if lead.present:
                reports += lead.process(x[k])
                out += [(known_at, _FIRST, self._named(event, k)) for known_at, event in lead.mains_events()]
        if len(self._leads) > 1:
            reports.sort(key=attrgetter("known_at"))
        self._position = at + x.shape[1]
        self._act_on(self._detector.process(reports, self._position), out)
        self._add_beats(self._builder.complete_before(self._position + 1), out)

    # -- leads whose signal begins or ends

    def _change_usable(
        self, usable: NDArray[np.bool_], out_of_range: NDArray[np.bool_], at: int, out: list[_Timed]
    ) -> None:
        """Set which leads are usable from sample `at` on; arrays as in `Piece`."""
        begins = np.flatnonzero(usable & ~self._usable).tolist()
        ends = np.flatnonzero(~usable & self._usable).tolist()
        self._usable = usable.copy()
        left = [(at + 1, _LAST, self._named(event, k)) for k in ends for event in self._leads[k].end_flatline(at)]
        self._change_leads([], begins, at, at + 1, out)
        why: list[tuple[int, LeadReason]] = [
            (k, "off" if self._off[k] else "range" if out_of_range[k] else "nan") for k in ends
        ]
        self._change_leads(why, [], at, at + 1, out)
        out += left

    def _detect_flatline(
        self, x: NDArray[np.float64], usable: NDArray[np.bool_], out: list[_Timed]
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
        known_at: int,
        out: list[_Timed],
    ) -> None:
        """End the signal of leads (lead, reason) before sample `at`, and begin that of other leads at it."""
        reports: list[LeadReport] = []
        for k, _ in ends:
            if self._leads[k].present:
                reports += self._leads[k].break_off(known_at)
        reports += [LeadEnd(known_at, k, reason) for k, reason in ends]
        # A flatline is reported after a second, and its signal has ended with its first sample.
        flat = round(FLAT_S * self.fs) if all(reason in ("flat", "rail") for _, reason in ends) else 0
        self._act_on(self._detector.process(reports, known_at - 1), out, signal_end=at - flat)
        for k, _ in ends:
            self._leads[k].end()
        for k in begins:
            self._leads[k].begin(at)
        self._act_on(self._detector.process([LeadBegin(k, at) for k in begins], at), out)
        self._chain_start = self._detector.began
        if not self._silence.running and any(lead.present for lead in self._leads):
            self._silence.start(self._chain_start)

    def _restart(self, at: int) -> None:
        """Begin a new signal on all leads at sample `at`."""
        self._position = at
        self._intake.restart(at)
        self._usable[:] = False
        self._detector.restart()
        for lead in self._leads:
            lead.restart(at)
        self._last_r = None
        self._reset_lead_status()

    def _reset_lead_status(self) -> None:
        order = tuple(range(len(self._leads)))
        self._builder.use(order, ())
        self._no_ecg: frozenset[int] = frozenset()  # leads that show no ECG
        self._reported: tuple[object, ...] = (order, ())  # clear leads, and why the others are not

    def _gaps_of(self, hole: Hole) -> list[LeadEvent]:
        """Return the gap of a bridged hole; if some leads have no hole, one gap for each lead that has."""
        gap = Gap(hole.start, hole.start / self.fs, hole.stop - hole.start, hole.reason, bridged=True)
        in_all = len(hole.leads) == int((~self._off).sum())
        return [gap] if in_all else [self._named(gap, k) for k in hole.leads]

    def _named(self, event: LeadEvent, lead: int) -> LeadEvent:
        return event if len(self._leads) == 1 else replace(event, lead=self._names[lead])

    # -- output of the detector

    def _act_on(self, outputs: list[DetectorOutput], out: list[_Timed], signal_end: int = 0) -> None:
        """Act on outputs of the detector; `signal_end`: end of the signal (exclusive) if no lead is left."""
        for output in outputs:
            self._add_beats(self._builder.complete_before(output.known_at), out)
            if isinstance(output, RPeak):
                self._add_peak(output, out)
            else:
                self._change_status(output, out, signal_end)

    def _add_peak(self, peak: RPeak, out: list[_Timed]) -> None:
        r = peak.sample
        if r < self._chain_start + self._edge:
            return
        rr_s = None if self._last_r is None else (r - self._last_r) / self.fs
        self._last_r = r if r >= self._chain_start + self._t_wave else None
        self._add_silence(peak.known_at - 1, out)
        self._builder.add(peak, rr_s, self._intake.known_at(peak.known_at))
        self._silence.peak(r)

    def _change_status(self, status: LeadStatus, out: list[_Timed], signal_end: int) -> None:
        if status.broken:
            self._add_beats(self._builder.complete_all(status.known_at), out)
            self._end_signal(signal_end, status.known_at, out, lead_lost=True)
            self._last_r = None
        no_ecg = frozenset(k for k, reason in status.reasons if reason == NO_ECG)
        self._builder.use(status.order, no_ecg)
        is_new = no_ecg != self._no_ecg
        if len(self._leads) > 1:
            is_new = status.broken or (status.clear, status.reasons) != self._reported
        self._no_ecg, self._reported = no_ecg, (status.clear, status.reasons)
        if is_new:
            change = status.event(self._names, self.fs)
            if out and out[-1][0] == status.known_at and isinstance(before := out[-1][2], LeadChange):
                out.pop()
                change = replace(change, broken=change.broken or before.broken)
            out.append((status.known_at, _NEXT, change))

    def _add_beats(self, beats: Iterable[BeatContext], out: list[_Timed]) -> None:
        for beat in beats:
            self._add_silence(beat.ready_at - 1, out)
            begins_rr = beat.sample >= self._chain_start + self._t_wave
            self._silence.beat(beat.sample, beat.ready_at, is_beat=not beat.no_qrs, begins_rr=begins_rr)
            out.append((beat.ready_at, _NEXT, beat))

    def _add_silence(self, arrived: int, out: list[_Timed]) -> None:
        if self._silence.due <= arrived:
            out += [(silence.known_at, _SILENCE, silence) for silence in self._silence.run(arrived)]

    def _end_signal(self, sample: int, known_at: int, out: list[_Timed], *, lead_lost: bool) -> None:
        """Report that no lead has a signal from `sample` on."""
        if self._silence.running:
            self._add_silence(known_at - 1, out)
            self._silence.stop()
            out.append((known_at, _NEXT, SignalEnd(known_at, sample, lead_lost)))
