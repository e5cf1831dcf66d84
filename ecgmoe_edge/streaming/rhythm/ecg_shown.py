"""Whether the signal shows an ECG: what alarms are believed by."""

from __future__ import annotations

from collections import deque

_CLEAR_QUALITY = 0.3  # of a beat; 1.5 of 100 beats in records of DS1 have less, and most peaks of NSTDB's noise
_RECENT_BEATS, _FEWEST_BEATS = 16, 5
_CLEAR_SHARE = 0.7  # of the recent beats
_FORGOTTEN_BEATS = 64  # without so many clear ones, the lead is as one that never had an ECG


class EcgShown:
    """Judges the signal by the quality of its recent beats."""

    def __init__(self) -> None:
        self.lost()

    def lost(self) -> None:
        """The lead was lost: what comes has to show an ECG again."""
        self._clear: deque[bool] = deque(maxlen=_RECENT_BEATS)
        self.before = False  # it has shown an ECG, if perhaps not now
        self._since = 0  # beats since it did, at most

    @property
    def now(self) -> bool:
        """Most of the recent beats are clear."""
        return len(self._clear) >= _FEWEST_BEATS and sum(self._clear) >= _CLEAR_SHARE * len(self._clear)

    def beat(self, quality: float, *, poor: bool) -> bool:
        """Take a beat, and say whether it is clear; `poor`: it is `?`."""
        clear = not poor and quality >= _CLEAR_QUALITY
        self._clear.append(clear)
        if self.now:
            self.before, self._since = True, 0
        elif self.before:
            self._since += 1
            self.before = self._since < _FORGOTTEN_BEATS
        return clear
