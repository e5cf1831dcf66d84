"""Whether the signal shows an ECG; without one, no alarm begins.

Quality is high if the signal is quiet beside a peak. Noise can be quiet there too: steps between two levels, or the
electrode motion of a walking patient. The QRS complexes of a heart are, in addition, alike and rhythmic. A beat with
all three properties adds one to the credit of the signal; any other beat subtracts two. Noise hardly ever has three
such beats out of four, so its credit stays negative, and after a minute of noise it takes many beats to become positive
again. If the patient's ECG was present for long before, the credit falls less deep.
"""

from __future__ import annotations

import math
from collections import deque

from ecgmoe_edge.streaming.signal.sums import plain_sum

# A clear beat has at least this quality; 1.5 % of the beats in DS1 and most peaks of NSTDB's noise have less.
CLEAR_QUALITY = 0.3
RECENT_BEATS, FEWEST_BEATS = 16, 5  # number of recent beats, and the fewest for a decision
CLEAR_SHARE = 0.7  # smallest fraction of clear beats among them
FORGOTTEN_BEATS = 64  # after so many beats without an ECG, the lead is like one that never had one
# Chosen on ds1-fit and svdb-fit: 97 % of the beats there are alike and rhythmic, and 25 % of those of telegraph noise.
ALIKE = 0.85  # smallest correlation with beats before
FEWEST_INTERVALS = 4  # with fewer RR intervals, they count as rhythmic
LARGEST_SPREAD = 0.5  # standard deviation of ln RR: 0.25 in atrial fibrillation, 0.65 if peaks come at random
SHORTEST_MS, LONGEST_MS = 150.0, 6000.0
ENOUGH_CREDIT, MOST_CREDIT, DEBIT = 5, 64, 2
LEAST_CREDIT = -32
KNOWN_CREDIT, LEAST_CREDIT_KNOWN = 48, -8  # noise alone never reaches 48; then the ECG is found sooner after noise


class EcgPresence:
    """Decides by the recent beats whether the signal shows an ECG."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Forget all beats, since the lead was lost: the next signal has to show an ECG again."""
        self._clear: deque[bool] = deque(maxlen=RECENT_BEATS)
        self._log_rr: deque[float] = deque(maxlen=RECENT_BEATS)
        self._credit = 0
        self._known = False  # whether an ECG was present for long
        self.shown = False  # whether the signal has shown an ECG, though perhaps not now
        self._since = 0  # number of beats since it last did

    @property
    def present(self) -> bool:
        """Whether the signal has shown an ECG and most of the recent beats are clear."""
        return self.shown and self._are_clear()

    def beat(self, quality: float, rr_ms: float | None, *, poor: bool, recurrence: float | None) -> bool:
        """Note a beat and return whether it is clear.

        Args:
            quality: 0 to 1.
            rr_ms: interval to the beat before; None if it is not known.
            poor: whether the beat is `?`.
            recurrence: correlation with the beats before; None if there was none.
        """
        clear = not poor and quality >= CLEAR_QUALITY
        self._clear.append(clear)
        if rr_ms is not None:
            self._log_rr.append(math.log(min(max(rr_ms, SHORTEST_MS), LONGEST_MS)))
        if not clear or recurrence is not None:
            self._count(clear and recurrence is not None and recurrence >= ALIKE and self._is_rhythmic())
        if self._credit >= ENOUGH_CREDIT and self._are_clear():
            self.shown, self._since = True, 0
        elif self.shown:
            self._since += 1
            self.shown = self._since < FORGOTTEN_BEATS
        return clear

    def _count(self, like_a_heart: bool) -> None:
        if like_a_heart:
            self._credit = min(self._credit + 1, MOST_CREDIT)
            self._known = self._known or self._credit >= KNOWN_CREDIT
        else:
            self._credit = max(self._credit - DEBIT, LEAST_CREDIT_KNOWN if self._known else LEAST_CREDIT)

    def _are_clear(self) -> bool:
        return len(self._clear) >= FEWEST_BEATS and sum(self._clear) >= CLEAR_SHARE * len(self._clear)

    def _is_rhythmic(self) -> bool:
        """Whether the recent RR intervals differ no more than those of a heart."""
        n = len(self._log_rr)
        if n < FEWEST_INTERVALS:
            return True
        mean = plain_sum(self._log_rr) / n
        return plain_sum((value - mean) ** 2 for value in self._log_rr) <= LARGEST_SPREAD**2 * n
