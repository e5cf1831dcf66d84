"""The live monitor: samples in, events out, beat by beat. A few lines over its stages."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.errors import SignalError
from ecgmoe_edge.streaming.beat_model import BeatModel
from ecgmoe_edge.streaming.beats import BeatContext
from ecgmoe_edge.streaming.classifier import Classifier
from ecgmoe_edge.streaming.events import Event, GapReason, LeadOff
from ecgmoe_edge.streaming.frontend import FrontEnd, Item
from ecgmoe_edge.streaming.labeller import Labeller
from ecgmoe_edge.streaming.rhythm.limits import RhythmLimits
from ecgmoe_edge.streaming.totals import StreamTotals


class Monitor:
    """Beat-by-beat monitoring of a stream.

    bundle: what `load_bundle` gives, or None to find R peaks only (labels are None then). fs: device rate in Hz,
    100-1000. leads: names of the rows of what is pushed; R peaks are found in all of them together, and the first
    two that show a beat well say what it is. invert: electrodes were swapped. mains: 50 or 60 Hz for a notch. limits:
    when pause, asystole, rates and V runs are reported.

    Every method returns the events that it made certain, in order. Any chunking gives the same events, `compute_ms`
    aside. Raises SignalError for a rate or a shape that cannot be used.

    Its stages can be used by themselves: `front_end` gives beats and breaks of the signal, `classifier` (None without a
    model) the model's answers, `labeller` the events. What a model answers never changes what the front end does next,
    so beats may be gathered between the stages and answered in batches.
    """

    def __init__(
        self,
        bundle: BeatModel | None,
        fs: float,
        leads: Sequence[str] = ("II",),
        invert: bool = False,
        *,
        mains: int | None = None,
        limits: RhythmLimits | None = None,
    ) -> None:
        if not leads:
            raise SignalError("A monitor needs at least one lead: give their names, such as leads=('II',).")
        self.leads = tuple(leads)
        self.classifier = Classifier(bundle) if bundle else None
        self._invert, self._mains, self._limits = invert, mains, limits
        self._begin(fs)
        self.fs = self.front_end.fs

    def _begin(self, fs: float) -> None:
        model = self.classifier.model if self.classifier else None
        self.front_end = FrontEnd(
            fs,
            self.leads,
            mains=self._mains,
            invert=self._invert,
            grid=self.classifier.grid if self.classifier else None,
            context=self.classifier.context if self.classifier else 0,
            limits=self._limits,
        )
        classes = model.classes if model else {}
        self.labeller = Labeller(fs, classes, model.decision if model else None, self._limits)
        self._totals = StreamTotals(self.front_end.fs, classes)

    def push(self, samples: NDArray[np.float64]) -> list[Event]:
        """Take samples (leads, n), float64, in mV; NaN marks unusable ones."""
        x = np.asarray(samples, np.float64)
        if x.ndim != 2 or x.shape[0] != len(self.leads):
            raise SignalError(
                f"Samples of shape {x.shape} do not fit {len(self.leads)} lead(s) {', '.join(self.leads)}: "
                "push an array of shape (leads, samples) in mV."
            )
        self._totals.received += x.shape[1]
        return self._events(self.front_end.push(x))

    def gap(self, n_lost: int | None, reason: GapReason) -> list[Event]:
        """Note that `n_lost` samples never came (None: nobody knows how many)."""
        self._totals.lost += n_lost or 0
        return self._events(self.front_end.gap(n_lost, reason))

    def lead_off(self, mask: Sequence[bool]) -> list[Event]:
        """Note which leads are off, one flag a lead; nothing is made of a lead while it is off."""
        if len(mask) != len(self.leads):
            raise SignalError(f"{len(mask)} lead-off flags do not fit {len(self.leads)} lead(s).")
        events = self._events(self.front_end.lead_off(mask))
        names = tuple(name for name, off in zip(self.leads, mask, strict=True) if off)
        at = self.front_end.position
        return [*events, LeadOff(at, at / self.fs, names)]

    def flush(self) -> list[Event]:
        """End the stream: what is left, and `End` with the totals."""
        return [*self._events(self.front_end.flush()), self._totals.end()]

    def reset(self) -> None:
        """Forget stream and patient: what comes next is another patient's, from sample 0 on."""
        self._begin(self.fs)

    def _events(self, items: Sequence[Item]) -> list[Event]:
        events: list[Event] = []
        for item in items:
            answer = self.classifier.answer(item) if self.classifier and isinstance(item, BeatContext) else None
            events += self.labeller.take(item, answer)
        self._totals.count(events)
        return events
