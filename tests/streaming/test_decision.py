"""Which constants the decision rule takes, and how several leads are combined."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ecgmoe_edge.streaming.decision import DecisionRule, combined_logits

CLASSES = ("N", "S", "V", "F")


@pytest.mark.parametrize(
    ("name", "value", "said"),
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
def test_a_constant_that_cannot_be_is_refused_by_name(name: str, value: Any, said: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} must be {said}"):
        replace(DecisionRule(), **{name: value})


def test_the_constants_at_their_limits_are_taken() -> None:
    least = DecisionRule(0.0, 0.0, 0.0, 1, 0.0, 0.0, 0.0, 1, 0.0, 0.01, 0.0, 0.0)
    most = DecisionRule(1.0, 1.0, 9.0, 10**6, 1.0, 99.0, 99.0, 10**6, 1.0, 1.0, 1.0, 1.0)
    assert least.memory_beats < most.memory_beats


FLAT, SURE = [2.0, 0.0, -3.0, -2.0], [1.0, 0.0, 5.0, -2.0]  # logits of a lead that takes a beat for N, and for V


def margin_of_v(logits: NDArray[np.float32]) -> float:
    n, s, v = (float(logits[CLASSES.index(name)]) for name in "NSV")
    return float(v - np.logaddexp(n, s))


@pytest.mark.parametrize("leads", [[FLAT, SURE], [SURE, FLAT]])
@pytest.mark.parametrize("early", [True, False])
def test_of_an_early_beat_the_lead_that_shows_v_most_says_v_and_else_the_first(
    leads: list[list[float]], early: bool
) -> None:
    together = combined_logits(np.array(leads, np.float32), CLASSES, early=early)
    believed = SURE if early else leads[0]
    assert margin_of_v(together) == pytest.approx(margin_of_v(np.array(believed, np.float32)), abs=1e-5)
    own = np.array(leads) - np.logaddexp.reduce(leads, axis=1, keepdims=True)
    np.testing.assert_allclose(together[[0, 1, 3]], own.mean(axis=0)[[0, 1, 3]], atol=1e-5)


@pytest.mark.parametrize("early", [True, False])
def test_one_lead_is_left_as_it_is(early: bool) -> None:
    logits = np.array([FLAT], np.float32)
    np.testing.assert_array_equal(combined_logits(logits, CLASSES, early=early), logits[0])
    twice = combined_logits(logits.repeat(2, axis=0), CLASSES, early=early)
    np.testing.assert_allclose(twice - logits[0], -np.logaddexp.reduce(logits[0]), atol=1e-6)
