"""From an R peak to a beat with all that a model needs: windows of the leads that show it, and patient history."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.streaming.beats import BeatContext, LeadView
from ecgmoe_edge.streaming.patient.lead_history import LeadHistory
from ecgmoe_edge.streaming.patient.rr_history import RRHistory
from ecgmoe_edge.streaming.qrs.possible_beat import RPeak
from ecgmoe_edge.streaming.signal.lead import LeadSignal
from ecgmoe_edge.streaming.signal.quality import POOR_QUALITY
from ecgmoe_edge.streaming.signal.windows import WindowSampler

GOOD = 0.5  # quality of a beat in a lead from which no later lead is preferred to it
NO_ECG_FACTOR = 0.004  # factor of the quality in a lead without an ECG: then it is too low for a label
MOST_LEADS = 2  # most leads of a beat that a model gets; the benefit of a third is not measured, and it takes time
_NEVER = 1 << 62
_BY_QUALITY = attrgetter("quality")


@dataclass(frozen=True, slots=True)
class _View:
    """One beat in one lead."""

    lead: int
    window: NDArray[np.float32]  # (grid,), mV
    quality: float
    no_qrs: bool


class BeatBuilder:
    """Builds beats in their order once their windows are complete, and adds them to the patient history.

    Args:
        leads: the signals.
        names: names of the leads.
        window: sampler of the beat window.
        grid: points of the beat window at 128 Hz, counted from R.
        context: sampler of the longer signal before the end of the window; None for none.
        peaks_only: neither windows nor features are wanted.
    """

    def __init__(
        self,
        leads: Sequence[LeadSignal],
        names: Sequence[str],
        window: WindowSampler,
        grid: NDArray[np.int64],
        context: WindowSampler | None,
        *,
        peaks_only: bool,
    ) -> None:
        self._leads, self._names = leads, tuple(names)
        self._after = window.after
        self._context, self._peaks_only = context, peaks_only
        r_index = int(np.flatnonzero(grid == 0)[0])
        self._histories = [LeadHistory(grid.size, r_index) for _ in leads]
        self._rr_history = RRHistory()
        self._was_poor = False  # whether the last beat was poor
        self._waiting: deque[tuple[RPeak, float | None, int]] = deque()  # arguments of `add`
        self._last_ready = 0  # `ready_at` of the last beat
        self.use(range(len(leads)), ())

    def use(self, order: Sequence[int], no_ecg: Collection[int]) -> None:
        """Set the leads for the next beats.

        Args:
            order: leads, in the order in which they are preferred.
            no_ecg: leads that show no ECG.
        """
        self._order, self._no_ecg = tuple(order), frozenset(no_ecg)

    def add(self, peak: RPeak, rr_s: float | None, known_at: int) -> None:
        """Add the next R peak.

        Args:
            peak: the R peak.
            rr_s: its RR interval, s.
            known_at: number of samples that had arrived when it was certain: later than `peak.known_at` if samples had
                to wait, for example for the end of a hole.
        """
        self._waiting.append((peak, rr_s, known_at))

    @property
    def due(self) -> int:
        """Samples that must have arrived before the next beat is complete."""
        return self._ready_at(self._waiting[0][0]) if self._waiting else _NEVER

    def complete_before(self, arrived: int) -> Iterator[BeatContext]:
        """Yield the beats with a `ready_at` less than `arrived`."""
        while self._waiting and self.due < arrived:
            yield self._build(*self._waiting.popleft(), latest=_NEVER)

    def complete_all(self, arrived: int) -> Iterator[BeatContext]:
        """Yield all beats, since the signal ends after `arrived` samples; their windows may be incomplete."""
        while self._waiting:
            yield self._build(*self._waiting.popleft(), latest=arrived)

    def _ready_at(self, peak: RPeak) -> int:
        return max(peak.known_at, peak.sample + self._after + 1, self._last_ready)

    def _build(self, peak: RPeak, rr_s: float | None, known_at: int, latest: int) -> BeatContext:
        """Build the beat of an R peak; its `ready_at` is at most `latest`."""
        self._last_ready = ready_at = min(self._ready_at(peak), latest)
        r = peak.sample
        views = self._views(r, ready_at)
        if views:
            # The first lead that shows the beat well; if none does, the lead that shows it best.
            view = next((each for each in views if each.quality >= GOOD), None) or max(views, key=_BY_QUALITY)
        else:
            view = _View(0, self._leads[0].window_of(r), 0.0, no_qrs=False)
        no_qrs = bool(views) and all(each.no_qrs for each in views)
        lead = self._names[view.lead] if len(self._leads) > 1 and views else None
        if self._peaks_only:
            return BeatContext(
                sample=r,
                known_at=known_at,
                ready_at=ready_at,
                search_back=peak.search_back,
                complete=bool(views),
                rr_s=rr_s,
                quality=view.quality,
                no_qrs=no_qrs,
                recurrence=peak.recurrence,
                lead=lead,
            )
        others = [each for each in views if each is not view and each.quality >= GOOD]
        first, *other_leads = [self._lead_view(each, r) for each in (view, *others[: MOST_LEADS - 1])]
        poor = not views or no_qrs or view.quality < POOR_QUALITY
        rr_features, rr_sequence = self._rr_history.add(rr_s, remember=not (poor or self._was_poor))
        self._was_poor = poor
        # The beat is added to the history of every lead, so that any of them can be the first at the next beat.
        remembered = {
            each.lead
            for each in views
            if not each.no_qrs and self._histories[each.lead].remember(each.window, each.quality)
        }
        return BeatContext(
            sample=r,
            known_at=known_at,
            ready_at=ready_at,
            search_back=peak.search_back,
            complete=bool(views),
            rr_s=rr_s,
            quality=view.quality,
            no_qrs=no_qrs,
            recurrence=peak.recurrence,
            in_history=bool(views) and view.lead in remembered,
            lead=lead,
            others=tuple(other_leads),
            window=first.window,
            template=first.template,
            amplitude=first.amplitude,
            rr_features=rr_features,
            rr_sequence=rr_sequence,
            context=first.context,
        )

    def _views(self, r: int, ready_at: int) -> list[_View]:
        """Return the beat with its R peak at sample `r` in all leads that show the whole of its window."""
        views = []
        for k in self._order:
            lead = self._leads[k]
            if lead.shows(r):
                window = lead.window_of(r)
                quality = lead.quality_of(window, r, ready_at)
                factor = NO_ECG_FACTOR if k in self._no_ecg else 1.0
                views.append(_View(k, window, factor * quality, lead.shows_no_qrs))
        return views

    def _lead_view(self, view: _View, r: int) -> LeadView:
        history = self._histories[view.lead]
        return LeadView(
            window=view.window,
            template=history.template(view.window),
            amplitude=history.amplitude(view.window),
            context=self._context_of(self._leads[view.lead], r),
            lead=self._names[view.lead] if len(self._leads) > 1 else None,
        )

    def _context_of(self, lead: LeadSignal, r: int) -> NDArray[np.float32]:
        if self._context is None:
            return np.zeros(0, np.float32)
        return self._context.read(lead.between(r - self._context.before, r + self._context.after + 1))
