"""From scores to a label, using the wearer's own past and no annotation: causal and a few multiplications a beat.

Where several leads show a beat, they are heard first (`heard_together`). Then three rules from patient-grouped
validation on DS1 and svdb: beats of one shape that come as early are mostly of one class, so a beat's V margin is drawn
to theirs; a class whose margin is always high in this wearer says little, so part of its running mean is taken off; and
in atrial fibrillation an early beat is no proof of S. Frequent S make a rhythm irregular too, so where the model tells
rhythms apart its word counts, and the irregularity alone only where it does not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.streaming.features import IRREGULAR_SHARE, TO_MEAN_OF_8
from ecgmoe_edge.streaming.morphology import ShapeMemory

EARLY = math.log(0.9)  # of the RR interval to the mean of the eight before, below which a beat comes early

_LIMITS = {  # the least and the most that a constant may be
    "margin_share_s": (0, 1),
    "margin_share_v": (0, 1),
    "memory_beats": (1, math.inf),
    "irregular_share": (0, 1),
    "irregular_penalty": (0, math.inf),
    "fibrillation_penalty": (0, math.inf),
    "fibrillation_beats": (1, math.inf),
    "shape_share": (0, 1),
    "shape_correlation": (0, 1),
    "shape_early_share": (0, 1),
    "fibrillation_limit": (0, 1),
}


@dataclass(frozen=True)
class DecisionRule:
    """Constants of the rule; they travel in the bundle's manifest. Logits are natural logarithms."""

    margin_share_s: float = 0.25  # of the wearer's running S margin above `usual_margin`, taken off
    margin_share_v: float = 0.25
    usual_margin: float = -6.0  # logit of S or V less that of N in a wearer who has none
    memory_beats: int = 300
    irregular_share: float = 0.4  # of the last 32 RR intervals, above which the guard acts
    irregular_penalty: float = 0.5  # taken off the logit of S then, by a model without rhythms
    fibrillation_penalty: float = 3.0  # the same by one with rhythms, times the square of the mean probability of AF
    fibrillation_beats: int = 64  # over which that mean is taken (exponentially)
    shape_share: float = 0.8  # of the way to the mean V margin of the beats of its shape; 0 for no such rule
    shape_correlation: float = 0.85  # of a beat, QRS to T, with the mean of its shape
    shape_early_share: float = 0.85  # of the way from the margin of a shape to that of its beats that come as early
    fibrillation_limit: float = 0.25  # mean probability of AF from which early says nothing of a beat

    def __post_init__(self) -> None:
        """Raises ValueError, which names the constant, where one cannot be."""
        for name, value in vars(self).items():
            least, most = _LIMITS.get(name, (-math.inf, math.inf))
            if not -math.inf < value < math.inf:
                raise ValueError(f"{name} must be a finite number, and is {value}")
            if not least <= value <= most:
                limits = f"at least {least}" if math.isinf(most) else f"from {least} to {most}"
                raise ValueError(f"{name} must be {limits}, and is {value}")
        if self.shape_correlation == 0:
            raise ValueError("shape_correlation must be above 0: every beat would have the same shape")


class Decision:
    """The rule applied to one wearer's beats, in their order."""

    def __init__(self, rule: DecisionRule, classes: Sequence[str], rhythms: Sequence[str] = ()) -> None:
        """`classes`: of the beat's logits. `rhythms`: of the rhythm's, where the model has them."""
        self._rule = rule
        self._af = rhythms.index("AF") if "AF" in rhythms else None
        self._fibrillation = 0.0  # mean probability of AF
        self._normal = classes.index("N")
        self._s, self._v = classes.index("S"), classes.index("V")
        self._shapes = ShapeMemory(rule.shape_correlation, rule.shape_early_share)
        self._adapted = ((self._s, rule.margin_share_s), (self._v, rule.margin_share_v))
        self._margin = dict.fromkeys((index for index, _ in self._adapted), rule.usual_margin)
        self._beats = 0

    def apply(
        self,
        logits: NDArray[np.float32],
        rr_features: NDArray[np.float32],
        beat: NDArray[np.float32] | None,
        rhythm: NDArray[np.float32] | None = None,
    ) -> NDArray[np.float64]:
        """Adjusted logits (classes,) of the next beat.

        rr_features: (15,), from `features.RRMemory`. beat: its window (103,) on BEAT_GRID in R amplitudes, or None for
        one too poor to learn a shape from. rhythm: its rhythm logits (rhythms,), where the model has them.
        """
        rule = self._rule
        irregular = bool(rr_features[IRREGULAR_SHARE] > rule.irregular_share)
        own = np.array(logits, np.float64)
        if beat is not None and rule.shape_share:
            others = float(np.logaddexp(own[self._normal], own[self._s]))
            fibrillates = irregular if self._af is None else self._fibrillation >= rule.fibrillation_limit
            ratio = None if fibrillates else float(rr_features[TO_MEAN_OF_8])
            own[self._v] += rule.shape_share * self._shapes.correction(beat, float(own[self._v]) - others, ratio)
        adjusted = own.copy()
        weight = 1.0 / min(rule.memory_beats, self._beats + 60)
        for index, share in self._adapted:
            running = self._margin[index]
            adjusted[index] -= share * max(0.0, running - rule.usual_margin)
            margin = min(max(float(own[index]) - float(own[self._normal]), -8.0), 8.0)
            self._margin[index] = running + weight * (margin - running)
        penalty = rule.irregular_penalty
        if rhythm is not None and self._af is not None:
            penalty = self._fibrillation_penalty(np.asarray(rhythm, np.float64), self._af)
        if irregular:
            adjusted[self._s] -= penalty
        self._beats += 1
        return adjusted

    def _fibrillation_penalty(self, rhythm: NDArray[np.float64], af: int) -> float:
        probability = float(np.exp(rhythm[af] - np.logaddexp.reduce(rhythm)))
        self._fibrillation += (probability - self._fibrillation) / min(self._beats + 1, self._rule.fibrillation_beats)
        return self._rule.fibrillation_penalty * self._fibrillation**2  # a doubtful one counts little


def heard_together(logits: NDArray[np.float32], classes: Sequence[str], *, early: bool) -> NDArray[np.float32]:
    """Logits (classes,) of a beat of which each lead has its own, (leads, classes), the beat's own lead first.

    N, S and F are the leads' mean. V of an early beat is what the lead says that shows it most, since a ventricular
    beat can look like a normal one in one lead. A beat on time that one lead alone takes for V is mostly one of a
    bundle branch block that comes and goes: there the first lead's word stands.
    """
    if len(logits) == 1:
        return np.asarray(logits[0])
    own = np.asarray(logits, np.float64)
    own = own - np.logaddexp.reduce(own, axis=1, keepdims=True)
    n, s, v = classes.index("N"), classes.index("S"), classes.index("V")
    margin = own[:, v] - np.logaddexp(own[:, n], own[:, s])
    together = own.mean(axis=0)
    together[v] = (margin.max() if early else margin[0]) + np.logaddexp(together[n], together[s])
    return np.asarray(together, np.float32)
