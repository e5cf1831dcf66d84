"""From logits to labels, by patient history without annotations: causal, with a few multiplications for each beat.

If several leads show a beat, their logits are combined first (`combined_logits`). Then three rules apply, which were
chosen by patient-grouped validation on DS1 and svdb.

1. Beats of one shape that come as early are mostly of one class: the V margin of a beat (logit of V over N and S) is
   moved towards theirs.
2. If the margin of a class (logit of S or V minus that of N) is always high in a patient, it says little: part of its
   running mean is subtracted.
3. In atrial fibrillation, an early beat is no evidence of S: the logit of S is lowered. Frequent S beats make a rhythm
   irregular too. So if the model has rhythm classes, its probability of AF decides, and otherwise the irregularity.

Before the rules, a peak that looks ventricular is an artefact if the signal is poor and the model is not sure
(`Decision.is_artefact`). With electrode motion at 6 dB, 59 % of the V that are no beat go, and 14 % of the true ones
(docs/figures.md).
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
from ecgmoe_edge.tasks import ARTEFACT

EARLY = math.log(0.9)  # a beat is early if ln of its RR interval over the mean of the 8 before is below this
MARGIN_LIMIT = 8.0  # larger margins are limited to this in the running mean of a patient
BEATS_BEFORE = 60  # number of beats that the running mean begins with, all with the usual margin


def _constant(
    default: Any, *, least: float = -math.inf, most: float = math.inf, since: int = 1, before: Any = None
) -> Any:
    """A constant with its limits. With the value `before`, the rule is the same as before version `since`."""
    return field(default=default, metadata={"least": least, "most": most, "since": since, "before": before})


@dataclass(frozen=True)
class DecisionRule:
    """Constants of the rules, which the manifest of a bundle contains. Logits are natural logarithms.

    This is the only table of constants. To add one, add its line, with `since` one more than RULE_VERSION was and, as
    `before`, the value that leaves the labels of bundles without it unchanged.
    """

    # Fraction of the patient's running S margin (V margin) above `usual_margin` that is subtracted.
    margin_share_s: float = _constant(0.25, least=0, most=1)
    margin_share_v: float = _constant(0.25, least=0, most=1)
    # Margin in a patient without beats of this class.
    usual_margin: float = _constant(-6.0)
    # Number of beats of the running margins (exponential).
    memory_beats: int = _constant(300, least=1)
    # Fraction of irregular RR intervals among the last 32 above which the logit of S is lowered.
    irregular_share: float = _constant(0.4, least=0, most=1)
    # By how much it is lowered, for a model without rhythm classes.
    irregular_penalty: float = _constant(0.5, least=0)
    # The same for a model with rhythm classes, times the square of the mean probability of AF; None for
    # `irregular_penalty` there too.
    fibrillation_penalty: float | None = _constant(3.0, least=0, since=3, before=None)
    # Number of beats of that mean (exponential).
    fibrillation_beats: int = _constant(64, least=1, since=3, before=64)
    # Fraction of the difference to the V margin of its shape by which a beat is moved; 0 for no such rule.
    shape_share: float = _constant(0.8, least=0, most=1, since=2, before=0.0)
    # Smallest correlation of a beat, from QRS to T, with the mean of its shape.
    shape_correlation: float = _constant(0.85, least=0, most=1, since=2, before=0.85)
    # Weight of the mean margin of the beats of a shape that come as early.
    shape_early_share: float = _constant(0.85, least=0, most=1, since=4, before=0.0)
    # Mean probability of AF from which it does not count whether a beat is early.
    fibrillation_limit: float = _constant(0.05, least=0, most=1, since=4, before=0.25)
    # Whether `fibrillation_penalty` applies only if the RR intervals are irregular (`irregular_share`).
    fibrillation_irregular: bool = _constant(False, least=0, most=1, since=5, before=True)
    # Quality below which a V beat needs a margin (logit of V over all other beats) of at least `doubtful_margin`; with
    # less it is an artefact. 0 for no such rule.
    doubtful_quality: float = _constant(0.2, least=0, most=1, since=6, before=0.0)
    doubtful_margin: float = _constant(4.0, least=0, since=6, before=0.0)

    def __post_init__(self) -> None:
        """Check the constants.

        Raises:
            ValueError: a constant is out of range; the message names it.
        """
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
    """Return the names of the constants that the rules of a version have."""
    return tuple(constant.name for constant in fields(DecisionRule) if constant.metadata["since"] <= version)


def constants_before(version: int) -> dict[str, Any]:
    """Return the constants that the rules of a version do not have yet, with the values that change nothing."""
    return {
        constant.name: constant.metadata["before"]
        for constant in fields(DecisionRule)
        if constant.metadata["since"] > version
    }


class Decision:
    """The rules, applied to one patient's beats in their order.

    Args:
        rule: constants.
        classes: classes of the beat logits; they may contain ARTEFACT.
        rhythms: classes of the rhythm logits; empty if the model has none.
    """

    def __init__(self, rule: DecisionRule, classes: Sequence[str], rhythms: Sequence[str] = ()) -> None:
        self._rule = rule
        weighs_rhythm = rule.fibrillation_penalty is not None
        self._af = rhythms.index("AF") if weighs_rhythm and "AF" in rhythms else None
        self._fibrillation = 0.0  # mean probability of AF
        self._normal = classes.index("N")
        self._s, self._v = classes.index("S"), classes.index("V")
        self._artefact = classes.index(ARTEFACT) if ARTEFACT in classes else None
        self._of_beats = [index for index, name in enumerate(classes) if name != ARTEFACT]
        self._shapes = ShapeMemory(rule.shape_correlation, rule.shape_early_share)
        self._adapted = ((self._s, rule.margin_share_s), (self._v, rule.margin_share_v))
        self._margin = dict.fromkeys((index for index, _ in self._adapted), rule.usual_margin)
        self._beats = 0

    def is_artefact(self, logits: NDArray[np.float32], quality: float) -> bool:
        """Return whether a detected peak is an artefact, before the rules.

        It is one if the model has this answer and gives it, or if it looks ventricular, but the signal is poor and the
        model is not sure.

        Args:
            logits: beat logits of the model, (classes,).
            quality: quality of the beat, 0 to 1.
        """
        best = int(np.argmax(logits))
        if best == self._artefact:
            return True
        if best != self._v or quality >= self._rule.doubtful_quality:
            return False
        others = [float(logits[index]) for index in self._of_beats if index != self._v]
        return float(logits[self._v]) - float(np.logaddexp.reduce(others)) < self._rule.doubtful_margin

    def best_class(self, adjusted: NDArray[np.float64]) -> int:
        """Return the index of the largest adjusted logit (classes,) of a beat class; the artefact is left out."""
        return self._of_beats[int(np.argmax(adjusted[self._of_beats]))]

    def apply(
        self,
        logits: NDArray[np.float32],
        rr_features: NDArray[np.float32],
        beat: NDArray[np.float32] | None,
        rhythm: NDArray[np.float32] | None = None,
        *,
        learn: bool = True,
    ) -> NDArray[np.float64]:
        """Return the adjusted logits (classes,) of the next beat.

        Args:
            logits: beat logits of the model, (classes,).
            rr_features: (15,) from `patient.rr_history.RRHistory`.
            beat: window (82,) on BEAT_GRID in R amplitudes; None without the rule of shapes.
            rhythm: rhythm logits (rhythms,); None if the model has none.
            learn: whether the beat is added to the patient history; False for a poor beat and an artefact.
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
        weight = 1.0 / min(rule.memory_beats, self._beats + BEATS_BEFORE)
        for index, share in self._adapted:
            running = self._margin[index]
            adjusted[index] -= share * max(0.0, running - rule.usual_margin)
            if learn:
                margin = min(max(float(own[index]) - float(own[self._normal]), -MARGIN_LIMIT), MARGIN_LIMIT)
                self._margin[index] = running + weight * (margin - running)
        penalty, applies = rule.irregular_penalty, irregular
        if rhythm is not None and self._af is not None:
            if learn:
                self._learn_fibrillation(np.asarray(rhythm, np.float64), self._af)
            # Squared, so that a low probability counts little.
            penalty = (rule.fibrillation_penalty or 0.0) * self._fibrillation**2
            applies = irregular or not rule.fibrillation_irregular
        if applies:
            adjusted[self._s] -= penalty
        self._beats += learn
        return adjusted

    def _learn_fibrillation(self, rhythm: NDArray[np.float64], af: int) -> None:
        probability = float(np.exp(rhythm[af] - np.logaddexp.reduce(rhythm)))
        self._fibrillation += (probability - self._fibrillation) / min(self._beats + 1, self._rule.fibrillation_beats)


def combined_logits(logits: NDArray[np.float32], classes: Sequence[str], *, early: bool) -> NDArray[np.float32]:
    """Combine the logits of several leads for one beat.

    N, S and F are the means of the leads. The V margin of an early beat is the largest among the leads, since a
    ventricular beat can look like a normal one in one lead. A beat on time with a high V margin in one lead only mostly
    belongs to an intermittent bundle branch block: its V margin is that of the first lead. The margin of the artefact
    over the best class is the smallest among the leads, since a peak that one lead shows as a beat is a beat.

    Args:
        logits: (leads, classes), the beat's own lead first.
        classes: classes of the logits.
        early: whether the beat is early.

    Returns:
        Logits (classes,).
    """
    if len(logits) == 1:
        return np.asarray(logits[0])
    by_lead = np.asarray(logits, np.float64)
    by_lead = by_lead - np.logaddexp.reduce(by_lead, axis=1, keepdims=True)
    n, s, v = classes.index("N"), classes.index("S"), classes.index("V")
    margin = by_lead[:, v] - np.logaddexp(by_lead[:, n], by_lead[:, s])
    combined = by_lead.mean(axis=0)
    combined[v] = (margin.max() if early else margin[0]) + np.logaddexp(combined[n], combined[s])
    if ARTEFACT in classes:
        artefact = classes.index(ARTEFACT)
        beats = [index for index in range(len(classes)) if index != artefact]
        over_best = by_lead[:, artefact] - by_lead[:, beats].max(axis=1)
        combined[artefact] = over_best.min() + combined[beats].max()
    return np.asarray(combined, np.float32)
