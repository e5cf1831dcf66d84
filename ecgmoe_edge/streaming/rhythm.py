"""Rhythm from beats: the model's rhythm scores steadied over beats, and what RR intervals alone define."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.streaming.events import Rhythm

PAUSE_MS = 2000.0
BRADYCARDIA_BPM = 50.0
TACHYCARDIA_BPM = 100.0
V_RUN_BEATS = 3
_RATE_BEATS = 8
_SCORE_MEMORY = 16  # beats over which rhythm scores are averaged (exponentially)
_HOLD_BEATS = 8  # a new rhythm must lead for so many beats before it is said


class RhythmTracker:
    """Turns beats, in order, into rhythm events: one with `to_s` None when a rhythm begins, one when it has ended."""

    def __init__(self, classes: Sequence[str]) -> None:
        self._classes = tuple(classes)
        self._scores = np.zeros(len(self._classes))
        self._seen = 0
        self._leading: tuple[str, float, int] | None = None  # label, since when, beats in a row
        self._open: dict[str, tuple[str, float, str | None]] = {}  # kind -> label, from_s, limit
        self._rr: deque[float] = deque(maxlen=_RATE_BEATS)
        self._v_times: list[float] = []
        self._last_s = 0.0

    def beat(
        self, time_s: float, rr_ms: float | None, label: str | None, logits: NDArray[np.float32] | None
    ) -> list[Rhythm]:
        """Events that a beat at `time_s` brings; `logits` (rhythm classes,) where the model has the task."""
        out: list[Rhythm] = []
        self._pause_and_rate(time_s, rr_ms, out)
        self._v_run(time_s, label, out)
        if logits is not None and label != "?":
            self._model_rhythm(time_s, logits, out)
        self._last_s = time_s
        return out

    def interrupt(self) -> list[Rhythm]:
        """Close everything that is open: the signal broke off after the last beat."""
        out: list[Rhythm] = []
        self._v_run(self._last_s, None, out)
        for kind in tuple(self._open):
            self._close(kind, self._last_s, out)
        self._rr.clear()
        self._scores[:] = 0.0
        self._seen, self._leading = 0, None
        return out

    def _pause_and_rate(self, time_s: float, rr_ms: float | None, out: list[Rhythm]) -> None:
        if rr_ms is None:
            self._rr.clear()
            return
        if rr_ms > PAUSE_MS:
            out.append(Rhythm("pause", time_s - rr_ms / 1000.0, time_s, f"RR > {PAUSE_MS:g} ms"))
        self._rr.append(rr_ms)
        rate = 60000.0 * len(self._rr) / sum(self._rr)
        full = len(self._rr) == _RATE_BEATS
        since = time_s - sum(self._rr) / 1000.0
        for label, met, limit in (
            ("bradycardia", rate < BRADYCARDIA_BPM, f"< {BRADYCARDIA_BPM:g} bpm over {_RATE_BEATS} beats"),
            ("tachycardia", rate > TACHYCARDIA_BPM, f"> {TACHYCARDIA_BPM:g} bpm over {_RATE_BEATS} beats"),
        ):
            if met and full and label not in self._open:
                self._begin(label, label, since, limit, out)
            elif not met and label in self._open:
                self._close(label, time_s, out)

    def _v_run(self, time_s: float, label: str | None, out: list[Rhythm]) -> None:
        if label == "V":
            if len(self._v_times) < V_RUN_BEATS:
                self._v_times.append(time_s)
            if len(self._v_times) == V_RUN_BEATS and "V run" not in self._open:
                self._begin("V run", "V run", self._v_times[0], f">= {V_RUN_BEATS} V beats", out)
            return
        self._v_times.clear()
        if "V run" in self._open:
            self._close("V run", self._last_s, out)

    def _model_rhythm(self, time_s: float, logits: NDArray[np.float32], out: list[Rhythm]) -> None:
        odds = np.exp(np.asarray(logits, np.float64) - float(logits.max()))
        probability = odds / odds.sum()
        self._seen += 1
        weight = max(1.0 / self._seen, 1.0 / _SCORE_MEMORY)
        self._scores += weight * (probability - self._scores)
        label = self._classes[int(np.argmax(self._scores))]
        if self._leading is None or self._leading[0] != label:
            self._leading = (label, time_s, 0)
        label, since, beats = self._leading
        self._leading = (label, since, beats + 1)
        current = self._open.get("model")
        if beats + 1 >= _HOLD_BEATS and (current is None or current[0] != label):
            if current is not None:
                self._close("model", since, out)
            self._begin("model", label, since, None, out)

    def _begin(self, kind: str, label: str, from_s: float, limit: str | None, out: list[Rhythm]) -> None:
        self._open[kind] = (label, from_s, limit)
        out.append(Rhythm(label, from_s, None, limit))

    def _close(self, kind: str, to_s: float, out: list[Rhythm]) -> None:
        label, from_s, limit = self._open.pop(kind)
        out.append(Rhythm(label, from_s, to_s, limit))
