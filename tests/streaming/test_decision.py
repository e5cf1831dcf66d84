"""Constants of the decision rules, and the combination of several leads."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ecgmoe_edge.streaming.decision import Decision, DecisionRule, combined_logits
from ecgmoe_edge.tasks import BEAT_ANSWERS, BEAT_CLASSES


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("memory_beats", 0, "at least 1, and is 0"),
        ("memory_beats", -1, "at least 1, and is -1"),
        ("fibrillation_beats", 0, "at least 1, and is 0"),
        ("irregular_penalty", -0.5, "at least 0, and is -0.5"),
        ("fibrillation_penalty", -3.0, "at least 0, and is -3.0"),
        ("margin_share_s", 1.5, "from 0 to 1, and is 1.5"),
        ("margin_share_v", -0.1, "from 0 to 1, and is -0.1"),
        ("irregular_share", -1.0, "from 0 to 1, and is -1.0"),
        ("shape_share", 2.0, "from 0 to 1, and is 2.0"),
        ("shape_correlation", 1.1, "from 0 to 1, and is 1.1"),
        ("shape_correlation", 0.0, "above 0: every beat"),
        ("shape_early_share", 1.1, "from 0 to 1, and is 1.1"),
        ("fibrillation_limit", -0.1, "from 0 to 1, and is -0.1"),
        ("usual_margin", math.nan, "a finite number, and is nan"),
        ("fibrillation_penalty", math.inf, "a finite number, and is inf"),
    ],
)
def test_a_constant_out_of_range_is_refused_by_name(name: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} must be {message}"):
        replace(DecisionRule(), **{name: value})


def test_constants_at_their_limits_are_accepted() -> None:
    least = DecisionRule(0.0, 0.0, 0.0, 1, 0.0, 0.0, 0.0, 1, 0.0, 0.01, 0.0, 0.0)
    most = DecisionRule(1.0, 1.0, 9.0, 10**6, 1.0, 99.0, 99.0, 10**6, 1.0, 1.0, 1.0, 1.0)
    assert least.memory_beats < most.memory_beats


N_LEAD, V_LEAD = [2.0, 0.0, -3.0, -2.0], [1.0, 0.0, 5.0, -2.0]  # logits of a lead that shows N, and of one that shows V


def margin_of_v(logits: NDArray[np.float32]) -> float:
    n, s, v = (float(logits[BEAT_CLASSES.index(name)]) for name in "NSV")
    return float(v - np.logaddexp(n, s))


@pytest.mark.parametrize("leads", [[N_LEAD, V_LEAD], [V_LEAD, N_LEAD]])
@pytest.mark.parametrize("early", [True, False])
def test_the_v_margin_is_the_largest_for_an_early_beat_and_else_that_of_the_first_lead(
    leads: list[list[float]], early: bool
) -> None:
    combined = combined_logits(np.array(leads, np.float32), BEAT_CLASSES, early=early)
    expected = V_LEAD if early else leads[0]
    assert margin_of_v(combined) == pytest.approx(margin_of_v(np.array(expected, np.float32)), abs=1e-5)
    own = np.array(leads) - np.logaddexp.reduce(leads, axis=1, keepdims=True)
    np.testing.assert_allclose(combined[[0, 1, 3]], own.mean(axis=0)[[0, 1, 3]], atol=1e-5)


def is_artefact(*leads: list[float], early: bool = False) -> bool:
    combined = combined_logits(np.array(leads, np.float32), BEAT_ANSWERS, early=early)
    return Decision(DecisionRule(), BEAT_ANSWERS).is_artefact(combined, quality=1.0)


@pytest.mark.parametrize("early", [True, False])
def test_a_peak_is_an_artefact_only_if_every_lead_says_so(early: bool) -> None:
    surely, hardly = [*N_LEAD, 9.0], [*V_LEAD, 5.5]
    for beat in ([*N_LEAD, 1.9], [*V_LEAD, 4.9]):
        assert not is_artefact(surely, beat, early=early)
        assert not is_artefact(beat, surely, early=early)
    assert is_artefact(surely, hardly, early=early)
    assert is_artefact(hardly, surely, early=early)


@pytest.mark.parametrize("early", [True, False])
def test_the_margin_of_the_artefact_is_the_smallest_among_the_leads(early: bool) -> None:
    leads = np.array([[*N_LEAD, 3.5], [*V_LEAD, 9.0]], np.float32)  # 1.5 above N, 4 above V
    combined = combined_logits(leads, BEAT_ANSWERS, early=early)
    assert combined[4] - combined[:4].max() == pytest.approx(1.5, abs=1e-5)


@pytest.mark.parametrize("early", [True, False])
def test_the_answer_artefact_changes_nothing_between_the_beat_classes(early: bool) -> None:
    leads = np.array([N_LEAD, V_LEAD], np.float32)
    four = combined_logits(leads, BEAT_CLASSES, early=early)
    five = combined_logits(np.column_stack([leads, [-3.0, 8.0]]).astype(np.float32), BEAT_ANSWERS, early=early)
    np.testing.assert_allclose(np.diff(five[:4]), np.diff(four), atol=1e-5)


def test_a_model_without_the_answer_has_no_artefact() -> None:
    decision = Decision(DecisionRule(), BEAT_CLASSES)
    logits = np.array([0.0, 0.0, 0.0, 5.0])
    assert not decision.is_artefact(logits.astype(np.float32), quality=1.0)
    assert BEAT_CLASSES[decision.best_class(logits)] == "F"


@pytest.mark.parametrize("classes", [BEAT_CLASSES, BEAT_ANSWERS])
def test_a_v_beat_of_poor_quality_is_an_artefact_unless_the_model_is_sure(classes: tuple[str, ...]) -> None:
    rule = DecisionRule(doubtful_quality=0.2, doubtful_margin=4.0)
    decision = Decision(rule, classes)

    def logits(margin: float, best: str = "V") -> NDArray[np.float32]:
        x = np.full(len(classes), -20.0, np.float32)
        x[classes.index("N")], x[classes.index(best)] = 0.0, margin
        return x

    assert decision.is_artefact(logits(3.9), 0.19)
    assert not decision.is_artefact(logits(4.1), 0.19)  # sure
    assert not decision.is_artefact(logits(3.9), 0.2)  # clear
    for best in "SF":
        assert not decision.is_artefact(logits(3.9, best), 0.01)
    older = Decision(DecisionRule(doubtful_quality=0.0, doubtful_margin=0.0), classes)
    assert not older.is_artefact(logits(0.1), 0.0)


def test_the_logit_of_the_artefact_is_not_adapted() -> None:
    decision = Decision(DecisionRule(shape_share=0.0), BEAT_ANSWERS)
    logits = np.array([0.0, 1.0, 1.0, 0.0, 0.5], np.float32)
    rr = np.zeros(15, np.float32)
    for _ in range(200):
        adjusted = decision.apply(logits, rr, None)
    assert adjusted[4] == logits[4]
    assert adjusted[1] < logits[1] - 1.0


@pytest.mark.parametrize("classes", [BEAT_CLASSES, BEAT_ANSWERS])
@pytest.mark.parametrize("early", [True, False])
def test_the_logits_of_one_lead_are_not_changed(early: bool, classes: tuple[str, ...]) -> None:
    logits = np.array([[*N_LEAD, 1.0][: len(classes)]], np.float32)
    np.testing.assert_array_equal(combined_logits(logits, classes, early=early), logits[0])
    twice = combined_logits(logits.repeat(2, axis=0), classes, early=early)
    np.testing.assert_allclose(twice - logits[0], -np.logaddexp.reduce(logits[0]), atol=1e-6)
