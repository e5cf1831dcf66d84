"""From scores to a label, using the wearer's own past and no annotation: causal and a few multiplications a beat.

Two rules from patient-grouped validation inside DS1: a class whose margin is always high in this wearer says little,
so part of its running mean is taken off; and in an irregular rhythm (atrial fibrillation) an early beat is no proof
of S.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class DecisionRule:
    """Constants of the rule; they travel in the bundle's manifest. Logits are natural logarithms."""

    margin_share_s: float = 0.25  # of the wearer's running S margin above `usual_margin`, taken off
    margin_share_v: float = 0.25
    usual_margin: float = -6.0  # logit of S or V less that of N in a wearer who has none
    memory_beats: int = 300
    irregular_share: float = 0.4  # of the last 32 RR intervals, above which the guard acts
    irregular_penalty: float = 1.0  # taken off the logit of S then


class Decision:
    """The rule applied to one wearer's beats, in their order."""

    def __init__(self, rule: DecisionRule, classes: Sequence[str]) -> None:
        self._rule = rule
        self._normal = classes.index("N")
        self._s = classes.index("S")
        self._adapted = ((self._s, rule.margin_share_s), (classes.index("V"), rule.margin_share_v))
        self._margin = dict.fromkeys((index for index, _ in self._adapted), rule.usual_margin)
        self._beats = 0

    def apply(self, logits: NDArray[np.float32], irregular_share: float) -> NDArray[np.float64]:
        """Adjusted logits (classes,) of the next beat; `irregular_share` is that of its RR features (0..1)."""
        rule = self._rule
        adjusted = np.array(logits, np.float64)
        weight = 1.0 / min(rule.memory_beats, self._beats + 60)
        for index, share in self._adapted:
            running = self._margin[index]
            adjusted[index] -= share * max(0.0, running - rule.usual_margin)
            margin = min(max(float(logits[index]) - float(logits[self._normal]), -8.0), 8.0)
            self._margin[index] = running + weight * (margin - running)
        if irregular_share > rule.irregular_share:
            adjusted[self._s] -= rule.irregular_penalty
        self._beats += 1
        return adjusted
