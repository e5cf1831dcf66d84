"""The live monitor: samples in, events out, beat by beat. A few lines over its stages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.streaming.beat_model import BeatModel
from ecgmoe_edge.streaming.beats import BeatContext
from ecgmoe_edge.streaming.classifier import Classifier
from ecgmoe_edge.streaming.events import Event, GapReason, LeadOff
from ecgmoe_edge.streaming.frontend import FrontEnd, Item
from ecgmoe_edge.streaming.input_checks import check_flag, check_lead_off, check_leads, check_loss, check_samples
from ecgmoe_edge.streaming.labeller import Labeller
from ecgmoe_edge.streaming.rhythm.limits import RhythmLimits
from ecgmoe_edge.streaming.signal.mains import AUTO, MainsChoice
from ecgmoe_edge.streaming.totals import StreamTotals


class Monitor:
    """Beat-by-beat monitoring of a stream.

    bundle: what `load_bundle` gives, or None to find R peaks only (labels are None then). fs: device rate in Hz,
    100-1000. leads: names of the rows of what is pushed, each its own; R peaks are found in all of them together, and
    the first two that show a beat well say what it is. invert: electrodes were swapped. mains: "auto" puts a notch in
    where hum is measured, and a `Mains` event reports it; 50 or 60 Hz: one that is always in; None: none. limits: when
    pause, asystole, rates and V runs are reported.

    Every method returns the events that it made certain, in order. Any chunking gives the same events, `compute_ms`
    aside. Raises SignalError for what cannot be used as given; a call that is refused changes nothing.

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
        mains: MainsChoice = AUTO,
        limits: RhythmLimits | None = None,
    ) -> None:
        self._leads = check_leads(leads)
        self.classifier = Classifier(bundle) if bundle is not None else None
        self._invert, self._mains, self._limits = check_flag("invert", invert), mains, limits
        self._begin(fs)

    @property
    def leads(self) -> tuple[str, ...]:
        """Names of the rows of what is pushed."""
        return self._leads

    @property
    def fs(self) -> float:
        """Device rate, Hz."""
        return self.front_end.fs

    def _begin(self, fs: float) -> None:
        model = self.classifier.model if self.classifier else None
        self.front_end = FrontEnd(
            fs,
            self._leads,
            mains=self._mains,
            invert=self._invert,
            grid=self.classifier.grid if self.classifier else None,
            context=self.classifier.context if self.classifier else 0,
            limits=self._limits,
        )
        classes = model.classes if model else {}
        self.labeller = Labeller(self.front_end.fs, classes, model.decision if model else None, self._limits)
        self._totals = StreamTotals(self.front_end.fs, classes)

    def push(self, samples: NDArray[np.floating[Any] | np.integer[Any]]) -> list[Event]:
        """Take samples (leads, n) in mV, of any real type; NaN marks unusable ones. The array stays as it is."""
        x = check_samples(samples, self._leads)
        self._totals.received += x.shape[1]
        return self._events(self.front_end.push(x))

    def gap(self, n_lost: int | None, reason: GapReason, *, at_least: bool = False) -> list[Event]:
        """Note that `n_lost` samples never came (None: nobody knows how many), or with `at_least` that many or more."""
        lost = check_loss(n_lost, reason)
        self._totals.lose(lost or 0, reason)
        return self._events(self.front_end.gap(lost, reason, at_least=check_flag("at_least", at_least)))

    def lead_off(self, mask: Sequence[bool] | NDArray[np.bool_]) -> list[Event]:
        """Note which leads are off, one flag a lead; nothing is made of a lead while it is off."""
        off = check_lead_off(mask, self._leads)
        events = self._events(self.front_end.lead_off(off))
        names = tuple(name for name, is_off in zip(self._leads, off, strict=True) if is_off)
        at = self.front_end.position
        return [*events, LeadOff(at, at / self.fs, names)]

    def flush(self) -> list[Event]:
        """End the stream: what is left, and `End` with the totals."""
        return [*self._events(self.front_end.flush()), *self.labeller.flush(), self._totals.end()]

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
