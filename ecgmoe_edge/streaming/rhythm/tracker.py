"""Rhythm events from beats, from the time without a beat, and from breaks of the signal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.streaming.events import Rhythm
from ecgmoe_edge.streaming.rhythm.alarms import PauseAlarm, RateAlarms, VRunAlarm
from ecgmoe_edge.streaming.rhythm.ecg_presence import EcgPresence
from ecgmoe_edge.streaming.rhythm.limits import RhythmLimits
from ecgmoe_edge.streaming.rhythm.model_rhythm import ModelRhythm


class RhythmTracker:
    """Turns beats, in order, into rhythm events: one when a rhythm begins (`to_s` is None), one when it has ended.

    Args:
        classes: classes of the rhythm logits; empty if the model has no such task.
        limits: limits of the alarms; None for the defaults.
    """

    def __init__(self, classes: Sequence[str], limits: RhythmLimits | None = None) -> None:
        limits = limits or RhythmLimits()
        self._pause = PauseAlarm(limits)
        self._rate = RateAlarms(limits)
        self._v_run = VRunAlarm(limits)
        self._model = ModelRhythm(classes)
        self._ecg = EcgPresence()
        self._last_s = 0.0
        # A peak that is no QRS complex, or an artefact, is no beat here.
        self._clear = False  # whether the last beat was clear
        self._after_no_beat = False  # whether such a peak came after the last beat

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
        """Return the events of a beat.

        Args:
            time_s: time of its R peak.
            rr_ms: interval to the R peak before; None if it is not known.
            label: its class; None without a model.
            logits: its rhythm logits (rhythm classes,); None if the model has no such task.
            quality: 0 to 1.
            poor: whether the beat is `?`, or would be with a model.
            no_qrs: whether it is a peak of noise or a P wave and not a beat; it is poor then.
            recurrence: correlation with the patient's beats before; None if there was none.
        """
        out: list[Rhythm] = []
        if no_qrs:
            self._v_run.end(out)
            self._after_no_beat = True
            return out
        clear = self._ecg.beat(quality, None if self._after_no_beat else rr_ms, poor=poor, recurrence=recurrence)
        # An RR interval is valid between two clear beats without a peak between them.
        valid_rr_ms = rr_ms if clear and self._clear and not self._after_no_beat else None
        self._clear, self._after_no_beat = clear, False
        may_begin = self._ecg.present
        self._pause.beat(time_s, valid_rr_ms if may_begin else None, out)
        self._rate.beat(time_s, valid_rr_ms, out, may_begin=may_begin)
        self._v_run.beat(time_s, label, out, may_begin=self._ecg.shown)
        if valid_rr_ms is not None:
            self._model.add_rr(valid_rr_ms)
        if logits is not None and not poor:
            self._model.beat(time_s, logits, out, may_begin=may_begin)
        self._last_s = time_s
        return out

    def artefact(self, time_s: float) -> list[Rhythm]:
        """Return the events of a detected peak of which the model answered that it is no beat.

        It ends no pause and no asystole, and is neither part of a V run nor its end. No RR interval begins or ends with
        it. Like a beat that is `?`, it counts against the signal: many of them, and no alarm begins.

        Args:
            time_s: time of the peak.
        """
        out: list[Rhythm] = []
        self._after_no_beat = True
        self._ecg.beat(0.0, None, poor=True, recurrence=None)
        self._rate.beat(time_s, None, out, may_begin=False)
        self._v_run.artefact(time_s, out)
        return out

    def silence(self, since_s: float, seconds: float, *, after_beat: bool) -> list[Rhythm]:
        """Return the events of `seconds` without an R peak since `since_s`; `after_beat` as in `Silence`."""
        out: list[Rhythm] = []
        self._v_run.end(out)
        self._rate.silence(since_s, seconds, out)
        if self._ecg.shown:
            is_rr = after_beat and self._clear and self._ecg.present
            self._pause.silence(since_s, seconds, is_rr=is_rr, out=out)
        return out

    def interrupt(self, at_s: float, *, lead_lost: bool) -> list[Rhythm]:
        """End all rhythms, since there is no signal from `at_s` on.

        lead_lost: as in `SignalEnd`; the next signal then has to show an ECG first.
        """
        out: list[Rhythm] = []
        self._pause.end(at_s, out)
        self._v_run.end(out)
        self._rate.end(out)
        self._model.end(self._last_s, out)
        self._clear = False
        if lead_lost:
            self._ecg.forget()
        return out
