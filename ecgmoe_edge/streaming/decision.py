"""From scores to a label, using the wearer's own past and no annotation: causal and a few multiplications a beat.

If several leads show a beat, their logits are combined first (`combined_logits`). Then three rules from patient-grouped
validation on DS1 and svdb: beats of one shape that come as early are mostly of one class, so a beat's V margin is drawn
to theirs; a class whose margin is always high in this wearer says little, so part of its running mean is taken off; and
in atrial fibrillation an early beat is no proof of S. Frequent S make a rhythm irregular too, so where the model tells
rhythms apart its word counts, and the irregularity alone only where it does not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.streaming.patient.rr_history import IRREGULAR_SHARE, TO_MEAN_OF_8
from ecgmoe_edge.streaming.patient.shapes import ShapeMemory

EARLY = math.log(0.9)  # of the RR interval to the mean of the eight before, below which a beat comes early


def _constant(
    default: Any, *, least: float = -math.inf, most: float = math.inf, since: int = 1, before: Any = None
) -> Any:
    """A constant with its limits; `before`: with this value the rule acts as it did before version `since`."""
    return field(default=default, metadata={"least": least, "most": most, "since": since, "before": before})


@dataclass(frozen=True)
class DecisionRule:
    """Constants of the rule; they travel in the bundle's manifest. Logits are natural logarithms.

    This is the one table of constants. To add one, add its line, with `since` one more than RULE_VERSION was and the
    value with which the rule acts as it did before: bundles that were made without it keep their labels.
    """

    # Of the patient's running S margin above `usual_margin`, taken off.
    margin_share_s: float = _constant(0.25, least=0, most=1)
    margin_share_v: float = _constant(0.25, least=0, most=1)
    # Logit of S or V less that of N in a patient who has none.
    usual_margin: float = _constant(-6.0)
    memory_beats: int = _constant(300, least=1)
    # Of the last 32 RR intervals, above which the guard acts.
    irregular_share: float = _constant(0.4, least=0, most=1)
    # Taken off the logit of S then, by a model without rhythms.
    irregular_penalty: float = _constant(0.5, least=0)
    # The same by one with rhythms, times the square of the mean probability of AF. None: `irregular_penalty` there too.
    fibrillation_penalty: float | None = _constant(3.0, least=0, since=3, before=None)
    # Over which that mean is taken (exponentially).
    fibrillation_beats: int = _constant(64, least=1, since=3, before=64)
    # Of the way to the mean V margin of the beats of its shape; 0 for no such rule.
    shape_share: float = _constant(0.8, least=0, most=1, since=2, before=0.0)
    # Of a beat, QRS to T, with the mean of its shape.
    shape_correlation: float = _constant(0.85, least=0, most=1, since=2, before=0.85)
    # Of the way from the margin of a shape to that of its beats that come as early.
    shape_early_share: float = _constant(0.85, least=0, most=1, since=4, before=0.0)
    # Mean probability of AF from which early says nothing of a beat.
    fibrillation_limit: float = _constant(0.25, least=0, most=1, since=4, before=0.25)

    def __post_init__(self) -> None:
        """Raises ValueError, which names the constant, where one cannot be."""
        for constant in fields(self):
            name, value = constant.name, getattr(self, constant.name)
            least, most = constant.metadata["least"], constant.metadata["most"]
            if value is None and constant.metadata["before"] is None and constant.metadata["since"] > 1:
                continue
            if value is None or not -math.inf < value < math.inf:
                raise ValueError(f"{name} must be a finite number, and is {value}")
            if not least <= value <= most:
                limits = f"at least {least}" if math.isinf(most) else f"from {least} to {most}"
                raise ValueError(f"{name} must be {limits}, and is {value}")
        if self.shape_correlation == 0:
            raise ValueError("shape_correlation must be above 0: every beat would have the same shape")


RULE_VERSION = max(int(constant.metadata["since"]) for constant in fields(DecisionRule))


def constants_of(version: int) -> tuple[str, ...]:
    """Names of the constants that a rule of that version has."""
    return tuple(constant.name for constant in fields(DecisionRule) if constant.metadata["since"] <= version)


def constants_before(version: int) -> dict[str, Any]:
    """The constants that a rule of that version did not have yet, with the values that act as it did."""
    return {
        constant.name: constant.metadata["before"]
        for constant in fields(DecisionRule)
        if constant.metadata["since"] > version
    }


class Decision:
    """The rule applied to one wearer's beats, in their order."""

    def __init__(self, rule: DecisionRule, classes: Sequence[str], rhythms: Sequence[str] = ()) -> None:
        """`classes`: of the beat's logits. `rhythms`: of the rhythm's, where the model has them."""
        self._rule = rule
        weighs_rhythm = rule.fibrillation_penalty is not None
        self._af = rhythms.index("AF") if weighs_rhythm and "AF" in rhythms else None
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
        *,
        learn: bool = True,
    ) -> NDArray[np.float64]:
        """Adjusted logits (classes,) of the next beat.

        rr_features: (15,), from `patient.rr_history.RRHistory`. beat: its window (103,) on BEAT_GRID in R amplitudes,
        or None for one without. rhythm: its rhythm logits (rhythms,), where the model has them. learn: False for a beat
        too poor to learn anything from.
        """
        rule = self._rule
        irregular = bool(rr_features[IRREGULAR_SHARE] > rule.irregular_share)
        own = np.array(logits, np.float64)
        if beat is not None and learn and rule.shape_share:
            others = float(np.logaddexp(own[self._normal], own[self._s]))
            fibrillates = irregular if self._af is None else self._fibrillation >= rule.fibrillation_limit
            ratio = None if fibrillates else float(rr_features[TO_MEAN_OF_8])
            own[self._v] += rule.shape_share * self._shapes.correction(beat, float(own[self._v]) - others, ratio)
        adjusted = own.copy()
        weight = 1.0 / min(rule.memory_beats, self._beats + 60)
        for index, share in self._adapted:
            running = self._margin[index]
            adjusted[index] -= share * max(0.0, running - rule.usual_margin)
            if learn:
                margin = min(max(float(own[index]) - float(own[self._normal]), -8.0), 8.0)
                self._margin[index] = running + weight * (margin - running)
        penalty = rule.irregular_penalty
        if rhythm is not None and self._af is not None:
            if learn:
                self._learn_fibrillation(np.asarray(rhythm, np.float64), self._af)
            penalty = (rule.fibrillation_penalty or 0.0) * self._fibrillation**2  # a doubtful one counts little
        if irregular:
            adjusted[self._s] -= penalty
        self._beats += learn
        return adjusted

    def _learn_fibrillation(self, rhythm: NDArray[np.float64], af: int) -> None:
        probability = float(np.exp(rhythm[af] - np.logaddexp.reduce(rhythm)))
        self._fibrillation += (probability - self._fibrillation) / min(self._beats + 1, self._rule.fibrillation_beats)


def combined_logits(logits: NDArray[np.float32], classes: Sequence[str], *, early: bool) -> NDArray[np.float32]:
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
