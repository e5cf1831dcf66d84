"""Rhythm events from beats, from the time that passes without one, and from breaks of the signal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.streaming.events import Rhythm
from ecgmoe_edge.streaming.rhythm.limits import RhythmLimits
from ecgmoe_edge.streaming.rhythm.model_rhythm import ModelRhythm
from ecgmoe_edge.streaming.rhythm.pause import PauseAlarm
from ecgmoe_edge.streaming.rhythm.rate import RateAlarms
from ecgmoe_edge.streaming.rhythm.v_run import VRunAlarm

_SHOWN_BEATS = 3  # in a row, of which none is `?`, show that there is an ECG


class RhythmTracker:
    """Turns beats, in order, into rhythm events: one with `to_s` None when a rhythm begins, one when it has ended.

    classes: of the rhythm logits; empty where the model has no such task.
    """

    def __init__(self, classes: Sequence[str], limits: RhythmLimits | None = None) -> None:
        limits = limits or RhythmLimits()
        self._pause = PauseAlarm(limits)
        self._rate = RateAlarms(limits)
        self._v_run = VRunAlarm(limits)
        self._model = ModelRhythm(classes)
        self._last_s = 0.0
        self._good_beats = 0  # in a row, up to the number that shows an ECG
        self._has_ecg = False

    def beat(
        self,
        time_s: float,
        rr_ms: float | None,
        label: str | None,
        logits: NDArray[np.float32] | None,
        *,
        poor: bool = False,
        noise: bool = False,
    ) -> list[Rhythm]:
        """Events that a beat at `time_s` brings.

        logits: (rhythm classes,) where the model has the task. poor: the beat is `?`, or would be if a model ran.
        noise: it is no beat at all but a peak of noise, and poor for that.
        """
        out: list[Rhythm] = []
        if noise:
            return out
        measured = None if poor or not self._good_beats else rr_ms  # an RR interval between two beats that are no `?`
        self._good_beats = 0 if poor else min(self._good_beats + 1, _SHOWN_BEATS)
        self._has_ecg |= self._good_beats == _SHOWN_BEATS
        self._pause.beat(time_s, measured, out)
        self._rate.beat(time_s, rr_ms, out)
        self._v_run.beat(time_s, label, out)
        if logits is not None and not poor:
            self._model.beat(time_s, logits, out)
        self._last_s = time_s
        return out

    def silence(self, since_s: float, seconds: float, *, after_beat: bool) -> list[Rhythm]:
        """No R peak came for `seconds` since `since_s`; `after_beat`: since a beat, and not a signal's start."""
        out: list[Rhythm] = []
        if self._has_ecg:
            self._v_run.end(out)
            self._pause.silence(since_s, seconds, is_rr=after_beat and self._good_beats > 0, out=out)
        return out

    def interrupt(self, at_s: float, *, lead_lost: bool) -> list[Rhythm]:
        """Close everything that is open: there is no signal from `at_s` on.

        lead_lost: an electrode fell off or its input stood still; what comes next has to show an ECG first.
        """
        out: list[Rhythm] = []
        self._pause.end(at_s, out)
        self._v_run.end(out)
        self._rate.end(self._last_s, out)
        self._model.end(self._last_s, out)
        self._good_beats = 0
        self._has_ecg &= not lead_lost
        return out
