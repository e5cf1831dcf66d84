"""The rhythm by the model's scores, averaged over beats; no atrial fibrillation if RR intervals exclude it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.streaming.events import Rhythm
from ecgmoe_edge.streaming.rhythm.alarms import Alarm
from ecgmoe_edge.streaming.rhythm.predictability import Predictability

SCORE_MEMORY = 16  # number of beats over which rhythm scores are averaged (exponentially)
NOISY, AF = "noisy", "AF"
FEWEST_RR = 16  # number of RR intervals before atrial fibrillation is reported
HOLD_BEATS = 8  # number of beats for which a new rhythm must have the highest score before it is reported


class ModelRhythm:
    """The rhythm with the highest mean score.

    Args:
        classes: classes of the rhythm logits; empty if the model has no such task.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self._classes = tuple(classes)
        self._scores = np.zeros(len(self._classes))
        self._af = self._classes.index(AF) if AF in self._classes else None
        self._current: Alarm | None = None
        self._intervals = Predictability()
        self._restart()

    def _restart(self) -> None:
        self._scores[:] = 0.0
        self._seen = 0
        self._leading: str | None = None  # rhythm with the highest mean score ...
        self._since_s, self._beats = 0.0, 0  # ... when this began, and for how many beats

    def beat(self, time_s: float, logits: NDArray[np.float32], out: list[Rhythm], *, may_begin: bool) -> None:
        """Note a beat that is not `?`.

        Args:
            time_s: time of the R peak.
            logits: its rhythm logits (classes,).
            out: events are appended to it.
            may_begin: whether the signal is good enough for a rhythm other than `noisy` to be reported.
        """
        odds = np.exp(np.asarray(logits, np.float64) - float(logits.max()))
        probability = odds / odds.sum()
        self._seen += 1
        weight = max(1.0 / self._seen, 1.0 / SCORE_MEMORY)
        self._scores += weight * (probability - self._scores)
        label = self._classes[int(np.argmax(self._scores))]
        too_early = label == AF and len(self._intervals) < FEWEST_RR
        if label == AF and not too_early and (self._intervals.is_smooth() or self._intervals.is_steady()):
            without_af = [-1.0 if k == self._af else score for k, score in enumerate(self._scores)]
            label = self._classes[int(np.argmax(without_af))]
        if self._leading != label:
            self._leading, self._since_s, self._beats = label, time_s, 0
        self._beats += 1
        may_begin = label == NOISY or (may_begin and not too_early)
        if may_begin and self._beats >= HOLD_BEATS and (self._current is None or self._current.label != label):
            if self._current is not None:
                self._current.end(self._since_s, out)
            self._current = Alarm(label)
            self._current.begin(self._since_s, out)

    def add_rr(self, rr_ms: float) -> None:
        """Add an RR interval between two clear beats; a break of the signal does not clear the intervals."""
        self._intervals.add(rr_ms)

    def end(self, at_s: float, out: list[Rhythm]) -> None:
        """End the rhythm at `at_s`, since it is unknown from there on."""
        if self._current is not None:
            self._current.end(at_s, out)
            self._current = None
        self._restart()
