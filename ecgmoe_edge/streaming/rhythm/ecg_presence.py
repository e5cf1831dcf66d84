"""Whether the signal shows an ECG: what alarms are believed by.

Quality says that a peak is still on both sides, which noise can be: steps between two levels, steps of a walking
patient. A heart's complexes are also alike, and come in a rhythm. Beats that are all three count for the signal; each
that is not counts against it twice. Noise hardly ever shows three such beats out of four, so that it stays in debt,
and a minute of it has to be made up for, unless the patient's ECG has been seen for long before.
"""

from __future__ import annotations

import math
from collections import deque

from ecgmoe_edge.streaming.signal.sums import plain_sum

_CLEAR_QUALITY = 0.3  # of a beat; 1.5 of 100 beats in records of DS1 have less, and most peaks of NSTDB's noise
_RECENT_BEATS, _FEWEST_BEATS = 16, 5
_CLEAR_SHARE = 0.7  # of the recent beats
_FORGOTTEN_BEATS = 64  # without so many clear ones, the lead is as one that never had an ECG
# Chosen on ds1-fit and svdb-fit, of whose beats 97 of 100 are alike and in a rhythm; of telegraph noise 25 are.
_ALIKE = 0.85  # correlation with beats before
_FEWEST_INTERVALS = 4
_LARGEST_SPREAD = 0.5  # standard deviation of ln RR; atrial fibrillation has 0.25, events that come at random 0.65
_SHORTEST_MS, _LONGEST_MS = 150.0, 6000.0
_SHOWN_CREDIT, _MOST_CREDIT, _DEBIT = 5, 64, 2
_LARGEST_DEBT = 32
_KNOWN_CREDIT, _DEBT_OF_KNOWN = 48, 8  # noise alone never has so much; who had is believed sooner after noise


class EcgShown:
    """Judges the signal by its recent beats."""

    def __init__(self) -> None:
        self.lost()

    def lost(self) -> None:
        """The lead was lost: what comes has to show an ECG again."""
        self._clear: deque[bool] = deque(maxlen=_RECENT_BEATS)
        self._log_rr: deque[float] = deque(maxlen=_RECENT_BEATS)
        self._credit = 0
        self._known = False  # an ECG was shown for long
        self.before = False  # it has shown an ECG, if perhaps not now
        self._since = 0  # beats since it did, at most

    @property
    def now(self) -> bool:
        """Most of the recent beats are clear, and it has shown an ECG."""
        return self.before and self._are_clear()

    def beat(self, quality: float, rr_ms: float | None, *, poor: bool, recurrence: float | None) -> bool:
        """Take a beat, and say whether it is clear.

        rr_ms: interval to the beat before, None where it is not known. poor: it is `?`. recurrence: correlation with
        beats before, None where there was none.
        """
        clear = not poor and quality >= _CLEAR_QUALITY
        self._clear.append(clear)
        if rr_ms is not None:
            self._log_rr.append(math.log(min(max(rr_ms, _SHORTEST_MS), _LONGEST_MS)))
        if not clear or recurrence is not None:
            self._count(clear and recurrence is not None and recurrence >= _ALIKE and self._is_rhythm())
        if self._credit >= _SHOWN_CREDIT and self._are_clear():
            self.before, self._since = True, 0
        elif self.before:
            self._since += 1
            self.before = self._since < _FORGOTTEN_BEATS
        return clear

    def _count(self, of_a_heart: bool) -> None:
        if of_a_heart:
            self._credit = min(self._credit + 1, _MOST_CREDIT)
            self._known = self._known or self._credit >= _KNOWN_CREDIT
        else:
            self._credit = max(self._credit - _DEBIT, -(_DEBT_OF_KNOWN if self._known else _LARGEST_DEBT))

    def _are_clear(self) -> bool:
        return len(self._clear) >= _FEWEST_BEATS and sum(self._clear) >= _CLEAR_SHARE * len(self._clear)

    def _is_rhythm(self) -> bool:
        """Whether the recent RR intervals are no further apart than those of a heart."""
        n = len(self._log_rr)
        if n < _FEWEST_INTERVALS:
            return True
        mean = plain_sum(self._log_rr) / n
        return plain_sum((value - mean) ** 2 for value in self._log_rr) <= _LARGEST_SPREAD**2 * n
