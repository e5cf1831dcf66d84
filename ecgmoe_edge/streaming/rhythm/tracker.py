"""Rhythm events from beats, from the time that passes without one, and from breaks of the signal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.streaming.events import Rhythm
from ecgmoe_edge.streaming.rhythm.ecg_shown import EcgShown
from ecgmoe_edge.streaming.rhythm.limits import RhythmLimits
from ecgmoe_edge.streaming.rhythm.model_rhythm import ModelRhythm
from ecgmoe_edge.streaming.rhythm.pause import PauseAlarm
from ecgmoe_edge.streaming.rhythm.rate import RateAlarms
from ecgmoe_edge.streaming.rhythm.v_run import VRunAlarm


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
        self._ecg = EcgShown()
        self._last_s = 0.0
        self._clear = False  # the last beat, what is no QRS complex left out
        self._after_no_qrs = False  # such a peak came after it

    def beat(
        self,
        time_s: float,
        rr_ms: float | None,
        label: str | None,
        logits: NDArray[np.float32] | None,
        *,
        quality: float = 1.0,
        poor: bool = False,
        no_qrs: bool = False,
        recurrence: float | None = 1.0,
    ) -> list[Rhythm]:
        """Events that a beat at `time_s` brings.

        logits: (rhythm classes,) where the model has the task. quality: 0 to 1. poor: the beat is `?`, or would be if a
        model ran. no_qrs: it is no beat at all but a peak of noise or a P wave, and poor for that. recurrence:
        correlation with the patient's beats before, None where there was none.
        """
        out: list[Rhythm] = []
        if no_qrs:
            self._v_run.end(out)
            self._after_no_qrs = True
            return out
        clear = self._ecg.beat(quality, None if self._after_no_qrs else rr_ms, poor=poor, recurrence=recurrence)
        # An RR interval is believed between two clear beats that have nothing between them.
        measured = rr_ms if clear and self._clear and not self._after_no_qrs else None
        self._clear, self._after_no_qrs = clear, False
        may_begin = self._ecg.now
        self._pause.beat(time_s, measured if may_begin else None, out)
        self._rate.beat(time_s, measured, out, may_begin=may_begin)
        self._v_run.beat(time_s, label, out, may_begin=self._ecg.before)
        if measured is not None:
            self._model.add_rr(measured)
        if logits is not None and not poor:
            self._model.beat(time_s, logits, out, may_begin=may_begin)
        self._last_s = time_s
        return out

    def silence(self, since_s: float, seconds: float, *, after_beat: bool) -> list[Rhythm]:
        """No R peak came for `seconds` since `since_s`; `after_beat`: since a beat, and not a signal's start."""
        out: list[Rhythm] = []
        self._v_run.end(out)
        self._rate.silence(since_s, seconds, out)
        if self._ecg.before:
            is_rr = after_beat and self._clear and self._ecg.now
            self._pause.silence(since_s, seconds, is_rr=is_rr, out=out)
        return out

    def interrupt(self, at_s: float, *, lead_lost: bool) -> list[Rhythm]:
        """Close everything that is open: there is no signal from `at_s` on.

        lead_lost: an electrode fell off or its input stood still; what comes next has to show an ECG first.
        """
        out: list[Rhythm] = []
        self._pause.end(at_s, out)
        self._v_run.end(out)
        self._rate.end(out)
        self._model.end(self._last_s, out)
        self._clear = False
        if lead_lost:
            self._ecg.lost()
        return out
