"""Front end, model and labeller of one stream in Python: samples in, events out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.streaming.beats import BeatContext
from ecgmoe_edge.streaming.classifier import Classifier
from ecgmoe_edge.streaming.events import Event, GapReason
from ecgmoe_edge.streaming.frontend import FrontEnd, Item
from ecgmoe_edge.streaming.labeller import Labeller


class ReferenceStages:
    """The stages of a monitor in numpy: the model runs on each beat as it comes.

    Args:
        front_end: the front end.
        classifier: runs the model; None without one.
        labeller: the labeller.
    """

    def __init__(self, front_end: FrontEnd, classifier: Classifier | None, labeller: Labeller) -> None:
        self._front_end, self._classifier, self._labeller = front_end, classifier, labeller
        self._items: list[Item] = []  # of the front end, without events yet

    def use_layer(self, active: bool) -> None:
        """Set whether the patient's own layer decides the labels."""
        self._labeller.layer_active = active

    def push(self, samples: NDArray[np.float64]) -> list[Event]:
        """Return the events of samples (leads, n) in mV."""
        self.detect(samples)
        return self.label()

    def detect(self, samples: NDArray[np.float64]) -> None:
        """Run the front end alone; `label` gives the events."""
        self._items += self._front_end.push(samples)

    def label(self) -> list[Event]:
        """Return the events of what `detect` found."""
        items, self._items = self._items, []
        return self._events(items)

    def gap(self, lost: int | None, reason: GapReason, *, at_least: bool) -> list[Event]:
        """Return the events of a gap; arguments as in `FrontEnd.gap`."""
        return self._events(self._front_end.gap(lost, reason, at_least=at_least))

    def lead_off(self, mask: Sequence[bool]) -> list[Event]:
        """Set which leads are off from the next sample on, and return the events of that."""
        return self._events(self._front_end.lead_off(mask))

    def flush(self) -> list[Event]:
        """Return the remaining events at the end of the stream."""
        return [*self._events(self._front_end.flush()), *self._labeller.flush()]

    def _events(self, items: Sequence[Item]) -> list[Event]:
        events: list[Event] = []
        for item in items:
            answer = self._classifier.answer(item) if self._classifier and isinstance(item, BeatContext) else None
            events += self._labeller.take(item, answer)
        return events
