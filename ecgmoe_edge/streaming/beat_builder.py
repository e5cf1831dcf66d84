"""From an R peak to all that is known of its beat: windows of the leads that show it, beside patient history."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.streaming.beats import BeatContext, LeadView
from ecgmoe_edge.streaming.patient.lead_history import LeadHistory
from ecgmoe_edge.streaming.patient.rr_history import RRHistory
from ecgmoe_edge.streaming.qrs.possible_beat import RPeak
from ecgmoe_edge.streaming.signal.lead import LeadSignal
from ecgmoe_edge.streaming.signal.quality import POOR_QUALITY
from ecgmoe_edge.streaming.signal.windows import WindowSampler

_GOOD = 0.5  # quality of a beat: a lead that shows it so well is not passed over for a later one
_DOUBTED = 0.004  # of its quality has a beat in a lead without an ECG: too little for a label
_SHOWN = 2  # leads that a model is shown of a beat: what a third would add is not measured, and each costs its time


@dataclass(frozen=True, slots=True)
class _View:
    """One beat in one lead."""

    lead: int
    window: NDArray[np.float32]
    quality: float
    no_qrs: bool


class BeatBuilder:
    """Builds beats in their order, and remembers them.

    leads: the signals. names: of the leads. grid: 128 Hz points of the window round R. context: sampler of the longer
    stretch before a beat, None for none. peaks_only: no windows, templates and features are wanted.
    """

    def __init__(
        self,
        leads: Sequence[LeadSignal],
        names: Sequence[str],
        grid: NDArray[np.int64],
        context: WindowSampler | None,
        *,
        peaks_only: bool,
    ) -> None:
        self._leads, self._names = leads, tuple(names)
        self._context, self._peaks_only = context, peaks_only
        r_index = int(np.flatnonzero(grid == 0)[0])
        self._histories = [LeadHistory(grid.size, r_index) for _ in leads]
        self._rr_history = RRHistory()
        self._was_poor = False  # the last beat

    def build(
        self, peak: RPeak, rr_s: float | None, ready: int, order: Sequence[int], no_ecg: Collection[int]
    ) -> BeatContext:
        """The beat of an R peak, once `ready` samples have arrived.

        order: of the leads, clear ones first. no_ecg: leads that have shown no ECG so far.
        """
        r = peak.sample
        views = self._views(r, ready, order, no_ecg)
        if views:
            # The first lead that shows the beat well, or else the one that shows it best.
            view = next((each for each in views if each.quality >= _GOOD), None) or max(views, key=_quality)
        else:
            view = _View(0, self._leads[0].window_of(r), 0.0, no_qrs=False)
        no_qrs = bool(views) and all(each.no_qrs for each in views)
        lead = self._names[view.lead] if len(self._leads) > 1 and views else None
        if self._peaks_only:
            return BeatContext(
                r,
                peak.known_at,
                ready,
                peak.search_back,
                bool(views),
                rr_s,
                view.quality,
                no_qrs,
                peak.recurrence,
                lead,
            )
        others = [each for each in views if each is not view and each.quality >= _GOOD]
        shown, *others_shown = [self._shown(each, r) for each in (view, *others[: _SHOWN - 1])]
        poor = not views or no_qrs or view.quality < POOR_QUALITY
        rr_features, rr_sequence = self._rr_history.add(rr_s, remember=not (poor or self._was_poor))
        self._was_poor = poor
        # Every lead remembers the beat, so that the next one can step in with a history of its own.
        remembered = {
            each.lead
            for each in views
            if not each.no_qrs and self._histories[each.lead].remember(each.window, each.quality)
        }
        return BeatContext(
            sample=r,
            known_at=peak.known_at,
            ready_at=ready,
            search_back=peak.search_back,
            complete=bool(views),
            rr_s=rr_s,
            quality=view.quality,
            no_qrs=no_qrs,
            recurrence=peak.recurrence,
            in_history=bool(views) and view.lead in remembered,
            lead=lead,
            others=tuple(others_shown),
            window=shown.window,
            template=shown.template,
            amplitude=shown.amplitude,
            rr_features=rr_features,
            rr_sequence=rr_sequence,
            context=shown.context,
        )

    def _views(self, r: int, ready: int, order: Sequence[int], no_ecg: Collection[int]) -> list[_View]:
        """The beat at `r` in all leads that show the whole of it."""
        views = []
        for k in order:
            lead = self._leads[k]
            if lead.shows(r):
                window = lead.window_of(r)
                quality = lead.quality_of(window, r, ready)
                views.append(_View(k, window, _DOUBTED * quality if k in no_ecg else quality, lead.shows_no_qrs))
        return views

    def _shown(self, view: _View, r: int) -> LeadView:
        history = self._histories[view.lead]
        return LeadView(
            window=view.window,
            template=history.template(view.window),
            amplitude=history.amplitude(view.window),
            context=self._context_of(self._leads[view.lead], r),
        )

    def _context_of(self, lead: LeadSignal, r: int) -> NDArray[np.float32]:
        if self._context is None:
            return np.zeros(0, np.float32)
        return self._context.read(lead.between(r - self._context.before, r + self._context.after + 1))


def _quality(view: _View) -> float:
    return view.quality
